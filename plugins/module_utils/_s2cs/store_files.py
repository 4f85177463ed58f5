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
import sqlite3
import stat
from contextlib import suppress

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import UnusableStoreError

# What SQLite looks for beside a database, whether it is to be used or not.
_SIDE_FILES = ("-journal", "-wal", "-shm")
# Enough for everything that a change of a session touches in the database.
_JOURNAL_SIZE = 1 << 18
_FILE_TYPES = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def file_type(mode: int) -> str:
    """Return in words what something is, from its mode; empty for a regular file."""
    if stat.S_ISREG(mode):
        return ""
    return next((words for test, words in _FILE_TYPES if test(mode)), "a device")


def check_files(path: str, lock: str, writes: bool) -> None:
    """Refuse what is in the place of a file that belongs to a database, and is none or somebody else's.

    Args:
        path: The database.
        lock: The file with the locks of sessions.
        writes: Whether they are to be written.

    Raises:
        UnusableStoreError: There is such a file; it is named, with what to do.
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
            about = os.lstat(name)
        except OSError:
            continue
        what = file_type(about.st_mode)
        if what:
            raise _refused(path, name, f"is {what} instead of a regular file", f"mv {name} {name}.moved")
        if about.st_uid != owner:
            why = f"belongs to {_name(about.st_uid)}, but the store to {_name(owner)}"
            raise _refused(path, name, why, f"chown {_name(owner)} {name}")
        if not os.access(name, os.R_OK | (os.W_OK if writes else 0)) and owner == os.geteuid():
            raise _refused(path, name, "is not readable and writable by its owner", f"chmod 600 {name}")


def allocate_journal(path: str, database: sqlite3.Connection, schema_version: int) -> None:
    """Allocate the space in the journal that a release needs if the disk is full by then.

    Args:
        path: The database.
        database: A connection to it.
        schema_version: Its version. Writing it again makes SQLite create the journal.
    """
    journal = f"{path}-journal"
    with suppress(OSError, sqlite3.Error):
        if os.path.exists(journal) and os.stat(journal).st_size >= _JOURNAL_SIZE:
            return
        # Only the holder of this lock writes the journal.
        database.execute("BEGIN IMMEDIATE")
        try:
            database.execute(f"PRAGMA user_version = {schema_version}")
            database.execute("COMMIT")
            database.execute("BEGIN IMMEDIATE")
            descriptor = os.open(journal, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.posix_fallocate(descriptor, 0, _JOURNAL_SIZE)
            finally:
                os.close(descriptor)
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")


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
