# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Inspecting and ending processes, without ever mistaking an unrelated process for one of a data server."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import Iterable

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException

KILL_SECONDS = 5.0

_STOPPED = {"T": "stopped by a signal", "t": "stopped by a debugger"}
_GROUPS = "/sys/fs/cgroup"


def start_time(pid: int) -> str:
    """Return when a process started (ticks since boot, with the boot ID), or an empty string if it is not running."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            # The second field is the name in parentheses, which may contain anything.
            fields = stream.read().rpartition(b")")[2].split()
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            boot = stream.read().strip()
    except OSError:
        return ""
    return "" if fields[0] in (b"Z", b"X") else f"{fields[19].decode()}@{boot}"


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped by a signal or a debugger."""
    return _state(pid) in _STOPPED


def started_at(pid: int) -> float | None:
    """Return when a process started, in seconds since the epoch, or None if it is not running."""
    ticks = start_time(pid).partition("@")[0]
    if not ticks:
        return None
    with open("/proc/stat", encoding="ascii") as stream:
        booted = next(int(line.split()[1]) for line in stream if line.startswith("btime "))
    return booted + int(ticks) / os.sysconf("SC_CLK_TCK")


def is_alive(pid: int, started: str) -> bool:
    """Return whether the process with this PID is still the one that started then."""
    return bool(started) and start_time(pid) == started


def group_in(group: int, directory: str) -> list[tuple[int, str]]:
    """Return the processes of a process group that work in a directory, with their start times.

    The ID of the group alone is not sufficient: it may be reused after all processes of the group have ended.
    """
    found = []
    for name in os.listdir("/proc"):
        try:
            pid = int(name)
            if os.getpgid(pid) == group and os.path.samefile(f"/proc/{pid}/cwd", directory):
                found.append((pid, start_time(pid)))
        except (OSError, ValueError):
            continue
    return found


def command_line(pid: int) -> str:
    """Return the command line of a process, or an empty string if it has ended."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            return stream.read().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def working_in(directory: str) -> dict[int, str]:
    """Return the processes that work in a directory, with their start times."""
    found = {}
    for name in os.listdir("/proc"):
        try:
            pid = int(name)
            if os.path.samefile(f"/proc/{pid}/cwd", directory):
                found[pid] = start_time(pid)
        except (OSError, ValueError):
            continue
    return found


def working_directories() -> set[tuple[int, int]]:
    """Return the devices and inodes of the directories in which any process works."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                info = os.stat(f"/proc/{name}/cwd")
                found.add((info.st_dev, info.st_ino))
    return found


def wait_gone(pid: int, started: str, seconds: float) -> bool:
    """Wait until a process has ended. Returns whether it has."""
    deadline = time.monotonic() + seconds
    pause = 0.002
    while is_alive(pid, started):
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
    return True


def end(pid: int, started: str, grace: float, group: bool = False) -> None:
    """End a process: send SIGTERM, then SIGKILL if it is still running after a grace period.

    Args:
        pid: The process.
        started: Its start time. If the PID has been reused, nothing happens.
        grace: Length of the grace period in seconds.
        group: Whether to end its process group.

    Raises:
        S2DSException: It does not end.
    """
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, KILL_SECONDS)):
        if not is_alive(pid, started):
            return
        try:
            (os.killpg if group else os.kill)(pid, number)
            # A stopped process does not handle signals.
            (os.killpg if group else os.kill)(pid, signal.SIGCONT)
        except ProcessLookupError:
            return
        if wait_gone(pid, started, seconds):
            return
    raise S2DSException(f"process {pid} could not be killed; see /proc/{pid}/status")


def check_not_stopped(what: str, pids: Iterable[int]) -> None:
    """Refuse a data server with a process that is stopped or frozen.

    Args:
        what: Name of the program, for the message.
        pids: PIDs as seen by this process. PIDs that no longer exist are ignored.

    Raises:
        S2DSException: A process is stopped by a signal or a debugger, or frozen with its control group. It names the
            process, and what to do.
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
                "or container, or release the session"
            )


def works_in(pid: int, directory: str) -> bool | None:
    """Return whether the working directory of a process is this one, or None if that cannot be determined."""
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
            # The state follows the name in parentheses, which may contain anything.
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
