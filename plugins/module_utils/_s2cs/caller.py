# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The identity of the caller, according to the kernel. Environment variables are ignored, because the caller sets them.

A module that runs as root may have been started by another user through sudo, su, doas or similar. Three facts that an
ordinary user cannot change identify that user: the login uid of the audit system, the real user of the ancestor
processes, and the systemd slice of this process.
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
# Longer than any chain of processes. Ends the search if the chain is circular.
_MAX_DEPTH = 4096
_ATTEMPTS = 5
# Larger than any of these files.
_MAX_BYTES = 65536


@dataclass(frozen=True)
class Caller:
    """The user on whose behalf this process runs.

    Args:
        uid: The numeric user ID, or None if it cannot be determined.
    """

    uid: int | None

    @property
    def known(self) -> bool:
        """Whether the user could be determined."""
        return self.uid is not None

    @property
    def is_host(self) -> bool:
        """Whether this is root, or the account that owns an unprivileged S2CS, whose files nobody else can access."""
        return self.uid in (0, os.geteuid())

    @property
    def name(self) -> str:
        """The name of the account, or its number if it has no name."""
        if self.uid is None:
            return "(unknown)"
        try:
            name = pwd.getpwuid(self.uid).pw_name
        except (KeyError, OverflowError):
            return str(self.uid)
        return name if name.isprintable() else ascii(name)


def find_caller() -> Caller:
    """Return the user on whose behalf this process runs.

    For an unprivileged process, this is its own user. For root, it is the first one found of the user who logged in,
    the user of the nearest ancestor process that is not root's, the user of the systemd slice, and root.
    """
    if os.geteuid():
        return Caller(os.geteuid())
    if os.getuid():
        return Caller(os.getuid())
    return find_user_of_root("self")


def find_user_of_root(process: str) -> Caller:
    """Return the user on whose behalf a process of root runs.

    Args:
        process: Its PID, or ``self``.
    """
    for _attempt in range(_ATTEMPTS):
        try:
            login = _login_uid(process)
            return Caller(login if login is not None else _ancestor(process) or _slice(process) or 0)
        except FileNotFoundError:
            # An ancestor has ended in the meantime, so its children now have another parent.
            continue
        except (OSError, ValueError, LookupError):
            break
    return Caller(None)


def _login_uid(process: str) -> int | None:
    """Return the login uid of the audit system, or None if there is none."""
    try:
        found = int(_read(f"{process}/loginuid"))
    except FileNotFoundError:
        _read(f"{process}/status")
        return None
    if found == _UNSET:
        return None
    try:
        # If the first process has it too, it identifies who started the container or the system.
        return None if int(_read("1/loginuid")) == found else found
    except (OSError, ValueError):
        return found


def _ancestor(process: str) -> int | None:
    """Return the real user of the nearest ancestor process that is not root's."""
    namespace = _read("self/uid_map").split()
    for _depth in range(_MAX_DEPTH):
        status = _status(process)
        uid, parent = int(status["Uid"].split()[0]), int(status["PPid"])
        if uid and namespace != _IDENTITY and uid == int(_read("sys/kernel/overflowuid")):
            # Users outside this user namespace appear as this one. If it also exists inside, they are ambiguous.
            if _is_mapped(uid, namespace):
                raise ValueError("the user cannot be determined")
            return None
        if uid:
            return uid
        if parent == 0:
            return None
        process = str(parent)
    raise ValueError("circular chain of processes")


def _slice(process: str) -> int | None:
    """Return the user of the systemd slice of a process, unless the first process is in the same slice."""
    match = _SLICE.search(_read(f"{process}/cgroup"))
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
