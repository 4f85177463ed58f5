# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of the session store, checked before SQLite opens them.

For anything but a regular file, SQLite reports "disk I/O error" or blocks. If other users could write the files, they
could insert sessions.
"""

from __future__ import annotations

import os
import pwd
import stat
from contextlib import suppress

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import UnusableStoreError

# Suffixes of the files that SQLite looks for next to a database.
_SIDE_FILES = ("-journal", "-wal", "-shm")
_FILE_TYPES = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def file_type(mode: int) -> str:
    """Return the type of a file in words, or an empty text for a regular file.

    Args:
        mode: Its mode, as returned by ``stat``.
    """
    if stat.S_ISREG(mode):
        return ""
    return next((words for test, words in _FILE_TYPES if test(mode)), "a device")


def check_files(path: str, lock: str, writes: bool) -> None:
    """Check that all files of a database are regular files, and have the right owner and permissions.

    Args:
        path: The database.
        lock: The lock file.
        writes: Whether they will be written.

    Raises:
        UnusableStoreError: A file is not as it should be. The message contains the remedy.
    """
    owner = os.geteuid()
    with suppress(OSError):
        directory_owner = os.lstat(os.path.dirname(path)).st_uid
        owner = os.lstat(path).st_uid
        if owner not in (os.geteuid(), directory_owner):
            why = f"belongs to {_name(owner)}, but its directory to {_name(directory_owner)}"
            raise _refused(path, path, why, f"chown {_name(directory_owner)} {path}")
    for name in (*(f"{path}{suffix}" for suffix in _SIDE_FILES), lock):
        try:
            info = os.lstat(name)
        except OSError:
            continue
        what = file_type(info.st_mode)
        if what:
            raise _refused(path, name, f"is {what} instead of a regular file", f"mv {name} {name}.moved")
        if info.st_uid != owner:
            why = f"belongs to {_name(info.st_uid)}, but the store to {_name(owner)}"
            raise _refused(path, name, why, f"chown {_name(owner)} {name}")
        if not os.access(name, os.R_OK | (os.W_OK if writes else 0)) and owner == os.geteuid():
            raise _refused(path, name, "is not readable and writable by its owner", f"chmod 600 {name}")


def _refused(path: str, name: str, why: str, command: str) -> UnusableStoreError:
    return UnusableStoreError(
        f"the session store {path} cannot be used: {name} {why}; the data servers do not need it and continue to run. "
        f"Correct this ({command}) and try again"
    )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
