# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ports: nobody gets another one's, none is lost, whatever happens at the same time."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from typing import Any

from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_address, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, eventually, exchange

REQUEST = {"role": "producer", "encryption": "none", "secret": SECRET}


def finish(calls: list[Any]) -> list[dict[str, Any]]:
    """Return the results of calls that must all succeed."""
    results = [call.result() for call in calls]
    assert [result["msg"] for result in results if result.get("failed")] == []
    return results


def test_ports_of_other_programs(make_s2cs: Callable[..., S2CS]) -> None:
    """Who has the others is said: releasing sessions would help only if they did."""
    s2cs = make_s2cs(port_range=[5100, 5104])
    address = s2cs.policy["listen"]["producer"]
    with socket.create_server((address, 5101)), socket.create_server((address, 5103)):
        message = s2cs.refused("request", uid=own_uid(), num_conn=4, **REQUEST)
        assert "3 are free" in message and "0 belong to sessions" in message
        assert "other programs or connections use 2, including 5101: stop these programs" in message
        assert s2cs.request(own_uid(), num_conn=3)["session"]["listeners"] == [
            f"{address}:{port}" for port in (5100, 5102, 5104)
        ]
        message = s2cs.refused("request", uid=own_uid(), num_conn=1, **REQUEST)
        assert "0 are free" in message and "3 belong to sessions" in message and "release sessions" in message


def test_range_that_is_used_up(make_s2cs: Callable[..., S2CS]) -> None:
    s2cs = make_s2cs(port_range=[5100, 5104])
    first = s2cs.request(own_uid(), num_conn=3)["session"]
    message = s2cs.refused("request", "num_conn", "5100-5104", "release", uid=own_uid(), num_conn=3, **REQUEST)
    assert "2 are free" in message and "3 belong to sessions" in message
    s2cs.refused("request", "num_conn", uid=own_uid(), num_conn=6, **REQUEST)
    s2cs.request(own_uid(), num_conn=2)
    moved = own_address()
    before = s2cs.policy["listen"]
    s2cs.write_policy(listen={"producer": moved})
    ports = s2cs.done("info")["gateway"]["ports"]
    assert ports["used"] == 5 and ports["free"] == ports["total"] == 5
    assert ports["in_use"] == {before["producer"]: [5100, 5101, 5102, 5103, 5104], moved: []}
    s2cs.write_policy(listen=before)
    s2cs.done("release", uid=first["uid"])
    # Nothing is lost, round after round.
    for _unused in range(3):
        session = s2cs.request(own_uid(), num_conn=3)["session"]
        assert session["listeners"] == first["listeners"]
        s2cs.done("release", uid=session["uid"])


def test_limit_of_sessions(make_s2cs: Callable[..., S2CS]) -> None:
    s2cs = make_s2cs(limits={"sessions": 2, "num_conn": 4})
    uids = [own_uid(), own_uid()]
    for uid in uids:
        s2cs.request(uid)
    s2cs.refused("request", "2 sessions", uid=own_uid(), **REQUEST)
    s2cs.refused("request", "num_conn", "1 to 4", uid=own_uid(), num_conn=5, **REQUEST)
    s2cs.done("release", uid=uids[0])
    s2cs.request(own_uid())


def test_port_that_something_else_uses(make_s2cs: Callable[..., S2CS]) -> None:
    # Where others on this machine who run these tests do not listen: one of the sockets is for all addresses.
    low = random.randrange(20000, 30000, 10)
    s2cs = make_s2cs(port_range=[low, low + 9])
    address = s2cs.policy["listen"]["producer"]
    with (
        socket.create_server((address, low)),
        socket.create_server(("0.0.0.0", low + 2)),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        udp.bind((address, low + 3))
        session = s2cs.request(own_uid(), num_conn=3)["session"]
        assert session["listeners"] == [f"{address}:{low + step}" for step in (1, 4, 5)]


def test_twenty_control_nodes_at_once(make_s2cs: Callable[..., S2CS], application: Application) -> None:
    s2cs = make_s2cs(port_range=[5100, 5139])
    uids = [own_uid() for _unused in range(20)]
    results = finish([s2cs.start("request", uid=uid, num_conn=2, **REQUEST) for uid in uids])
    listeners = sorted(listener for result in results for listener in result["session"]["listeners"])
    assert listeners == [f"{s2cs.policy['listen']['producer']}:{port}" for port in range(5100, 5140)]
    which = [{"uid": uid, "role": "producer"} for uid in uids]
    finish([s2cs.start("hello", **item, secret=SECRET, producer_listeners=[application.endpoint]) for item in which])
    finish([s2cs.start("update", **item) for item in which])
    assert [exchange(listener) for listener in listeners] == [b"one:hello"] * 40
    finish([s2cs.start("release", uid=uid) for uid in uids])
    assert s2cs.left() == []


def test_the_same_call_from_many_at_once(s2cs: S2CS, application: Application) -> None:
    uid = own_uid()
    requests = finish([s2cs.start("request", uid=uid, **REQUEST) for _unused in range(6)])
    assert sum(result["changed"] for result in requests) == 1
    # All but when the HELLO must have come, which each call puts off.
    assert len({str({**result["session"], "expires": None}) for result in requests}) == 1
    hello = {"uid": uid, "role": "producer", "secret": SECRET, "producer_listeners": [application.endpoint]}
    assert sum(result["changed"] for result in finish([s2cs.start("hello", **hello) for _unused in range(6)])) == 1
    updates = finish([s2cs.start("update", uid=uid, role="producer") for _unused in range(6)])
    assert sum(result["changed"] for result in updates) == 1
    assert sum(result["changed"] for result in finish([s2cs.start("release", uid=uid) for _unused in range(6)])) == 1


def test_requests_and_releases_of_one_uid_at_once(s2cs: S2CS) -> None:
    """Whichever comes last, nothing is half there."""
    uid = own_uid()
    calls = [
        s2cs.start("release", uid=uid) if number % 2 else s2cs.start("request", uid=uid, **REQUEST)
        for number in range(8)
    ]
    finish(calls)
    if s2cs.rows():
        assert s2cs.info(uid)["running"]
    s2cs.done("release", uid=uid)
    assert s2cs.left() == []


def test_batches_in_opposite_order_at_once(s2cs: S2CS) -> None:
    items = [{"uid": own_uid(), **REQUEST} for _unused in range(5)]
    finish([s2cs.start("request", sessions=items), s2cs.start("request", sessions=items[::-1])])
    uids = [{"uid": item["uid"]} for item in items]
    finish([s2cs.start("release", sessions=uids), s2cs.start("release", sessions=uids[::-1])])
    assert s2cs.left() == []


def test_two_control_servers_with_the_same_addresses_and_range(
    make_s2cs: Callable[..., S2CS], application: Application
) -> None:
    listen = {"producer": own_address()}
    first, second = make_s2cs(listen=listen), make_s2cs(listen=listen)
    uid = own_uid()
    pairs = [(s2cs, uid if number == 0 else own_uid()) for number in range(4) for s2cs in (first, second)]
    sessions = [
        result["session"]
        for result in finish([s2cs.start("request", uid=item, num_conn=2, **REQUEST) for s2cs, item in pairs])
    ]
    listeners = [listener for session in sessions for listener in session["listeners"]]
    assert len(set(listeners)) == len(listeners) == 16
    for s2cs in (first, second):
        assert {item["uid"] for item in s2cs.done("info")["sessions"]} == {item for of, item in pairs if of is s2cs}
        s2cs.stream(application.endpoint, uid=uid, num_conn=2)
    first.done("release", uid=uid)
    assert exchange(sessions[1]["listeners"][0]) == b"one:hello"
    assert exchange(sessions[0]["listeners"][0]) == b""
    for s2cs, item in pairs:
        s2cs.done("release", uid=item)
    eventually("all listeners closed", lambda: not any(first.listening().values()))
