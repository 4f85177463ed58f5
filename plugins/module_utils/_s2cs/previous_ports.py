# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ports of released sessions, which they get again if they are opened anew and the ports are free.

They are only remembered, not reserved: other sessions may get them. The table is not part of the schema of the store,
so that previous versions of the collection can still use the store.
"""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import suppress

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import STREAMING, Session

#: Time in seconds for which ports are remembered after the release.
KEPT_SECONDS = 30 * 86400
#: Maximum number of sessions of each owner, and in total, whose ports are remembered.
MAX_OWNER_ROWS, MAX_ROWS = 1000, 4000
# Maximum length of the ports of a session, so that its release does not need much space.
_MAX_CHARACTERS = 2048
_SCHEMA = """
CREATE TABLE IF NOT EXISTS previous_port (
    uid TEXT NOT NULL, role TEXT NOT NULL, address TEXT NOT NULL, ports TEXT NOT NULL, owner TEXT NOT NULL,
    released INTEGER NOT NULL, PRIMARY KEY (uid, role)
) WITHOUT ROWID
"""
_COUNT = "SELECT COUNT(*), SUM(owner = ?) FROM previous_port"
_TRIM = """
DELETE FROM previous_port WHERE (uid, role) IN (
    SELECT uid, role FROM previous_port WHERE owner = ? OR ? ORDER BY released DESC, uid, role LIMIT -1 OFFSET ?
)
"""


def remember(connection: sqlite3.Connection, session: Session) -> None:
    """Remember the ports of a session that is released, in the current transaction.

    Those of a session that was not streaming yet do not replace those of the last time that the stream was open.

    Args:
        connection: The database.
        session: The session.
    """
    listeners = session.spec().listeners
    ports = json.dumps([listener.port for listener in listeners], separators=(",", ":"))
    if not listeners or len(ports) > _MAX_CHARACTERS:
        return
    now = int(time.time())
    connection.execute(_SCHEMA)
    connection.execute("DELETE FROM previous_port WHERE released < ?", (now - KEPT_SECONDS,))
    otherwise = "REPLACE" if session.state == STREAMING else "IGNORE"
    connection.execute(
        f"INSERT OR {otherwise} INTO previous_port VALUES (?, ?, ?, ?, ?, ?)",
        (session.uid, session.role, listeners[0].host, ports, session.owner, now),
    )
    rows, own = connection.execute(_COUNT, (session.owner,)).fetchone()
    # By a tenth more than necessary, because it takes longer than everything else.
    if own > MAX_OWNER_ROWS:
        connection.execute(_TRIM, (session.owner, False, MAX_OWNER_ROWS * 9 // 10))
    if rows > MAX_ROWS:
        connection.execute(_TRIM, (session.owner, True, MAX_ROWS * 9 // 10))


def recall(connection: sqlite3.Connection, uid: str, role: str, address: str) -> list[int]:
    """Return the last ports of a session on an address. Empty if they are unknown, for whatever reason."""
    query = "SELECT ports FROM previous_port WHERE uid = ? AND role = ? AND address = ? AND released >= ?"
    with suppress(sqlite3.Error, ValueError, TypeError):
        row = connection.execute(query, (uid, role, address, int(time.time()) - KEPT_SECONDS)).fetchone()
        found = json.loads(row[0]) if row else []
        # A bool is no port.
        if isinstance(found, list) and set(map(type, found)) <= {int} and len(set(found)) == len(found):
            return found
    return []
