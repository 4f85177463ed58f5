# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who calls, by what the kernel knows. Environment variables, which the caller sets, have no say in it.

A module that runs as root was started by somebody who became root: by sudo, su, doas or another way. Three things that
an ordinary user cannot change tell who that was: the login uid of the audit system, the real user of the processes
that this one descends from, and the slice of systemd in which this process is.
"""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass

_PROC = "/proc"
_UNSET = 4294967295
_IDENTITY = ["0", "0", str(_UNSET)]
_SLICE = re.compile(r"/user\.slice/user-([0-9]{1,10})\.slice(?:/|$)", re.MULTILINE)
# More than any chain of processes, and a bound if one is a circle.
_MAX_DEPTH = 4096
_ATTEMPTS = 5
# More than the kernel ever writes of these.
_MAX_BYTES = 65536


@dataclass(frozen=True)
class Caller:
    """The user on whose behalf this runs; the uid is None where that cannot be known."""

    uid: int | None

    @property
    def known(self) -> bool:
        """Whether the kernel says who it is."""
        return self.uid is not None

    @property
    def name(self) -> str:
        """The name of the account, its number where it has none."""
        if self.uid is None:
            return "(unknown)"
        try:
            name = pwd.getpwuid(self.uid).pw_name
        except (KeyError, OverflowError):
            return str(self.uid)
        return name if name.isprintable() else ascii(name)


def find_caller() -> Caller:
    """Return the user on whose behalf this runs.

    Without root's rights that is the user of this process. For root it is, in this order, the user who logged in, the
    nearest ancestor process that belongs to somebody else, the user in whose slice this runs, and then root.
    """
    if os.geteuid():
        return Caller(os.geteuid())
    if os.getuid():
        return Caller(os.getuid())
    for _attempt in range(_ATTEMPTS):
        try:
            login = _login_uid()
            return Caller(login if login is not None else _ancestor() or _slice() or 0)
        except FileNotFoundError:
            # An ancestor ended meanwhile, and its children have another parent now.
            continue
        except (OSError, ValueError, LookupError):
            break
    return Caller(None)


def _login_uid() -> int | None:
    """Return who logged in, as the audit system knows; None without one, or where it says nothing."""
    try:
        found = int(_read("self/loginuid"))
    except FileNotFoundError:
        _read("self/status")
        return None
    if found == _UNSET:
        return None
    try:
        # What the first process has as well, that of a container or the system, says who started that.
        return None if int(_read("1/loginuid")) == found else found
    except (OSError, ValueError):
        return found


def _ancestor() -> int | None:
    """Return the real user of the nearest ancestor that is not root's."""
    namespace = _read("self/uid_map").split()
    process = "self"
    for _depth in range(_MAX_DEPTH):
        status = _status(process)
        uid, parent = int(status["Uid"].split()[0]), int(status["PPid"])
        if uid and namespace != _IDENTITY and uid == int(_read("sys/kernel/overflowuid")):
            # A user outside of this user namespace is seen like this; so is the one inside, if there is one.
            if _is_mapped(uid, namespace):
                raise ValueError("the user cannot be determined")
            return None
        if uid:
            return uid
        if parent == 0:
            return None
        process = str(parent)
    raise ValueError("a circle of processes")


def _slice() -> int | None:
    """Return the user in whose slice of systemd this runs, if the first process does not."""
    match = _SLICE.search(_read("self/cgroup"))
    if match is None or match.group(0) in _read("1/cgroup"):
        return None
    return int(match.group(1))


def _status(process: str) -> dict[str, str]:
    lines = (line.partition(":") for line in _read(f"{process}/status").splitlines())
    return {key: value.strip() for key, _colon, value in lines}


def _is_mapped(uid: int, namespace: list[str]) -> bool:
    numbers = list(map(int, namespace))
    return any(first <= uid < first + count for first, count in zip(numbers[::3], numbers[2::3]))


def _read(name: str) -> str:
    with open(os.path.join(_PROC, name), "rb") as stream:
        return stream.read(_MAX_BYTES).decode("utf-8", "replace")
