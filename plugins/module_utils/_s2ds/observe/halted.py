# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes that are there and do nothing: stopped by a signal or a debugger, or frozen with their control group."""

from __future__ import annotations

import os
from typing import Iterable

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException

_STOPPED = {"T": "stopped by a signal", "t": "stopped by a debugger"}
_GROUPS = "/sys/fs/cgroup"


def check_going(what: str, pids: Iterable[int]) -> None:
    """Refuse where one of the processes of a data server does nothing.

    Args:
        what: What they are, for the message.
        pids: Process IDs as seen by this process; those that no longer exist are ignored.

    Raises:
        S2DSException: One is stopped or frozen; it says which, and what to do.
    """
    for pid in pids:
        if pid < 1:
            continue
        state = _state(pid)
        if state in _STOPPED:
            raise S2DSException(
                f"process {pid} of {what} is {_STOPPED[state]} (state {state}), so no data is transferred: resume it "
                f"(kill -CONT {pid}), or release the session"
            )
        if state and _is_frozen(pid):
            raise S2DSException(
                f"process {pid} of {what} is frozen with its control group, so no data is transferred: thaw its unit "
                "or "
                "container, or release the session"
            )


def works_in(pid: int, directory: str) -> bool | None:
    """Tell whether a process works in a directory; None where that cannot be seen from here."""
    if pid < 1:
        return None
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", directory)
    except PermissionError:
        return None
    except OSError:
        return False


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            # The program's name is in parentheses before it, and may contain anything.
            return stream.read(4096).rpartition(b")")[2].split()[0].decode("ascii", "replace")
    except (OSError, IndexError):
        return ""


def _is_frozen(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as stream:
            group = next((line[3:].strip() for line in stream if line.startswith("0::/")), "")
        with open(f"{_GROUPS}{group}/cgroup.events", encoding="ascii") as stream:
            return any(line.split() == ["frozen", "1"] for line in stream)
    except OSError:
        return False
