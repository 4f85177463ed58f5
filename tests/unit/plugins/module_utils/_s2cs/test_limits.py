# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Limits of sessions and connections, including for concurrent requests."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.limits import Limits, Usage
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.store import Store

FORK = multiprocessing.get_context("fork")
REFUSED, RESERVED = 3, 0


def session(uid: str, owner: str = "ann", num_conn: int = 1) -> Session:
    """Return a session. The uid need not be valid."""
    return Session(
        *(uid, "producer", "s2ds", "process", "none", num_conn, None, 180, {}, owner, "", 1700000000.0),
        expires=None,
    )


PRESENT = [session("a", "ann", 2), session("b", "ann", 3), session("c", "bob", 1)]


@pytest.mark.parametrize(
    ("limits", "wanted", "rule"),
    [
        (Limits(sessions=4), session("d"), None),
        (Limits(sessions=3), session("d"), "limits.sessions"),
        (Limits(owner_sessions=3), session("d"), None),
        (Limits(owner_sessions=2), session("d"), "limits.owner.sessions"),
        (Limits(owner_sessions=2), session("d", "bob"), None),
        (Limits(owner_sessions=1), session("d", "carol"), None),
        (Limits(owner_num_conn=6), session("d"), None),
        (Limits(owner_num_conn=6), session("d", "ann", 2), "limits.owner.num_conn"),
        (Limits(owner_num_conn=3), session("d", "bob", 2), None),
        (Limits(owner_num_conn=3), session("d", "carol", 4), "limits.owner.num_conn"),
    ],
)
def test_limits(limits: Limits, wanted: Session, rule: str | None) -> None:
    # Otherwise, what the owner uses is not looked at.
    present = Usage.of(PRESENT, wanted.owner if limits.apply_to(wanted.owner) else None)
    if rule is None:
        limits.check(wanted, present)
        return
    with pytest.raises(RefusedError) as error:
        limits.check(wanted, present)
    assert str(error.value).endswith(f" (policy: {rule})")
    if "owner" in rule:
        assert wanted.owner in str(error.value)


def _reserve(directory: str, number: int, limits: Limits, num_conn: int, begin: Any) -> None:
    store = Store(directory)
    owner = ("ann", "bob")[number % 2]
    begin.wait()
    try:
        store.reserve(session(str(number), owner, num_conn), "127.0.0.1", _free(num_conn), limits)
    except RefusedError:
        raise SystemExit(REFUSED) from None


def _free(count: int) -> Any:
    def choose(taken: Any, last: int) -> list[int]:
        return [port for port in range(5000, 6000) if port not in taken][:count]

    return choose


@pytest.mark.parametrize(
    ("limits", "num_conn", "each"),
    [
        (Limits(owner_sessions=3), 1, 3),
        (Limits(owner_num_conn=7), 2, 3),
        (Limits(sessions=6, owner_sessions=5), 1, None),
    ],
)
def test_concurrent_processes(tmp_path: Path, limits: Limits, num_conn: int, each: int | None) -> None:
    directory = str(tmp_path)
    Store(directory).close()
    begin = FORK.Event()
    processes = [
        FORK.Process(target=_reserve, args=(directory, number, limits, num_conn, begin)) for number in range(20)
    ]
    for process in processes:
        process.start()
    begin.set()
    for process in processes:
        process.join()
    assert {process.exitcode for process in processes} == {RESERVED, REFUSED}
    store = Store(directory)
    owners = [item.owner for item in store.all()]
    store.close()
    assert len(owners) == 6 == [process.exitcode for process in processes].count(RESERVED)
    if each is not None:
        assert owners.count("ann") == owners.count("bob") == each
