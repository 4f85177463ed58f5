# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections between the gateways that wait, are lost, or belong to somebody who does not do as a forwarder does."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

ALIVE, GO, OK, NO = b"\x01", b"\x02", b"\x03", b"\x04"


def free_address(bed: Any) -> list[Any]:
    """An address at which nobody listens."""
    target = bed.target()
    target.close()
    return list(target.address)


def test_nobody_waits(dialling: Any) -> None:
    consumer = dialling.waits(connect_timeout=0.3)
    assert consumer.connect().outcome() == "reset"
    consumer.counted("failed", 1)
    assert "no dialled connection within 0.3 s" in consumer.log()
    found = consumer.status()
    assert found["dial"]["without"] == found["peer_listeners"]
    assert found["dial"]["waiting"] == 0


def test_application_waits_for_a_connection(dialling: Any) -> None:
    target = dialling.bed.target()
    consumer = dialling.waits()
    client = consumer.connect()
    dialling.dials(dialling.peers(consumer), [target.address])
    client.send(b"x")
    assert target.accept().receive(1) == b"x"


def test_target_that_refuses(dialling: Any) -> None:
    consumer, producer = dialling.gateways([free_address(dialling.bed)])
    assert consumer.turned_away()
    for gateway in (consumer, producer):
        gateway.counted("failed", 1)
        gateway.counted("open", 0)
    assert "target: the other gateway cannot reach it" in consumer.log()
    assert "target: Connection refused" in producer.log()
    dialling.full(consumer, 2)


def test_each_listener_has_its_target(dialling: Any) -> None:
    targets = [dialling.bed.target() for _unused in range(2)]
    consumer, _producer = dialling.gateways([target.address for target in targets])
    for index in (1, 0):
        client, server = dialling.bed.link(consumer, targets[index], index)
        client.send(b"%d" % index)
        assert server.receive(1) == b"%d" % index


def test_many_at_once(dialling: Any) -> None:
    """More than wait, of which each gets a connection in turn."""
    target = dialling.bed.target()
    consumer, producer = dialling.gateways([target.address])
    clients = [consumer.connect() for _unused in range(20)]
    servers = [target.accept() for _unused in clients]
    for number, client in enumerate(clients):
        client.send(b"%02d" % number)
    assert sorted(server.receive(2) for server in servers) == [b"%02d" % number for number in range(20)]
    producer.counted("open", 20)
    assert consumer.status()["connections"] == {"open": 20, "total": 20, "refused": 0, "failed": 0}


def test_limit_of_connections(dialling: Any) -> None:
    target = dialling.bed.target()
    both = {"max_connections": 2, "connect_timeout": 0.5}
    consumer, producer = dialling.gateways([target.address], both, both)
    pairs = [dialling.bed.link(consumer, target) for _unused in range(2)]
    assert consumer.turned_away()
    assert producer.status()["dial"]["waiting"] == 0
    pairs[0][0].reset()
    consumer.counted("open", 1)
    dialling.waiting(consumer, 1)
    dialling.bed.link(consumer, target)


def test_dials_until_the_peer_is_there(dialling: Any) -> None:
    target = dialling.bed.target()
    first = dialling.waits()
    peers = dialling.peers(first)
    first.close()
    producer = dialling.dials(peers, [target.address])
    dialling.bed.wait_until(lambda: producer.status()["dial"]["error"], "an error")
    found = producer.status()["dial"]
    name = f"{peers[0][0]}:{peers[0][1]}"
    assert (found["without"], found["waiting"]) == ([name], 0)
    assert found["error"] == f"{name}: Connection refused"
    consumer = dialling.waits(dial={"listeners": [{"address": peers[0][0], "port": peers[0][1]}]})
    dialling.full(consumer, 2)
    dialling.full(producer, 2)
    assert producer.status()["dial"]["error"] is None


def test_gateway_that_stops_answering(dialling: Any) -> None:
    """Neither gateway keeps connections whose other end is silent."""
    target = dialling.bed.target()
    consumer, producer = dialling.gateways([target.address])
    workers = producer.workers()
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        dialling.waiting(consumer, 0)
        assert "no heartbeat" in consumer.log()
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    dialling.full(consumer, 2)


def test_release_of_either_gateway(dialling: Any) -> None:
    consumer, producer = dialling.gateways([dialling.bed.target().address])
    producer.close()
    dialling.waiting(consumer, 0)
    assert consumer.status()["connections"] == {"open": 0, "total": 0, "refused": 0, "failed": 0}
    assert producer.exit() == 0


def test_reload_of_targets_and_peers(dialling: Any) -> None:
    one, other = dialling.bed.target(), dialling.bed.target()
    consumer, producer = dialling.gateways([one.address])
    client, server = dialling.bed.link(consumer, one)
    peers = dialling.peers(consumer)
    assert producer.reload(dialling.dials_config(peers, [other.address]))["ok"]
    dialling.bed.link(consumer, other)
    client.send(b"x")
    assert server.receive(1) == b"x"
    assert producer.reload(dialling.dials_config([], []))["ok"]
    dialling.waiting(consumer, 0)
    assert producer.reload(dialling.dials_config(peers, [one.address]))["ok"]
    dialling.full(consumer, 2)


def test_closed_until_the_update(dialling: Any) -> None:
    target = dialling.bed.target()
    consumer = dialling.waits(dial={"open": False})
    assert consumer.turned_away()
    dialling.dials(dialling.peers(consumer), [target.address])
    dialling.bed.wait_until(lambda: consumer.status()["connections"]["refused"] > 2, "refused connections")
    assert consumer.reload(dialling.waits_config())["ok"]
    dialling.full(consumer, 2)


def test_only_allowed_peers(dialling: Any) -> None:
    consumer = dialling.waits(dial={"allow": ["127.0.0.9"]})
    producer = dialling.dials(dialling.peers(consumer), [dialling.bed.target().address], dial={"source": "127.0.0.8"})
    dialling.bed.wait_until(lambda: consumer.status()["connections"]["refused"], "a refused peer")
    assert "refused 127.0.0.8:" in consumer.log()
    producer.close()
    dialling.dials(
        dialling.peers(consumer), [dialling.bed.target().address], name="other", dial={"source": "127.0.0.9"}
    )
    dialling.full(consumer, 2)


@pytest.mark.parametrize("what", [b"GET / HTTP/1.0\r\n\r\n", ALIVE * 60, ALIVE + OK], ids=["bytes", "flood", "answer"])
def test_peer_that_says_something_else(dialling: Any, what: bytes) -> None:
    consumer = dialling.waits()
    peer = dialling.dial(dialling.peers(consumer)[0])
    peer.send(what)
    assert peer.outcome() == "reset"
    consumer.counted("refused", 1)
    assert consumer.status()["connections"]["total"] == 0


def test_stranger_that_says_nothing(plainly: Any) -> None:
    consumer = plainly.waits(connect_timeout=0.3)
    assert plainly.dial(plainly.peers(consumer)[0]).outcome() == "reset"
    assert consumer.status()["connections"]["refused"] == 1


@pytest.mark.parametrize("answer", [b"x", ALIVE * 20, NO, b""], ids=["byte", "heartbeats", "no", "silence"])
def test_peer_that_does_not_answer_as_it_should(dialling: Any, answer: bytes) -> None:
    consumer = dialling.waits(connect_timeout=0.5, dial={"heartbeat": 60})
    peer = dialling.dial(dialling.peers(consumer)[0])
    peer.send(ALIVE)
    dialling.waiting(consumer, 1)
    client = consumer.connect()
    assert peer.receive(1) == GO
    if answer:
        peer.send(answer)
    assert client.outcome() == "reset"
    consumer.counted("failed", 1)
    consumer.counted("open", 0)


def test_dead_connection_is_replaced(dialling: Any) -> None:
    """One that breaks before its answer has cost the application nothing."""
    consumer = dialling.waits(dial={"heartbeat": 60})
    one, other = (dialling.dial(dialling.peers(consumer)[0]) for _unused in range(2))
    for number, peer in enumerate((one, other), 1):
        peer.send(ALIVE)
        dialling.waiting(consumer, number)
    client = consumer.connect()
    assert one.receive(1) == GO
    one.reset()
    assert other.receive(1) == GO
    other.send(ALIVE + OK + b"hello")
    assert client.receive(5) == b"hello"


@pytest.mark.parametrize("what", [b"x", GO + b"x"], ids=["byte", "more"])
def test_waiting_gateway_that_says_something_else(dialling: Any, what: bytes) -> None:
    target, listener = dialling.bed.target(), dialling.bed.target()
    producer = dialling.dials([listener.address], [target.address], dial={"pool": 1})
    peer = dialling.accept(listener)
    assert peer.receive(1) == ALIVE
    peer.send(what)
    assert peer.outcome() == "reset"
    dialling.bed.wait_until(lambda: "unexpected bytes" in producer.log(), "a line in the log")
    # It is dialled again.
    assert dialling.accept(listener).receive(1) == ALIVE
    assert producer.status()["connections"]["total"] == 0


@pytest.mark.parametrize("dialling", ["encrypted"], indirect=True)
def test_truncation_is_seen(dialling: Any) -> None:
    """Of an encrypted stream, the end of the connection alone is not the end."""
    target, listener = dialling.bed.target(), dialling.bed.target()
    dialling.dials([listener.address], [target.address], dial={"pool": 1})
    peer = dialling.accept(listener)
    assert peer.receive(1) == ALIVE
    peer.send(GO)
    server = target.accept()
    assert peer.receive(1) == OK
    peer.send(b"part")
    assert server.receive(4) == b"part"
    peer.sock.raw.shutdown(1)
    assert server.outcome() == "reset"


def test_settings_that_are_refused(plainly: Any) -> None:
    config = plainly.waits_config(kernel_tls=True)
    forwarder = plainly.bed.raw(config)
    assert forwarder.exit() == 2
    assert 's2ds.json: kernel_tls: true must be false or "auto" with dial' in forwarder.log()


@pytest.mark.parametrize("dialling", ["encrypted"], indirect=True)
def test_new_credentials_replace_connections_that_wait(sealed: Any, dialling: Any) -> None:
    target = dialling.bed.target()
    consumer, producer = dialling.gateways([target.address])
    renewed = sealed.identity("renewed")
    peers = dialling.peers(consumer)
    # Until the producer's gateway has its new certificate, it is refused.
    other = {"tls": sealed.tls("connect", peer=renewed)}
    assert consumer.reload({**dialling.waits_config(), **other})["ok"]
    dialling.waiting(consumer, 0)
    changed = {**dialling.dials_config(peers, [target.address]), "tls": sealed.tls("accept", own=renewed)}
    assert producer.reload(changed)["ok"]
    dialling.full(consumer, 2)
    client, server = dialling.bed.link(consumer, target)
    client.send(b"x")
    assert server.receive(1) == b"x"
