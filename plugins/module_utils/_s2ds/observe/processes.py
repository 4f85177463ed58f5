# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking at processes and ending them, without ever taking another process for one of ours."""

from __future__ import annotations

import os
import signal
import time

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException

KILL_SECONDS = 5.0


def start_time(pid: int) -> str:
    """Return when a process started (ticks since boot, with the boot's id), or "" if it does not run (any more)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            # The second field is the program's name in parentheses, which may contain anything.
            fields = stream.read().rpartition(b")")[2].split()
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            boot = stream.read().strip()
    except OSError:
        return ""
    return "" if fields[0] in (b"Z", b"X") else f"{fields[19].decode()}@{boot}"


def is_stopped(pid: int) -> bool:
    """Return whether a process was stopped by a signal or by a tracer."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            return stream.read().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except (OSError, IndexError):
        return False


def started_at(pid: int) -> float | None:
    """Return when a process started, in seconds since the epoch, or None if it does not run."""
    ticks = start_time(pid).partition("@")[0]
    if not ticks:
        return None
    with open("/proc/stat", encoding="ascii") as stream:
        booted = next(int(line.split()[1]) for line in stream if line.startswith("btime "))
    return booted + int(ticks) / os.sysconf("SC_CLK_TCK")


def is_alive(pid: int, started: str) -> bool:
    """Tell whether the process with this pid is still the one that started then."""
    return bool(started) and start_time(pid) == started


def group_in(group: int, directory: str) -> list[tuple[int, str]]:
    """Return the processes of a group that work in a directory, with their start times.

    The number of the group alone would not do: once all its processes have ended, another may have it.
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
    """Return the command line of a process, empty if it is gone."""
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


def wait_gone(pid: int, started: str, seconds: float) -> bool:
    """Wait until a process has ended; returns whether it has."""
    deadline = time.monotonic() + seconds
    pause = 0.002
    while is_alive(pid, started):
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
    return True


def end(pid: int, started: str, grace: float, group: bool = False) -> None:
    """End a process: SIGTERM, and SIGKILL when it has not ended within ``grace`` seconds.

    Args:
        pid: The process.
        started: Its start time; nothing happens if the pid has another one by now.
        grace: How long it may take to end on its own.
        group: Whether to end its process group with it.

    Raises:
        S2DSException: The kernel does not let it end.
    """
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, KILL_SECONDS)):
        if not is_alive(pid, started):
            return
        try:
            (os.killpg if group else os.kill)(pid, number)
            # One that was stopped would not see that it is to end.
            (os.killpg if group else os.kill)(pid, signal.SIGCONT)
        except ProcessLookupError:
            return
        if wait_gone(pid, started, seconds):
            return
    raise S2DSException(f"process {pid} could not be killed; see /proc/{pid}/status")
