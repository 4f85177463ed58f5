# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Data through each proxy: whole, both ways, for those who may, also while the target moves."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.proxies.harness import (
    MIB,
    PROXIES,
    SIZE,
    Stream,
    Whole,
    directory,
    drain,
    pattern,
    transfer,
)
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, own_address
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import (
    Application,
    ask,
    connect,
    eventually,
    exchange,
    pair,
)


@pytest.mark.parametrize("half_close", [True, False])
def test_every_byte_both_ways(gateway: S2CS, kind: str, half_close: bool) -> None:
    # stunnel may lose the end of an answer that has to wait, if the one who asked has ended its own direction.
    answer = 1 << 16 if half_close and kind == "stunnel" else SIZE
    server = Whole(answer, reads=None if half_close else SIZE)
    stream = Stream(gateway, kind, server.endpoint)
    transfer(stream.listener, server, SIZE, answer, half_close)

    def settled() -> bool:
        counters = stream.counters()
        assert counters["connections"]["total"] == 1 and counters["connections"]["failed"] == 0
        carried = {"to_consumer": answer, "to_producer": SIZE}
        return bool(counters["connections"]["open"] == 0 and counters["bytes"] == carried)

    eventually("the counters agree with what was sent", settled)


def test_a_reader_that_stalls_loses_nothing(gateway: S2CS, kind: str) -> None:
    reads = threading.Event()
    server = Whole(0, before_reading=lambda: (reads.wait(60), None)[1])
    stream = Stream(gateway, kind, server.endpoint)
    with connect(stream.listener) as connection:
        connection.settimeout(0.5)
        sent = bytearray()
        with contextlib.suppress(socket.timeout):
            for block in pattern(256 * MIB, 1):
                view = memoryview(block)
                while view:
                    done = connection.send(view)
                    sent += view[:done]
                    view = view[done:]
        assert MIB < len(sent) < 256 * MIB
        reads.set()
        connection.settimeout(20)
        connection.shutdown(socket.SHUT_WR)
        assert drain(connection)[0] == 0
    server.thread.join(20)
    assert server.received == len(sent)


def test_only_who_may_connects(make_gateway: Callable[..., S2CS], application: Application) -> None:
    friend, stranger, egress = own_address(), own_address(), own_address()
    networks = [f"10.{number}.0.0/16" for number in range(100)]
    s2cs = make_gateway(clients={"producer": [f"{friend}/32", *networks, "2001:db8::/32"]}, egress={"producer": egress})
    for proxy in ("haproxy", "nginx"):
        stream = Stream(s2cs, proxy, application.endpoint)
        assert exchange(stream.listener, source=friend) == b"one:hello"
        assert application.peers[-1] == egress
        assert exchange(stream.listener, source=stranger) == b""
        stream.point(application.endpoint, clients=[networks[3]])
        assert exchange(stream.listener, source=friend) == b""
        counters = stream.counters()
        assert counters["connections"] == {"open": 0, "total": 1, "refused": 2, "failed": 0}
    assert len(application.peers) == 2


def test_a_target_that_does_not_answer_is_counted_and_logged(gateway: S2CS, kind: str) -> None:
    with Application("soon gone") as application:
        endpoint = application.endpoint
    stream = Stream(gateway, kind, endpoint)
    assert exchange(stream.listener) == b""
    eventually("the failure is counted", lambda: stream.counters()["connections"]["failed"] == 1)
    where = directory(gateway, stream.session)
    log = (where / ("run/stunnel.log" if kind == "stunnel" else "log")).read_text()
    assert "listener0" in log or "connect() failed" in log


def test_an_update_keeps_connections_and_moves_new_ones(
    gateway: S2CS, kind: str, application: Application, other_application: Application
) -> None:
    stream = Stream(gateway, kind, application.endpoint)
    with connect(stream.listener) as established:
        assert ask(established, b"before") == b"one:before"
        before = stream.main_process()
        for _unused in range(2):
            stream.point(other_application.endpoint)
            answers = {exchange(stream.listener) for _unused in range(10)}
            assert answers == {b"two:hello"}
            assert ask(established, b"still") == b"still"
            stream.point(application.endpoint)
            assert exchange(stream.listener) == b"one:hello"
            assert ask(established, b"still") == b"still"
        assert stream.main_process() == before
        expected = {"open": 1, "total": 23, "refused": 0, "failed": 0}
        eventually("all but one have ended", lambda: stream.counters()["connections"] == expected)
    # one:before, 20 times two:hello, twice one:hello, four times still
    carried = {"to_consumer": 10 + 22 * 9 + 4 * 5, "to_producer": 6 + 22 * 5 + 4 * 5}
    eventually("the counters of all processes are summed", lambda: stream.counters()["bytes"] == carried)
    assert stream.counters()["connections"] == {"open": 0, "total": 23, "refused": 0, "failed": 0}


def test_the_same_update_changes_nothing(gateway: S2CS, kind: str, application: Application) -> None:
    stream = Stream(gateway, kind, application.endpoint)
    before = gateway.picture()
    options: dict[str, Any] = {"uid": stream.uid, "role": "producer", "remote_listeners": [application.endpoint]}
    assert not gateway.done("update", **options, **stream.peer)["changed"]
    assert not gateway.done("update", **options)["changed"]
    assert not gateway.call("update", check=True, **options)["changed"]
    assert gateway.picture() == before
    with connect(stream.listener) as established:
        assert ask(established, b"x") == b"one:x"


def test_many_connections_at_once(gateway: S2CS, kind: str, application: Application) -> None:
    stream = Stream(gateway, kind, application.endpoint)
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(stream.listener)) for _unused in range(40)]
        assert {ask(connection, b"x") for connection in connections} == {b"one:x"}
        assert stream.counters()["connections"]["open"] == 40


def test_several_listeners_and_targets(gateway: S2CS, application: Application, other_application: Application) -> None:
    for proxy in ("haproxy", "nginx"):
        stream = Stream(gateway, proxy, application.endpoint, other_application.endpoint, num_conn=3)
        answers = [exchange(listener) for listener in stream.session["listeners"]]
        assert answers == [b"one:hello", b"two:hello", b"one:hello"]


def test_ipv6(make_gateway: Callable[..., S2CS], kind: str) -> None:
    s2cs = make_gateway(
        listen={"producer": "::1", "consumer": "::1"},
        egress={"producer": "::1"},
        clients={"producer": ["::1/128"]},
        port_range=[5740, 5759],
    )
    with Application("six", "::1") as application:
        stream = Stream(s2cs, kind, application.endpoint)
        assert exchange(stream.listener) == b"six:hello"
        counters = stream.counters()
        assert counters["connections"]["total"] == 1


@pytest.mark.parametrize("kept", PROXIES)
def test_three_proxies_do_not_notice_each_other(
    gateway: S2CS, kept: str, application: Application, other_application: Application
) -> None:
    streams = {proxy: Stream(gateway, proxy, application.endpoint) for proxy in PROXIES}
    stream = streams.pop(kept)
    released, updated = streams.values()
    pids = [stream.main_process(role) for role in stream.roles]
    trouble: list[str] = []
    ends = threading.Event()

    def talk() -> None:
        with connect(stream.listener) as connection:
            ask(connection, b"begin")
            while not ends.is_set():
                if ask(connection, b"on and on") != b"on and on":
                    trouble.append("the connection was cut")
                    return
                if exchange(stream.listener) != b"one:hello":
                    trouble.append("a new connection was not served")
                    return

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        updated.point(other_application.endpoint)
        assert exchange(updated.listener) == b"two:hello"
        released.release()
        updated.release()
        time.sleep(0.2)
    finally:
        ends.set()
        talker.join(20)
    assert not trouble
    assert [stream.main_process(role) for role in stream.roles] == pids
    assert sorted(path.name for path in gateway.sessions.iterdir()) == sorted(f"{r}-{stream.uid}" for r in stream.roles)
    stream.release()
    assert not gateway.left()


def test_udp_and_tcp_on_one_port(gateway: S2CS, application: Application, other_application: Application) -> None:
    """nginx forwards datagrams; new peers go to the new target after an update."""

    def echo(name: bytes, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, peer = server.recvfrom(65536)
                server.sendto(name + data, peer)

    servers = []
    for name, tcp in ((b"one:", application), (b"two:", other_application)):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(pair(tcp.endpoint))
        threading.Thread(target=echo, args=(name, server), daemon=True).start()
        servers.append(server)

    def datagram(peer: socket.socket) -> bytes:
        peer.settimeout(5)
        peer.sendto(b"ping", pair(stream.listener))
        return peer.recv(100)

    stream = Stream(gateway, "nginx", application.endpoint, transport="both")
    assert stream.session["transport"] == "both"
    with contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _unused in range(2))
        assert [datagram(first) for _unused in range(3)] == [b"one:ping"] * 3
        assert exchange(stream.listener) == b"one:hello"
        eventually("the peer is counted", lambda: stream.counters()["connections"]["open"] == 1)
        stream.point(other_application.endpoint)
        assert datagram(second) == b"two:ping"
        assert exchange(stream.listener) == b"two:hello"
    only = Stream(gateway, "nginx", application.endpoint, transport="udp")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(5)
        peer.sendto(b"ping", pair(only.listener))
        assert peer.recv(100) == b"one:ping"
    with pytest.raises(ConnectionRefusedError):
        connect(only.listener)
    only.release()
    for server in servers:
        server.close()
