# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many sessions in one call: all or nothing."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, exchange

pytestmark = pytest.mark.parametrize("door", ["modules", "service"])

OTHER_SECRET = "the-secret-of-somebody-else-0123456789abc"


def requests(count: int, **options: Any) -> list[dict[str, Any]]:
    """Return the options of requests."""
    return [
        {"uid": own_uid(), "role": "producer", "encryption": "none", "secret": SECRET, **options}
        for _unused in range(count)
    ]


def identities(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return uid and role of each."""
    return [{"uid": item["uid"], "role": item["role"]} for item in items]


def test_many_sessions_in_one_call(s2cs: S2CS, application: Application) -> None:
    items = requests(5, num_conn=2)
    requested = s2cs.done("request", sessions=items)
    assert [item["uid"] for item in requested["sessions"]] == [item["uid"] for item in items]
    assert requested["changed_sessions"] == requested["new_sessions"] == identities(items)
    assert "session" not in requested
    more = [*items, *requests(1)]
    assert s2cs.done("request", sessions=more)["new_sessions"] == identities(more[5:])
    hellos = [{**item, "secret": SECRET, "producer_listeners": [application.endpoint]} for item in identities(items)]
    s2cs.done("hello", sessions=hellos)
    updated = s2cs.done("update", sessions=identities(items))
    assert [exchange(listener) for item in updated["sessions"] for listener in item["listeners"]] == [b"one:hello"] * 10
    released = s2cs.done("release", sessions=[{"uid": item["uid"]} for item in more])
    assert sorted(item["uid"] for item in released["released"]) == sorted(item["uid"] for item in more)
    assert s2cs.left() == []


def test_third_request_fails(s2cs: S2CS) -> None:
    kept = s2cs.request(own_uid())["session"]
    for wrong in (
        {**requests(1)[0], "num_conn": 40},
        {**requests(1)[0], "num_conn": 65},
        {**requests(1)[0], "role": "observer"},
    ):
        s2cs.refused("request", sessions=[*requests(2), wrong, *requests(1)])
    assert s2cs.info(kept["uid"])["running"]


def test_session_that_is_there_concerns_no_new_one(s2cs: S2CS) -> None:
    kept = s2cs.request(own_uid())["session"]
    new = requests(3)
    result = s2cs.call("request", sessions=[*new[:2], {**requests(1)[0], "uid": kept["uid"], "num_conn": 2}, new[2]])
    assert result["failed"] and "num_conn is 1, requested 2" in result["msg"]
    assert [item["uid"] for item in result["failed_sessions"]] == [kept["uid"]]
    assert identities(result["sessions"]) == identities(new) == result["changed_sessions"]
    assert {item["uid"] for item in s2cs.done("info")["sessions"]} == {kept["uid"], *(item["uid"] for item in new)}


def test_third_forwarder_does_not_start(s2cs: S2CS) -> None:
    """The forwarder itself refuses what comes last; by then the others run."""
    blocked = requests(1)
    (s2cs.sessions).mkdir(parents=True)
    in_the_way = s2cs.sessions / f"producer-{blocked[0]['uid']}"
    in_the_way.write_text("")
    s2cs.done("release", uid=own_uid())
    s2cs.refused("request", str(in_the_way), sessions=[*requests(2), *blocked])
    in_the_way.unlink()


def test_third_hello_fails(s2cs: S2CS) -> None:
    items = requests(3)
    s2cs.done("request", sessions=items)
    hellos = [{**item, "secret": SECRET, "producer_listeners": ["127.0.0.1:7000"]} for item in identities(items)]
    s2cs.refused("hello", "secret", sessions=[*hellos[:2], {**hellos[2], "secret": OTHER_SECRET}])
    s2cs.refused("hello", "has no session", sessions=[*hellos, {**hellos[0], "uid": own_uid()}])


def test_third_update_fails(s2cs: S2CS, application: Application, other_application: Application) -> None:
    items = [s2cs.stream(application.endpoint) for _unused in range(2)]
    reserved = s2cs.request(own_uid())["session"]
    moved = [{**item, "remote_listeners": [other_application.endpoint]} for item in identities([*items, reserved])]
    s2cs.refused("update", reserved["uid"], "reserved", sessions=moved)
    assert [exchange(item["listeners"][0]) for item in items] == [b"one:hello"] * 2
    # An address family that the forwarder cannot use from this egress address: refused by the forwarder itself.
    s2cs.write_policy(egress={"producer": "127.0.0.99"})
    last = s2cs.stream(application.endpoint)
    unreachable = {**identities([last])[0], "remote_listeners": ["[::1]:7000"]}
    s2cs.refused("update", sessions=[*moved, unreachable])
    # Of those that stream already, one that cannot be changed concerns none but itself.
    result = s2cs.call("update", sessions=[*moved[:2], unreachable])
    assert result["failed"] and result["changed_sessions"] == identities(items)
    assert [item["uid"] for item in result["failed_sessions"]] == [last["uid"]]
    assert [exchange(item["listeners"][0]) for item in (*items, last)] == [b"two:hello", b"two:hello", b"one:hello"]


def test_release_goes_on_after_a_failure(s2cs: S2CS) -> None:
    items = requests(3)
    s2cs.done("request", sessions=items)
    directory = s2cs.sessions / f"producer-{items[0]['uid']}"
    kept = directory.rename(directory.with_name("kept"))
    directory.write_text("a file in its place")
    s2cs.call("release", sessions=[{"uid": item["uid"]} for item in items])
    assert {row[0] for row in s2cs.rows()} <= {items[0]["uid"]}
    directory.unlink()
    kept.rename(directory)
    state = json.loads((directory / "supervisor.json").read_text())
    s2cs.done("release", uid=items[0]["uid"])
    assert not os.path.exists(f"/proc/{state['child']}")


def test_secrets_and_modes(s2cs: S2CS, application: Application) -> None:
    session = s2cs.stream(application.endpoint)
    name = f"producer-{session['uid']}"
    modes = {
        path.relative_to(s2cs.state).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in [s2cs.state, *s2cs.state.rglob("*")]
    }
    assert modes["s2cs.db"] == modes["lock"] == 0o600
    for path, mode in modes.items():
        # The proxy itself, which is of that group, writes into `run` alone.
        assert not mode & 0o022 or path.endswith("/run"), f"{path} can be written by others: {mode:o}"
        if path.startswith(f"sessions/{name}/") and not path.endswith("supervisor.json"):
            assert not mode & 0o007, f"{path} is there for others: {mode:o}"
    assert modes[f"sessions/{name}"] == 0o750
    everything = b"".join(path.read_bytes() for path in s2cs.root.rglob("*") if path.is_file())
    everything += b"".join(
        _read(Path(f"/proc/{pid}/{part}")) for pid in s2cs.processes() for part in ("cmdline", "environ")
    )
    assert SECRET.encode() not in everything
    [row] = s2cs.rows()
    salt, _unused, digest = json.loads(row[2])["secret_hash"].partition("$")
    assert len(salt) == 32 and len(digest) == 64
    assert digest not in json.dumps([s2cs.done("info"), s2cs.request(session["uid"])])


def test_same_secret_has_another_hash_each_time(s2cs: S2CS) -> None:
    s2cs.done("request", sessions=requests(2))
    assert len({json.loads(row[2])["secret_hash"] for row in s2cs.rows()}) == 2


def test_empty_store_of_a_call_that_was_killed_at_once(s2cs: S2CS) -> None:
    s2cs.state.mkdir()
    (s2cs.state / "s2cs.db").touch(mode=0o600)
    assert s2cs.done("info")["sessions"] == []
    item = requests(1)[0]
    assert s2cs.call("request", check=True, **item)["changed"]
    s2cs.done("request", **item)


def test_store_of_a_newer_version(s2cs: S2CS) -> None:
    s2cs.request(own_uid())
    with sqlite3.connect(s2cs.state / "s2cs.db") as database:
        database.execute("PRAGMA user_version = 1000")
    for action, options in (("info", {}), ("request", requests(1)[0]), ("release", {"uid": own_uid()})):
        result = s2cs.call(action, **options)
        assert result.get("failed") and "version" in result["msg"], result
    with sqlite3.connect(s2cs.state / "s2cs.db") as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1000,)
        database.execute("PRAGMA user_version = 1")
    database.close()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
