# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A store that is damaged, lost, or has rows that nobody can read: it is said what helps, and that helps."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, exchange

REQUEST = {"role": "producer", "encryption": "none", "secret": SECRET}


@contextlib.contextmanager
def transaction(s2cs: S2CS) -> Iterator[sqlite3.Connection]:
    """Change the store behind everybody's back."""
    with contextlib.closing(sqlite3.connect(s2cs.state / "s2cs.db")) as database:
        yield database
        database.commit()


def rewrite(s2cs: S2CS, which: str, text: str | None = None, raw: bytes | None = None, **fields: Any) -> None:
    """Write something else into the row of a session."""
    [row] = [row for row in s2cs.rows() if row[0] == which]
    document = text if text is not None else json.dumps({**json.loads(row[2]), **fields})
    with transaction(s2cs) as database:
        value = document.encode() if raw is None else raw
        database.execute("UPDATE session SET document = CAST(? AS TEXT) WHERE uid = ?", (value, which))


@pytest.mark.parametrize(
    "broken",
    [
        {"from_tomorrow": 1},
        {"num_conn": "two"},
        {"proxy": "from_tomorrow"},
        {"runtime": "from_tomorrow"},
        {"text": "{"},
        {"text": "[[["},
        {"text": "{}"},
        {"raw": b"\xff\xfe{"},
        {"uid": own_uid()},
    ],
    ids=["field", "type", "proxy", "runtime", "no-json", "nested", "empty", "no-text", "other-uid"],
)
def test_row_that_cannot_be_read(s2cs: S2CS, application: Application, broken: dict[str, Any]) -> None:
    well, ill = s2cs.stream(application.endpoint), s2cs.stream(application.endpoint)
    rewrite(s2cs, ill["uid"], **broken)
    which = {"uid": ill["uid"], "role": "producer"}
    found = s2cs.done("info")
    assert [item["uid"] for item in found["sessions"]] == [well["uid"]]
    assert [{key: row[key] for key in which} for row in found["unreadable"]] == [which]
    assert found["orphans"] == [] and ill["uid"] in str(found["warnings"])
    for action, options in (
        ("request", {**REQUEST, **which}),
        ("hello", {**which, "secret": SECRET, "producer_listeners": ["127.0.0.1:7000"]}),
        ("update", which),
    ):
        s2cs.refused(action, ill["uid"], "cannot be read", "s2cs_release", **options)
    # All others go on, in one call too.
    assert not s2cs.done("update", uid=well["uid"], role="producer")["changed"]
    s2cs.request(own_uid())
    assert exchange(ill["listeners"][0]) == b"one:hello"
    result = s2cs.done("release", sessions=[{"uid": ill["uid"]}, {"uid": well["uid"]}])
    assert {item["uid"] for item in result["released"]} == {ill["uid"], well["uid"]}
    assert not [path for path in s2cs.processes().values() if ill["uid"] in path]
    assert s2cs.stream(application.endpoint, uid=ill["uid"])


@pytest.mark.parametrize("how", ["garbage", "truncated", "gone", "emptied", "directory", "fifo", "link"])
def test_store_that_is_no_store(s2cs: S2CS, application: Application, how: str) -> None:
    sessions = [s2cs.stream(application.endpoint) for _unused in range(3)]
    path = s2cs.state / "s2cs.db"
    before = path.read_bytes()
    if how in ("gone", "directory", "fifo", "link"):
        path.unlink()
        make = {"directory": os.mkdir, "fifo": os.mkfifo, "link": lambda path: os.symlink("/nowhere", path)}
        make.get(how, lambda path: None)(path)
    else:
        path.write_bytes({"garbage": os.urandom(8192), "truncated": before[:4096], "emptied": b""}[how])
    (s2cs.state / "s2cs.db-journal").unlink()
    if how not in ("gone", "emptied"):
        told = s2cs.call("info")
        assert told["failed"] and f"mv {path}" in told["msg"] and "s2cs_release" in told["msg"], told
        assert {item["uid"] for item in told["orphans"]} == {item["uid"] for item in sessions}
        assert "s2cs_info" in s2cs.call("release", uid=own_uid())["msg"]
        assert "s2cs_info" in s2cs.call("request", False, uid=own_uid(), **REQUEST)["msg"]
        # What the message says: one that is to end ends now, whatever becomes of the store.
        check_orphan_ends(s2cs, sessions.pop())
        path.rename(path.with_name("s2cs.db.damaged"))
    assert [exchange(item["listeners"][0]) for item in sessions] == [b"one:hello"] * len(sessions)
    found = s2cs.done("info")
    assert found["sessions"] == []
    assert {item["uid"]: item["running"] for item in found["orphans"]} == {item["uid"]: True for item in sessions}
    assert all(item["role"] == "producer" and item["pids"] for item in found["orphans"])
    # A stream that is opened anew takes the place of what was left of it.
    s2cs.stream(application.endpoint, uid=sessions[0]["uid"])
    assert [item["uid"] for item in s2cs.done("info")["sessions"]] == [sessions[0]["uid"]]
    s2cs.done("release", sessions=[{"uid": item["uid"]} for item in sessions])
    assert s2cs.done("info")["orphans"] == [] and s2cs.left() == []


def check_orphan_ends(s2cs: S2CS, session: dict[str, Any]) -> None:
    """Release what runs without a session that can be read, with the store as it is."""
    which = {"uid": session["uid"], "role": "producer"}
    before = sorted(path.name for path in s2cs.state.glob("s2cs.db*"))
    assert exchange(session["listeners"][0]) == b"one:hello"
    assert s2cs.call("release", check=True, uid=session["uid"])["changed"]
    released = s2cs.done("release", uid=session["uid"])
    assert released["changed"] and [{key: item[key] for key in which} for item in released["released"]] == [which]
    assert len(released["warnings"]) == 1 and str(s2cs.state / "s2cs.db") in str(released["warnings"])
    assert not [path for path in s2cs.processes().values() if session["uid"] in path]
    assert session["uid"] not in str(s2cs.call("info").get("orphans"))
    assert before == sorted(path.name for path in s2cs.state.glob("s2cs.db*"))


@pytest.mark.parametrize("readable", [True, False], ids=["readable", "unreadable"])
def test_store_of_a_newer_version(s2cs: S2CS, application: Application, readable: bool) -> None:
    """What it has is for the version that made it; what it does not have can be ended."""
    kept, lost = s2cs.stream(application.endpoint), s2cs.stream(application.endpoint)
    with transaction(s2cs) as database:
        for table in ("session", "port"):
            database.execute(f"DELETE FROM {table} WHERE uid = ?", (lost["uid"],))
        database.execute("PRAGMA user_version = 2")
        if not readable:
            database.execute("ALTER TABLE session RENAME TO streams")
    told = s2cs.call("info")
    assert told["failed"] and "has version 2" in told["msg"]
    expected = {lost["uid"]} if readable else {lost["uid"], kept["uid"]}
    assert {item["uid"] for item in told["orphans"]} == expected and all(item["running"] for item in told["orphans"])
    check_orphan_ends(s2cs, lost)
    if readable:
        s2cs.refused("release", "has version 2", "use the version that created it", uid=kept["uid"])
    else:
        check_orphan_ends(s2cs, kept)
    assert exchange(kept["listeners"][0]) == b"one:hello" if readable else not s2cs.processes()
    with transaction(s2cs) as database:
        database.execute("PRAGMA user_version = 1")
        if not readable:
            database.execute("ALTER TABLE streams RENAME TO session")


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("s2cs.db-journal", "directory"),
        ("s2cs.db-wal", "link"),
        ("lock", "fifo"),
        *([] if os.geteuid() else [("s2cs.db-journal", "foreign")]),
    ],
)
def test_what_is_in_the_place_of_a_file_beside_the_store(
    s2cs: S2CS, application: Application, name: str, how: str
) -> None:
    kept, ended = s2cs.stream(application.endpoint), s2cs.stream(application.endpoint)
    path = s2cs.state / name
    path.unlink(missing_ok=True)
    if how == "foreign":
        path.touch(0o600)
        os.chown(path, 65534, -1)
    else:
        make = {"directory": os.mkdir, "fifo": os.mkfifo, "link": lambda path: os.symlink("/nowhere", path)}
        make[how](path)
    words = "chown root" if how == "foreign" else f"mv {path} {path}.moved"
    told = s2cs.call("info")
    assert told["failed"] and str(path) in told["msg"] and words in told["msg"], told
    assert {item["uid"] for item in told["orphans"]} == {kept["uid"], ended["uid"]}
    store = (s2cs.state / "s2cs.db").read_bytes()
    before = (s2cs.listening(), sorted(s2cs.processes()), sorted(os.listdir(s2cs.state)))
    for action, options in (
        ("request", {**REQUEST, "uid": own_uid()}),
        ("update", {"uid": kept["uid"], "role": "producer"}),
    ):
        message = s2cs.call(action, **options)["msg"]
        assert str(path) in message and words in message and "I/O" not in message, message
    assert before == (s2cs.listening(), sorted(s2cs.processes()), sorted(os.listdir(s2cs.state)))
    assert store == (s2cs.state / "s2cs.db").read_bytes()
    check_orphan_ends(s2cs, ended)
    # What the message says.
    if how == "foreign":
        os.chown(path, os.geteuid(), -1)
    else:
        path.rename(f"{path}.moved")
    assert s2cs.info(kept["uid"])["running"] and exchange(kept["listeners"][0]) == b"one:hello"
    s2cs.done("release", sessions=[{"uid": kept["uid"]}, {"uid": ended["uid"]}])
    with contextlib.suppress(FileNotFoundError):
        moved = Path(f"{path}.moved")
        moved.rmdir() if how == "directory" else moved.unlink()


def test_orphans_are_for_administrators(s2cs: S2CS, application: Application) -> None:
    session = s2cs.stream(application.endpoint)
    (s2cs.state / "s2cs.db").unlink()
    if os.geteuid() == 0:
        with s2cs.used_by("nobody"):
            s2cs.refused("release", "administrator", uid=session["uid"])
            s2cs.refused("request", "administrator", uid=session["uid"], **REQUEST)
    assert exchange(session["listeners"][0]) == b"one:hello"
    assert s2cs.done("release", uid=session["uid"])["changed"]
    assert s2cs.left() == []


def test_directory_with_nothing_in_it(s2cs: S2CS) -> None:
    s2cs.request(own_uid())
    uid = own_uid()
    (s2cs.sessions / f"consumer-{uid}").mkdir()
    (s2cs.sessions / "nonsense").mkdir()
    [orphan] = s2cs.done("info")["orphans"]
    assert (orphan["uid"], orphan["role"], orphan["running"], orphan["pids"]) == (uid, "consumer", False, [])
    s2cs.done("release", uid=uid)
    assert not Path(orphan["directory"]).exists() and s2cs.done("info")["orphans"] == []
    (s2cs.sessions / "nonsense").rmdir()
