# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A user for each data server: a number that no other session has, so that none can see, signal or trace another.

The number is written down nowhere but in the owner of the session's directory ``run``, and is free again with it. It
has no entry in the user database. A site's own users are not among these numbers: they are above those that directory
services give out (up to 2,000,200,000) and those of containers, and below 2**31.
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
    """Return the user and group of a session, and choose them if it has none; its directory ``run`` is there then.

    Args:
        layout: Where the sessions are.
        name: Name of the session.
        user: The proxy's own user: where the host does not know the numbers, as in some containers, and of sessions
            from before they had users of their own.

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
        # Sessions below another state directory begin their search somewhere else.
        start = zlib.crc32(path.encode())
        number = next(number for number in (_number(start, step) for step in range(COUNT)) if number not in taken)
        try:
            os.chown(path, number, number)
        except OSError:
            os.chown(path, *entry)
            return entry
        return number, number


def find(layout: Layout, name: str, user: str) -> tuple[int, int]:
    """Return the user and group that a session has, those of the proxy if it has none of its own."""
    owner = _owner(os.path.join(layout.directory(name), "run"))
    return (owner, owner) if owner is not None and _is_ours(owner) else _static(user)


def no_user(user: str) -> S2DSException:
    """Return the error for a user that the role of a proxy makes."""
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
        about = os.lstat(path)
    except OSError:
        return None
    return about.st_uid if stat.S_ISDIR(about.st_mode) else None


@contextmanager
def _locked(directory: str) -> Iterator[None]:
    """Keep two calls from choosing the same number."""
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)
