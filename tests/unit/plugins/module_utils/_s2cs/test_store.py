# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The session store, including with concurrent processes and threads."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import database, store_queries
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError, StoreError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.limits import Limits, Usage
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import (
    STREAMING,
    Session,
    hash_secret,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session_document import from_json
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.store import Store

FORK = multiprocessing.get_context("fork")
ADDRESS = "127.0.0.1"
SECRET = "0123456789abcdef0123456789abcdef"


def session(uid: str, **changes: Any) -> Session:
    """Return a session. The uid need not be valid."""
    values: dict[str, Any] = {
        "uid": uid,
        "role": "producer",
        "proxy": "s2ds",
        "runtime": "process",
        "encryption": "none",
        "num_conn": 2,
        "rate": None,
        "hello_timeout": 180,
        "labels": {"job": "1"},
        "owner": "me",
        "secret_hash": hash_secret(SECRET),
        "created": 1700000000.5,
        "expires": None,
    }
    return Session(**{**values, **changes})


def counting(low: int, high: int, count: int) -> Callable[..., list[int]]:
    """Return a chooser that does not test whether other programs use a port."""

    def choose(taken: Any, last: int) -> list[int]:
        free = [port for port in range(low, high + 1) if port not in taken]
        if len(free) < count:
            raise RefusedError("none left")
        return free[:count]

    return choose


def reserve(store: Store, uid: str, high: int = 5999, limit: int = 1000, **changes: Any) -> Session:
    """Reserve two ports."""
    limits = Limits(sessions=limit)
    return store.reserve(session(uid, **changes), ADDRESS, counting(5000, high, 2), limits)


def run_all(work: Callable[..., None], arguments: list[tuple[Any, ...]]) -> list[int | None]:
    """Run a function in concurrent processes, and return their exit codes."""
    processes = [FORK.Process(target=work, args=given) for given in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def test_round_trip(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "state"))
    first = reserve(store, "a", rate=10**10, labels={"name": "René"}, clients=["10.0.0.0/8"])
    assert first.listeners == ["127.0.0.1:5000", "127.0.0.1:5001"]
    assert store.get("a", "producer") == first == from_json(first.to_json())
    assert store.get("a", "consumer") is None and store.get("b", "producer") is None
    changed = first.replace(state=STREAMING, targets=["192.0.2.1:1"])
    store.save(changed)
    store.close()
    store = Store(str(tmp_path / "state"))
    assert store.all() == [changed] == store.all("a") and store.all("b") == []
    assert store.ports(ADDRESS) == [5000, 5001] and store.ports("127.0.0.2") == []
    store.delete(changed.uid, changed.role)
    assert store.all() == [] and store.ports(ADDRESS) == []
    store.save(changed)
    assert store.all() == []
    store.close()


def test_values_of_many_sessions(tmp_path: Path) -> None:
    """Without reading the sessions, and whatever is in other rows."""
    store = Store(str(tmp_path))
    reserve(store, "a")
    reserve(store, "b", owner="you", expires=1700000100.0)
    reserve(store, "c", expires=time.time() + 1000)
    for uid, document in (
        ("x", b"\xff\x00"),
        ("y", "no JSON"),
        ("z", '{"owner": "me", "num_conn": "x", "expires": "x"}'),
        ("n", '{"owner": "me", "expires": 1}'),
    ):
        with store.transaction() as connection:
            connection.execute("INSERT INTO session VALUES (?, 'producer', ?)", (uid, document))
    usage = store.usage("me")
    assert (usage.sessions, usage.owner_sessions, usage.owner_num_conn) == (7, 4, 4)
    total = store.usage(None)
    assert (total.sessions, total.owner_sessions, total.owner_num_conn) == (7, 0, 0)
    store.require_readable()
    assert sorted(store.expirations()) == [("b", "producer"), ("c", "producer"), ("n", "producer")]
    assert [found.uid for found in store.expired()] == ["b"]
    store.close()


@pytest.mark.parametrize("change", ["DROP TABLE usage", "DELETE FROM usage WHERE uid = 'a'", "DELETE FROM session"])
def test_usage_after_changes_by_other_programs(tmp_path: Path, change: str) -> None:
    """Such as an earlier version, which does not know the table. Without foreign keys, it keeps rows of sessions."""
    store = Store(str(tmp_path))
    reserve(store, "a")
    reserve(store, "b", owner="you")
    with closing(sqlite3.connect(tmp_path / "s2cs.db")) as connection, connection:
        connection.execute(change)
    others = 0 if change.startswith("DELETE FROM session") else 1
    reading = Store(str(tmp_path), read_only=True)
    before = (tmp_path / "s2cs.db").read_bytes()
    assert reading.usage("me") == Usage(2 * others, others, 2 * others)
    reading.close()
    assert (tmp_path / "s2cs.db").read_bytes() == before
    with store.transaction() as connection:
        connection.execute("DELETE FROM port")
    reserve(store, "c")
    assert store.usage("me") == Usage(2 * others + 1, others + 1, 2 * others + 2)
    store.delete("c", "producer")
    assert store.usage("me") == Usage(2 * others, others, 2 * others)
    assert store.usage("you") == Usage(2 * others, others, 2 * others)
    store.close()


def test_usage_without_the_right_to_write(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    reserve(store, "a")
    with store.transaction() as connection:
        connection.execute("DROP TABLE usage")
    with closing(database.connect(str(tmp_path / "s2cs.db"), "ro")) as connection:
        assert store_queries.usage(connection, "me") is None
    store.close()


@pytest.mark.parametrize("part", ["leaf", "rest of a row"])
def test_damage_behind_the_beginning(tmp_path: Path, part: str) -> None:
    """A store can be opened although some of its pages are damaged."""
    store = Store(str(tmp_path))
    for number in range(20):
        reserve(store, f"{number:02}")
    with store.transaction() as connection:
        # More than a page can contain.
        connection.execute("UPDATE session SET document = ? WHERE uid = '10'", (f"{'x' * 20000}",))
    store.close()
    path = tmp_path / "s2cs.db"
    content = path.read_bytes()
    where = content.index(b"x" * 4000) if part == "rest of a row" else content.index(b'"uid": "15"')
    start = where - where % 4096
    path.write_bytes(content[:start] + b"\xff" * 4096 + content[start + 4096 :])
    store = Store(str(tmp_path))
    assert store.get("00", "producer") is not None or part == "leaf"
    with pytest.raises(StoreError, match="damaged"):
        store.require_readable()
    store.close()


def test_ipv6_listeners(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert store.reserve(session("a"), "::1", counting(5, 6, 2), Limits()).listeners == ["[::1]:5", "[::1]:6"]
    store.close()


def test_all_or_nothing(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    kept = reserve(store, "a", high=5002)
    with pytest.raises(RefusedError, match="none left"):
        reserve(store, "b", high=5002)
    with pytest.raises(RefusedError, match="1 sessions"):
        reserve(store, "c", limit=1)
    with pytest.raises(StoreError):
        reserve(store, "a")
    with pytest.raises(StoreError):
        store.reserve(session("d"), ADDRESS, lambda taken, last: [5001, 5002], Limits())
    with pytest.raises(ZeroDivisionError):
        store.reserve(session("e"), ADDRESS, lambda taken, last: [1 // 0], Limits())
    assert store.all() == [kept] and store.ports(ADDRESS) == [5000, 5001]
    reserve(store, "f")
    store.close()


def test_roles_share_the_ports_of_an_address(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    producer, consumer = reserve(store, "a"), reserve(store, "a", role="consumer")
    assert not set(producer.listeners) & set(consumer.listeners)
    store.delete(producer.uid, producer.role)
    assert store.ports(ADDRESS) == [5002, 5003]
    store.close()


def _reserve_many(directory: str, number: int) -> None:
    store = Store(directory)
    for item in range(5):
        reserve(store, f"{number}-{item}")
    store.close()


def test_concurrent_processes(tmp_path: Path) -> None:
    directory = str(tmp_path / "state")
    assert run_all(_reserve_many, [(directory, number) for number in range(12)]) == [0] * 12
    store = Store(directory)
    listeners = [listener for item in store.all() for listener in item.listeners]
    assert len(listeners) == len(set(listeners)) == 120
    assert sorted(store.ports(ADDRESS)) == list(range(5000, 5120))
    store.close()


def test_concurrent_threads(tmp_path: Path) -> None:
    directory = str(tmp_path / "state")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: _reserve_many(directory, number), range(8)))
    store = Store(directory)
    assert sorted(store.ports(ADDRESS)) == list(range(5000, 5080))
    store.close()


def _hold(directory: str, keys: list[tuple[str, str]], ready: Any, release: Any) -> None:
    store = Store(directory)
    with store.locks.hold(keys):
        ready.set()
        release.wait()


def _toggle(directory: str, keys: list[tuple[str, str]], path: str) -> None:
    """Fail if another process is in the critical section."""
    store = Store(directory)
    for _unused in range(20):
        with store.locks.hold(keys):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
            time.sleep(0.001)
            os.unlink(path)


def test_locks_of_sessions(tmp_path: Path) -> None:
    directory = str(tmp_path)
    ready, release = FORK.Event(), FORK.Event()
    holder = FORK.Process(target=_hold, args=(directory, [("a", "producer"), ("b", "producer")], ready, release))
    holder.start()
    ready.wait()
    store = Store(directory)
    for keys, free in (
        ([("a", "producer")], False),
        ([("b", "producer")], False),
        ([("c", "producer"), ("b", "producer")], False),
        ([("a", "consumer")], True),
        ([("c", "producer")], True),
        ([], True),
    ):
        with store.locks.hold(keys, wait=False) as held:
            assert held is free
    # Locks acquired before the failure were released.
    with store.locks.hold([("c", "producer")], wait=False) as held:
        assert held
    # A crash releases the locks.
    assert holder.pid
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with store.locks.hold([("a", "producer"), ("b", "producer")]) as held:
        assert held
    store.close()


def test_locks_exclude_processes_in_any_order(tmp_path: Path) -> None:
    keys = [(name, role) for name in "abc" for role in ("producer", "consumer")]
    path = str(tmp_path / "inside")
    arguments = [(str(tmp_path), keys[::order], path) for order in (1, -1, 1, -1)]
    assert run_all(_toggle, arguments) == [0] * 4


def _die_in_a_transaction(directory: str) -> None:
    store = Store(directory)
    with store.transaction() as database:
        database.execute("DELETE FROM session")
        os.kill(os.getpid(), signal.SIGKILL)


def test_killed_in_a_transaction(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    kept = reserve(store, "a")
    assert run_all(_die_in_a_transaction, [(str(tmp_path),)]) == [-signal.SIGKILL]
    for read_only in (True, False):
        other = Store(str(tmp_path), read_only=read_only)
        assert other.all() == [kept]
        other.close()
    reserve(store, "b")
    store.close()


def test_read_only(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    store = Store(str(directory), read_only=True)
    assert store.all() == [] and not directory.exists()
    with store.locks.hold([("a", "producer")], wait=False) as held:
        assert held
    store.close()
    writer = Store(str(directory))
    kept = reserve(writer, "a")
    writer.close()
    before = {path: path.read_bytes() for path in directory.iterdir()}
    reader = Store(str(directory), read_only=True)
    assert reader.all() == [kept] and reader.choose(ADDRESS, 2, counting(5000, 5999, 2)) == [5002, 5003]
    reader.close()
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Store(str(tmp_path / "state")).close()
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
    assert modes == {"s2cs.db": 0o600, "s2cs.db-journal": 0o600, "lock": 0o600}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o711


@pytest.mark.parametrize("name", ["a ?b#c%20", "état", "x" * 200])
def test_unusual_directory_names(tmp_path: Path, name: str) -> None:
    store = Store(str(tmp_path / name))
    kept = reserve(store, "a")
    store.close()
    reader = Store(str(tmp_path / name), read_only=True)
    assert reader.all() == [kept]
    reader.close()


@pytest.mark.parametrize("read_only", [False, True])
def test_unusable_store(tmp_path: Path, read_only: bool) -> None:
    (tmp_path / "s2cs.db").write_bytes(b"no database " * 100)
    with pytest.raises(StoreError, match=r"s2cs\.db"):
        Store(str(tmp_path), read_only).all()
    (tmp_path / "file").write_text("")
    if not read_only:
        with pytest.raises(StoreError, match=r"scistream\.gateway\.s2cs"):
            Store(str(tmp_path / "file"))


@pytest.mark.parametrize("read_only", [False, True])
def test_stores_of_other_versions(tmp_path: Path, read_only: bool) -> None:
    (tmp_path / "s2cs.db").touch()
    assert Store(str(tmp_path), read_only).all() == []
    with sqlite3.connect(tmp_path / "s2cs.db") as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="version 99"):
        Store(str(tmp_path), read_only)
