# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a command, and fail if processes that it started are left when it has ended, however they were detached.

The kernel makes this process the parent of all of them that lose theirs (PR_SET_CHILD_SUBREAPER).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from pathlib import Path

_SET_CHILD_SUBREAPER = 36
# ssh keeps connections for the next command for a minute (ControlPersist) and ends by itself.
_GRACE = 75.0
# The engine is started where none runs, and stays.
_STAY = ("dockerd", "containerd", "containerd-shim")
LEFT = 97


def main(command: list[str]) -> int:
    """Return the command's exit status, or LEFT where it was 0 and processes are left."""
    ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    first = os.spawnvp(os.P_NOWAIT, command[0], command)
    # Whoever ends a part signals the whole group; this process stays for the rest of it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    status = 0
    while True:
        pid, raw = os.wait()
        if pid == first:
            status = os.WEXITSTATUS(raw) if os.WIFEXITED(raw) else 128 + os.WTERMSIG(raw)
            break
    end = time.monotonic() + _GRACE
    left = _offspring()
    while left and time.monotonic() < end:
        time.sleep(0.2)
        _reap()
        left = _offspring()
    for pid, words in left.items():
        print(f"left behind: process {pid}: {words[:300]}", file=sys.stderr)
        os.kill(pid, signal.SIGKILL)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"processor time: {used.ru_utime + used.ru_stime:.0f} s", file=sys.stderr)
    return status or (LEFT if left else 0)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _offspring() -> dict[int, str]:
    """Return the living descendants of this process with their command lines."""
    children: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _close, rest = path.read_text(encoding="utf-8", errors="replace").rpartition(")")
        except OSError:
            continue
        state, parent = rest.split()[:2]
        pid = int(path.parent.name)
        names[pid] = name.partition("(")[2]
        if state not in "ZX":
            children.setdefault(int(parent), []).append(pid)
    found: dict[int, str] = {}
    todo = [os.getpid()]
    while todo:
        for pid in children.get(todo.pop(), []):
            if names[pid] not in _STAY:
                found[pid] = _words(pid) or names[pid]
                todo.append(pid)
    return found


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
