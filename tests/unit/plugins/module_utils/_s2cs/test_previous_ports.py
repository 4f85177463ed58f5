# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The memory of ports: which it keeps, and for how long."""

from __future__ import annotations

import itertools
import sqlite3
import time
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import database, previous_ports
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import ANNOUNCED, STREAMING, Session

ADDRESS = "10.2.0.1"


def remember(connection: sqlite3.Connection, uid: str, *ports: int, address: str = ADDRESS, **changes: Any) -> None:
    """Remember the ports of a session that was open."""
    values: dict[str, Any] = {
        "uid": uid,
        "role": "producer",
        "proxy": "s2ds",
        "runtime": "process",
        "encryption": "none",
        "num_conn": len(ports),
        "rate": None,
        "hello_timeout": 180,
        "labels": {},
        "owner": "ann",
        "secret_hash": "x",
        "created": 1.0,
        "expires": None,
        "state": STREAMING,
        "listeners": [f"{address}:{port}" for port in ports],
    }
    previous_ports.remember(connection, Session(**{**values, **changes}))


def recall(connection: sqlite3.Connection, uid: str, role: str = "producer", address: str = ADDRESS) -> list[int]:
    """Return the ports of a stream."""
    return previous_ports.recall(connection, uid, role, address)


def test_by_stream_role_and_address() -> None:
    connection = database.connect_empty()
    assert recall(connection, "a") == []
    remember(connection, "a", 5101, 5100)
    remember(connection, "a", 5107, address="[fd00::1]", role="consumer")
    assert recall(connection, "a") == [5101, 5100]
    assert recall(connection, "a", "consumer") == [] and recall(connection, "b") == []
    assert recall(connection, "a", "consumer", "fd00::1") == [5107]


def test_only_streams_that_were_open_replace_others() -> None:
    connection = database.connect_empty()
    remember(connection, "a", 5100, state=ANNOUNCED)
    assert recall(connection, "a") == [5100]
    remember(connection, "a", 5101)
    remember(connection, "a", 5102, state=ANNOUNCED)
    remember(connection, "a", listeners=[])
    assert recall(connection, "a") == [5101]


def test_for_thirty_days(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = database.connect_empty()
    remember(connection, "a", 5100)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 29.9 * 86400)
    assert recall(connection, "a") == [5100]
    monkeypatch.setattr(time, "time", lambda: now + 30.1 * 86400)
    assert recall(connection, "a") == []
    remember(connection, "b", 5101)
    assert connection.execute("SELECT uid FROM previous_port").fetchall() == [("b",)]


def test_at_most_so_many_of_each_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody drives out what others have."""
    monkeypatch.setattr(previous_ports, "MAX_OWNER_ROWS", 10)
    monkeypatch.setattr(previous_ports, "MAX_ROWS", 20)
    connection = database.connect_empty()
    now = time.time()
    clock = itertools.count()
    monkeypatch.setattr(time, "time", lambda: now + next(clock))
    remember(connection, "a", 5100, owner="bob")
    for number in range(30):
        remember(connection, f"m{number}", 5101, owner="mallory")
    query = "SELECT uid FROM previous_port WHERE owner = ? ORDER BY released DESC"
    found = [uid for (uid,) in connection.execute(query, ["mallory"])]
    assert 9 <= len(found) <= 10 and found == [f"m{29 - index}" for index in range(len(found))]
    assert recall(connection, "a") == [5100]
    for number in range(10):
        remember(connection, f"c{number}", 5102, owner="carol")
    # In total, the oldest ones go first.
    assert connection.execute("SELECT COUNT(*) FROM previous_port").fetchone()[0] <= 20
    assert recall(connection, "a") == [] and recall(connection, "c0") == recall(connection, "c9") == [5102]


def test_no_more_than_a_release_has_space_for() -> None:
    connection = database.connect_empty()
    remember(connection, "a", *range(5000, 5400))
    assert recall(connection, "a") == list(range(5000, 5400))
    remember(connection, "b", *range(5000, 6000))
    assert recall(connection, "b") == []
