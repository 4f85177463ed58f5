# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Single values of many sessions in the store, which take a fraction of the time of reading the sessions completely.

They return None if SQLite was built without functions for JSON. Anything can be in the rows of a damaged store.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.limits import Usage
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session

_VALUE = (
    "CASE WHEN typeof(document) != 'text' THEN NULL WHEN json_valid(document) THEN json_extract(document, '$.{}') END"
)
_EXPIRATIONS = f"SELECT uid, role, {_VALUE.format('expires')} FROM session"

#: A narrow table with what each session uses, and an index for counting the sessions, in stores of all versions.
USAGE_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS usage (
    uid TEXT NOT NULL, role TEXT NOT NULL, owner TEXT NOT NULL, num_conn INTEGER NOT NULL,
    PRIMARY KEY (uid, role), FOREIGN KEY (uid, role) REFERENCES session ON DELETE CASCADE
) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS session_role ON session (role)",
)
# Errors if the table is missing, SQLite has no functions for JSON, or this user may only read.
_UNSUPPORTED = ("no such table", "no such function", "readonly database")
_COUNTS = "SELECT (SELECT count(*) FROM session), (SELECT count(*) FROM usage)"
_OWN = "SELECT count(*), sum(num_conn) FROM usage WHERE owner = ?"
# What earlier versions and other programs have added and removed. Rows that cannot be read have no owner.
_COMPLETE = (
    *USAGE_SCHEMA,
    "DELETE FROM usage WHERE (uid, role) NOT IN (SELECT uid, role FROM session)",
    f"""INSERT OR IGNORE INTO usage
    SELECT uid, role, owner, max(0, CAST(num_conn AS INTEGER)) FROM (
        SELECT uid, role, {_VALUE.format("owner")} AS owner, coalesce({_VALUE.format("num_conn")}, 0) AS num_conn
        FROM session
    ) WHERE typeof(owner) = 'text'""",
)


def expirations(connection: sqlite3.Connection) -> list[tuple[Any, Any, Any]] | None:
    """Return the uid, role and expiration of all sessions."""
    return _values(connection, _EXPIRATIONS)


def usage(connection: sqlite3.Connection, owner: str | None) -> Usage | None:
    """Return what all sessions use, in total and of an owner if there is one.

    This writes to a store to which something else than ``add_usage`` has added sessions.
    """
    if owner is None:
        return Usage(connection.execute("SELECT count(*) FROM session").fetchone()[0], 0, 0)
    for attempt in range(2):
        counts = _values(connection, _COUNTS)
        if counts is not None and (attempt or counts[0][0] == counts[0][1]):
            own = connection.execute(_OWN, [owner]).fetchone()
            return Usage(counts[0][0], own[0], own[1] or 0)
        if any(_values(connection, statement) is None for statement in _COMPLETE):
            break
    return None


def add_usage(connection: sqlite3.Connection, session: Session) -> None:
    """Record what a new session uses, in the transaction that adds it."""
    for statement in USAGE_SCHEMA:
        connection.execute(statement)
    connection.execute(
        "INSERT OR REPLACE INTO usage VALUES (?, ?, ?, ?)",
        (session.uid, session.role, session.owner, session.num_conn),
    )


def _values(connection: sqlite3.Connection, query: str, *values: str) -> list[tuple[Any, ...]] | None:
    """Return the rows of a query, or None if this store or this SQLite does not support it."""
    try:
        return connection.execute(query, values).fetchall()
    except sqlite3.OperationalError as error:
        if any(sign in str(error) for sign in _UNSUPPORTED):
            return None
        raise
