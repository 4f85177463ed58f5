# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Journal of the sessions that a run requests, so that an interrupted run can report what it may leave behind.

On Ctrl-C or SIGTERM, Ansible ends a run without another task. Workers that open streams then release what they opened.
The main process, which loads the action plugins before it passes tasks to workers, waits for them and reports the
sessions that are left. The journal is in the temporary directory that Ansible creates
for the run and removes at its end. It contains no secret.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ansible import constants as C
from ansible.utils.display import Display

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import show

_MAX_SIZE = 4 << 20
#: How long an interrupted run waits for its workers, in seconds.
_PATIENCE = 20.0
#: States of a session: its REQ was sent, REQ created it, it existed before, it was released.
REQUESTED, CREATED, EXISTED, RELEASED = "requested", "created", "existed", "released"
_CLOSED = "closed"


def record(state: str, gateway: str, sessions: Iterable[Mapping[str, Any]]) -> None:
    """Record the state of sessions."""
    lines = [{"state": state, "gateway": gateway, "uid": item["uid"], "role": item["role"]} for item in sessions]
    if lines:
        _append(lines)


def close() -> None:
    """Record that the run has reported its outcome itself."""
    _append([{"state": _CLOSED}])


def open_sessions() -> list[tuple[str, str, str, str]]:
    """Return the sessions that may be open: gateway, role, uid, and ``requested`` or ``created``."""
    try:
        with open(_path(), encoding="utf-8") as file:
            text = file.read(_MAX_SIZE)
    except (OSError, UnicodeDecodeError):
        return []
    states: dict[tuple[str, str, str], str] = {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry["state"] == _CLOSED:
            states.clear()
        else:
            states[entry["gateway"], entry["role"], entry["uid"]] = entry["state"]
    return [(*key, state) for key, state in states.items() if state in (REQUESTED, CREATED)]


def describe(items: Iterable[tuple[str, str, str, str]]) -> list[str]:
    """Describe sessions that may be open, followed by the command that releases them."""
    found = list(items)
    if not found:
        return []
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.run_commands import release_command

    return [
        *(
            f"{gateway}: the {role} session {uid} {'is' if state == CREATED else 'may be'} open"
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


def _show() -> None:
    """Show the sessions that an interrupted run may leave behind, in the main process."""
    if os.getpid() != _MAIN or not open_sessions():
        return
    _wait_for_workers()
    lines = describe(open_sessions())
    close()
    if lines:
        text = "\n".join(
            [
                "The run was interrupted while it opened streams, and these sessions were not released:",
                *(f"  {line}" for line in lines),
                "  Or run the same playbook again to continue with them.",
            ]
        )
    else:
        text = "The run was interrupted while it opened streams. The sessions that it had opened were released."
    Display().display(text, color=C.COLOR_ERROR, stderr=True)


def _wait_for_workers() -> None:
    """Wait for the workers, which release what they opened. A second Ctrl-C stops waiting."""
    workers = multiprocessing.active_children()
    if not workers:
        return
    Display().display("Releasing the sessions that this run opened ...", stderr=True)
    end = time.monotonic() + _PATIENCE
    with contextlib.suppress(KeyboardInterrupt):
        for worker in workers:
            worker.join(max(0.0, end - time.monotonic()))
    for worker in multiprocessing.active_children():
        # It waits for a gateway that does not answer, and Python would wait for it at exit.
        worker.kill()


def _report_at_exit() -> None:
    """Register the report for any end of the main process."""
    atexit.register(_show)
    before = signal.getsignal(signal.SIGTERM)

    def handler(number: int, frame: Any) -> None:
        for worker in multiprocessing.active_children():
            worker.terminate()
        _show()
        if callable(before):
            before(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    try:
        signal.signal(signal.SIGTERM, handler)
    except ValueError:
        # Not the main thread: another program runs Ansible and handles signals.
        return


_MAIN = os.getpid()
if multiprocessing.parent_process() is None:
    _report_at_exit()
