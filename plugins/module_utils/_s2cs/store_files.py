# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of the session store, looked at before SQLite opens them.

What it says of something else in their place is "disk I/O error", of a pipe nothing at all; and what others can write
of them they can have it take for sessions.
"""

from __future__ import annotations

import os
import pwd
import stat
from contextlib import suppress

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import StoreUnusable

# What SQLite looks for beside a database, whether it is to be used or not.
_BESIDE = ("-journal", "-wal", "-shm")
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def kind(mode: int) -> str:
    """Return in words what something is, from its mode; empty for a regular file."""
    if stat.S_ISREG(mode):
        return ""
    return next((words for test, words in _KINDS if test(mode)), "a device")


def check(path: str, lock: str, writes: bool) -> None:
    """Refuse what is in the place of a file that belongs to a database, and is none or somebody else's.

    Args:
        path: The database.
        lock: The file with the locks of sessions.
        writes: Whether they are to be written.

    Raises:
        StoreUnusable: There is such a file; it is named, with what to do.
    """
    owner = os.geteuid()
    with suppress(OSError):
        house = os.lstat(os.path.dirname(path)).st_uid
        owner = os.lstat(path).st_uid
        if owner not in (os.geteuid(), house):
            why = f"belongs to {_name(owner)}, but its directory to {_name(house)}"
            raise _refused(path, path, why, f"chown {_name(house)} {path}")
    for name in (*(f"{path}{suffix}" for suffix in _BESIDE), lock):
        try:
            about = os.lstat(name)
        except OSError:
            continue
        what = kind(about.st_mode)
        if what:
            raise _refused(path, name, f"is {what} instead of a regular file", f"mv {name} {name}.moved")
        if about.st_uid != owner:
            why = f"belongs to {_name(about.st_uid)}, but the store to {_name(owner)}"
            raise _refused(path, name, why, f"chown {_name(owner)} {name}")
        if not os.access(name, os.R_OK | (os.W_OK if writes else 0)) and owner == os.geteuid():
            raise _refused(path, name, "is not readable and writable by its owner", f"chmod 600 {name}")


def _refused(path: str, name: str, why: str, command: str) -> StoreUnusable:
    return StoreUnusable(
        f"the session store {path} cannot be used: {name} {why}; the data servers do not need it and continue to run. "
        f"Correct this ({command}) and try again"
    )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
