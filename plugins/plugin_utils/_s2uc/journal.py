# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run asks of gateways, written down before it is asked, so that a run that is interrupted can name it.

Ansible ends a run on Ctrl-C or SIGTERM without another task. Its main process, which loads the action plugins before it
hands their tasks to workers, then says what may be left. The journal is in the directory that Ansible makes for this
run alone and removes at its end; no secret is in it.
"""

from __future__ import annotations

import atexit
import json
import multiprocessing
import os
import signal
from collections.abc import Iterable, Mapping
from typing import Any

from ansible import constants as C
from ansible.utils.display import Display

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import show
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.command import release_command

_MOST = 4 << 20
#: What is known of a session: REQ was sent, REQ made it, it was there before, it was released.
ASKED, MADE, STOOD, RELEASED = "asked", "made", "stood", "released"
_SETTLED = "settled"


def note(state: str, gateway: str, sessions: Iterable[Mapping[str, Any]]) -> None:
    """Write down what is known of sessions from now on."""
    lines = [{"state": state, "gateway": gateway, "uid": item["uid"], "role": item["role"]} for item in sessions]
    if lines:
        _append(lines)


def settle() -> None:
    """Write down that the run has said itself what came of it."""
    _append([{"state": _SETTLED}])


def open_items() -> list[tuple[str, str, str, str]]:
    """Return what an interrupted run may have left: gateway, role, uid, and ``asked`` or ``made``."""
    try:
        with open(_path(), encoding="utf-8") as file:
            text = file.read(_MOST)
    except (OSError, UnicodeDecodeError):
        return []
    states: dict[tuple[str, str, str], str] = {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry["state"] == _SETTLED:
            states.clear()
        else:
            states[entry["gateway"], entry["role"], entry["uid"]] = entry["state"]
    return [(*key, state) for key, state in states.items() if state in (ASKED, MADE)]


def lines_of(items: Iterable[tuple[str, str, str, str]]) -> list[str]:
    """Return what people read of them, the command that releases them last."""
    found = list(items)
    if not found:
        return []
    return [
        *(
            f"{gateway}: the {role} session {uid} {'is' if state == MADE else 'may be'} open"
            for gateway, role, uid, state in found
        ),
        f"To release: {release_command(list(dict.fromkeys(uid for _gateway, _role, uid, _state in found)))}",
    ]


def _path() -> str:
    return os.path.join(C.DEFAULT_LOCAL_TMP, "scistream-run.jsonl")


def _append(entries: Iterable[Mapping[str, str]]) -> None:
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    try:
        descriptor = os.open(_path(), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, text.encode("ascii"))
        finally:
            os.close(descriptor)
    except OSError as error:
        Display().vvv(f"the journal of this run cannot be written: {show(error.strerror)}")


def _tell() -> None:
    """Say what an interrupted run may have left; the main process does so when it ends."""
    if os.getpid() != _MAIN:
        return
    lines = lines_of(open_items())
    if lines:
        settle()
        text = "\n".join(
            [
                "The run was interrupted while it opened streams, and these sessions were not released:",
                *(f"  {line}" for line in lines),
                "  Or run the same playbook again, which continues with them.",
            ]
        )
        Display().display(text, color=C.COLOR_ERROR, stderr=True)


def _watch() -> None:
    """Have the main process of Ansible tell, however it ends."""
    atexit.register(_tell)
    before = signal.getsignal(signal.SIGTERM)

    def handler(number: int, frame: Any) -> None:
        _tell()
        if callable(before):
            before(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    try:
        signal.signal(signal.SIGTERM, handler)
    except ValueError:
        # Not the main thread: somebody else's program, whose signals are its own.
        return


_MAIN = os.getpid()
if multiprocessing.parent_process() is None:
    _watch()
