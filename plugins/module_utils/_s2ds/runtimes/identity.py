# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A separate user for each data server, so that no data server can see, signal or trace another.

Users are UIDs that no other session has. A UID is recorded only as the owner of the session's directory ``run``, so it
is free again when the directory is removed. It has no entry in the user database. The range is above the UIDs of
directory services (up to 2,000,200,000) and of containers, and below 2**31.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import stat
import zlib
from contextlib import contextmanager
from typing import Iterator

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout

FIRST, COUNT = 2_100_000_000, 1 << 24


def ensure(layout: Layout, name: str, user: str) -> tuple[int, int]:
    """Return the UID and GID of a session. Choose them if it has none, and create its directory ``run``.

    Args:
        layout: Directories on this gateway.
        name: Name of the session.
        user: The proxy's own user, for hosts that cannot use these UIDs, such as some containers, and for sessions of
            earlier versions.

    Raises:
        S2DSException: The user does not exist.
    """
    entry = _static(user)
    path = os.path.join(layout.directory(name), "run")
    with _locked(layout.sessions_dir):
        owner = _owner(path)
        if owner is not None:
            return (owner, owner) if _is_ours(owner) else entry
        os.makedirs(path, exist_ok=True)
        taken = {_owner(os.path.join(layout.sessions_dir, other, "run")) for other in os.listdir(layout.sessions_dir)}
        # Sessions of other state directories start their search elsewhere.
        start = zlib.crc32(path.encode())
        number = next(number for number in (_number(start, step) for step in range(COUNT)) if number not in taken)
        try:
            os.chown(path, number, number)
        except OSError:
            os.chown(path, *entry)
            return entry
        return number, number


def find(layout: Layout, name: str, user: str) -> tuple[int, int]:
    """Return the UID and GID of a session, or those of the proxy if it has none."""
    owner = _owner(os.path.join(layout.directory(name), "run"))
    return (owner, owner) if owner is not None and _is_ours(owner) else _static(user)


def no_user(user: str) -> S2DSException:
    """Return the error for a missing user, which the role of the proxy creates."""
    return S2DSException(f"there is no user {user} on this gateway to run the data server: run the role of this proxy")


def _static(user: str) -> tuple[int, int]:
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise no_user(user) from None
    return entry.pw_uid, entry.pw_gid


def _number(start: int, step: int) -> int:
    return FIRST + (start + step) % COUNT


def _is_ours(number: int) -> bool:
    return FIRST <= number < FIRST + COUNT


def _owner(path: str) -> int | None:
    try:
        info = os.lstat(path)
    except OSError:
        return None
    return info.st_uid if stat.S_ISDIR(info.st_mode) else None


@contextmanager
def _locked(directory: str) -> Iterator[None]:
    """Prevent concurrent calls from choosing the same UID."""
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
