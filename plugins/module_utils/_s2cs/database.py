# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The SQLite database of the session store: its schema, version and connections."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from functools import partial

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.store_errors import BUSY_SECONDS, version_mismatch

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS session (
    uid TEXT NOT NULL, role TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (uid, role)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS port (
    address TEXT NOT NULL, port INTEGER NOT NULL, uid TEXT NOT NULL, role TEXT NOT NULL,
    PRIMARY KEY (address, port), FOREIGN KEY (uid, role) REFERENCES session ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS last_port (address TEXT PRIMARY KEY, port INTEGER NOT NULL) WITHOUT ROWID;
"""
_CACHE_PAGES = 64
# Enough for everything that a change of a session touches in the database.
_JOURNAL_SIZE = 1 << 18


def connect(path: str, mode: str = "rw") -> sqlite3.Connection:
    """Open a database that exists.

    Args:
        path: The database.
        mode: ``rw``, or ``ro`` to only read it.
    """
    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return _configure(
        sqlite3.connect(f"file:{quoted}?mode={mode}", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    )


def connect_empty() -> sqlite3.Connection:
    """Return an empty database in memory."""
    connection = _configure(sqlite3.connect(":memory:", isolation_level=None))
    connection.executescript(_SCHEMA)
    return connection


def _configure(connection: sqlite3.Connection) -> sqlite3.Connection:
    # Invalid text must not prevent other rows from being read.
    connection.text_factory = partial(str, encoding="utf-8", errors="replace")
    connection.execute("PRAGMA foreign_keys = ON")
    # Queries of all rows read each page once, so that a cache of all pages would only take time to allocate.
    connection.execute(f"PRAGMA cache_size = {_CACHE_PAGES}")
    # A transaction keeps its changes in memory, however large it is.
    connection.execute("PRAGMA cache_spill = OFF")
    # Temporary files could be on another disk, which may be full.
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def create_schema(connection: sqlite3.Connection) -> None:
    """Create the tables of an empty database in one transaction."""
    connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version = {_SCHEMA_VERSION};COMMIT;")


def schema_version(path: str, connection: sqlite3.Connection) -> int:
    """Return the schema version of a database, or 0 if it is empty.

    Args:
        path: The database, for the message.
        connection: A connection to it.

    Raises:
        UnusableStoreError: The version is not supported.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version not in (0, _SCHEMA_VERSION):
        known = set()
        # The schema of another version is unknown, but it may have these columns.
        with suppress(sqlite3.Error):
            known = {(str(uid), str(role)) for uid, role in connection.execute("SELECT uid, role FROM session")}
        raise version_mismatch(path, version, _SCHEMA_VERSION, known)
    return version


def allocate_journal(path: str, connection: sqlite3.Connection) -> None:
    """Allocate the space in the journal that a release needs if the disk is full by then.

    Args:
        path: The database.
        connection: A connection to it.
    """
    journal = f"{path}-journal"
    with suppress(OSError, sqlite3.Error):
        if os.path.exists(journal) and os.stat(journal).st_size >= _JOURNAL_SIZE:
            return
        # Only the holder of this lock writes the journal.
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Writing anything makes SQLite create the journal.
            connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
            connection.execute("COMMIT")
            connection.execute("BEGIN IMMEDIATE")
            descriptor = os.open(journal, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.posix_fallocate(descriptor, 0, _JOURNAL_SIZE)
            finally:
                os.close(descriptor)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
