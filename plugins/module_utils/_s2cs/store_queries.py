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

_VALUE = (
    "CASE WHEN typeof(document) != 'text' THEN NULL WHEN json_valid(document) THEN json_extract(document, '$.{}') END"
)
_EXPIRATIONS = f"SELECT uid, role, {_VALUE.format('expires')} FROM session"
_TOTAL = "SELECT count(*) FROM session"
_OWN = f"SELECT count(*), sum({_VALUE.format('num_conn')}) FROM session WHERE {_VALUE.format('owner')} = ?"


def expirations(connection: sqlite3.Connection) -> list[tuple[Any, Any, Any]] | None:
    """Return the uid, role and expiration of all sessions."""
    return _values(connection, _EXPIRATIONS)


def usage(connection: sqlite3.Connection, owner: str | None) -> Usage | None:
    """Return what all sessions use, in total and of an owner if there is one."""
    total = _values(connection, _TOTAL)
    own = [(0, 0)] if owner is None else _values(connection, _OWN, owner)
    return None if total is None or own is None else Usage(total[0][0], own[0][0], int(own[0][1] or 0))


def _values(connection: sqlite3.Connection, query: str, *values: str) -> list[tuple[Any, ...]] | None:
    try:
        return connection.execute(query, values).fetchall()
    except sqlite3.OperationalError as error:
        if "no such function" in str(error):
            return None
        raise
