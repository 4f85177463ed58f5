# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What somebody can do who has taken over a data server: told as JSON.

    python3 probe.py DIRECTORY PID OTHER

Run by root. It enters the mount namespace of the process PID, which is the data server of the session in DIRECTORY,
becomes its user with its groups and rights, and tries to read the session in the directory OTHER, to signal everything,
and to write wherever it can. It needs nothing but Python 3.8.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

MOST = 300 << 20
PLACES = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run", "/run/lock", "/run/user", "/var/lib/scistream", "/etc")
CLONE_NEWNS, PR_SET_NO_NEW_PRIVS = 0x20000, 38


def main(directory: str, pid: str, other: str) -> None:
    """Look at the process, become it, and tell what that can do."""
    about = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    user, group = int(about["Uid"].split()[0]), int(about["Gid"].split()[0])
    found = {
        "user": user,
        "no_new_privileges": about["NoNewPrivs"].strip() == "1",
        "capabilities": [int(about[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
        "core": next(line.split()[4] for line in limits if line.startswith("Max core file size")),
    }
    theirs = [str(path) for path in (Path(other), *sorted(Path(other).rglob("*")))]
    foreign = [number for number in processes() if number != os.getpid() and owner(number) not in (user, -1)]
    libc = ctypes.CDLL(None)
    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    if libc.setns(namespace, CLONE_NEWNS):
        raise OSError("the mount namespace cannot be entered")
    os.setgroups([int(number) for number in about["Groups"].split()])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    found["reads"] = [path for path in theirs if can_read(path)]
    found["signals"] = [number for number in foreign if can_signal(number)]
    found["writes"] = [place for place in (*PLACES, directory, other, f"{other}/run") if can_write(place)]
    found["fills"] = fill(f"{directory}/run")
    print(json.dumps(found))


def processes() -> list[int]:
    """Return all processes of the host."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def owner(number: int) -> int:
    """Return the user of a process, -1 if it has ended."""
    try:
        return os.stat(f"/proc/{number}").st_uid
    except OSError:
        return -1


def can_read(path: str) -> bool:
    """Tell whether a file can be read, or a directory listed."""
    try:
        if os.path.isdir(path):
            os.listdir(path)
        else:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def can_signal(number: int) -> bool:
    """Tell whether a process can be signalled."""
    try:
        os.kill(number, 0)
    except OSError:
        return False
    return True


def can_write(place: str) -> bool:
    """Tell whether a file can be made in a directory."""
    path = f"{place}/probe"
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError:
        return False
    with suppress(OSError):
        os.unlink(path)
    return True


def fill(place: str) -> int:
    """Return how many bytes can be written into a directory."""
    written, path = 0, f"{place}/probe"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        while written < MOST:
            written += os.write(descriptor, bytes(1 << 20))
    except OSError:
        pass
    finally:
        os.close(descriptor)
        os.unlink(path)
    return written


if __name__ == "__main__":
    main(*sys.argv[1:])
