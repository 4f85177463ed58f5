# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bytes through two gateways of which the producer's dials."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest


def test_bytes_in_both_directions(dialling: Any) -> None:
    _consumer, _producer, client, server = dialling.pair()
    size = dialling.bed.large
    sent_up, sent_down, got_up, got_down = dialling.bed.together(
        lambda: client.send_stream(size, 1),
        lambda: server.send_stream(size, 2),
        server.receive_stream,
        client.receive_stream,
    )
    assert got_up == (size, sent_up)
    assert got_down == (size, sent_down)


def test_target_that_speaks_first(dialling: Any) -> None:
    """What follows the answer of the other gateway at once is the application's."""
    target = dialling.bed.target()
    consumer, _producer = dialling.gateways([target.address])
    for _unused in range(20):
        client, server = dialling.bed.link(consumer, target)
        server.send(b"\x03\x01\x04 welcome")
        assert client.receive(11) == b"\x03\x01\x04 welcome"
        server.end()
        assert client.rest() == b""
        client.close()
        server.close()


@pytest.mark.parametrize("first", ["client", "server"])
def test_half_close(dialling: Any, first: str) -> None:
    consumer, producer, client, server = dialling.pair()
    one, other = (client, server) if first == "client" else (server, client)
    one.send(b"request")
    one.end()
    assert other.rest() == b"request"
    other.send(b"reply")
    other.end()
    assert one.rest() == b"reply"
    for gateway in (consumer, producer):
        gateway.counted("open", 0)
        assert gateway.status()["connections"] == {"open": 0, "total": 1, "refused": 0, "failed": 0}


@pytest.mark.parametrize("first", ["client", "server"])
def test_reset(dialling: Any, first: str) -> None:
    _consumer, _producer, client, server = dialling.pair()
    one, other = (client, server) if first == "client" else (server, client)
    one.send(b"part")
    assert other.receive(4) == b"part"
    one.reset()
    assert other.outcome() == "reset"


@pytest.mark.parametrize("dies", ["waits", "dials"])
def test_death_of_a_gateway_is_a_reset(dialling: Any, dies: str) -> None:
    """Neither application takes what it has for the whole."""
    consumer, producer, client, server = dialling.pair()
    client.send(b"up")
    server.send(b"down")
    assert (server.receive(2), client.receive(4)) == (b"up", b"down")
    gateway = consumer if dies == "waits" else producer
    for pid in [gateway.process.pid, *gateway.workers()]:
        os.kill(pid, 9)
    assert client.outcome() == "reset"
    assert server.outcome() == "reset"


def test_death_of_a_worker_redials(dialling: Any) -> None:
    target = dialling.bed.target()
    consumer, producer = dialling.gateways([target.address])
    for gateway in (producer, consumer):
        for pid in gateway.workers():
            os.kill(pid, 9)
        dialling.bed.wait_until(lambda gateway=gateway: "died with status" in gateway.log(), "a dead worker")
        dialling.full(consumer, 2)
        dialling.full(producer, 2)
        client, server = dialling.bed.link(consumer, target)
        client.send(b"x")
        assert server.receive(1) == b"x"


def test_rate_and_counters(dialling: Any) -> None:
    consumer, producer, client, server = dialling.pair(rate=80_000_000)
    client.send(b"u" * 1000)
    server.send(b"d" * 2000)
    assert (len(server.receive(1000)), len(client.receive(2000))) == (1000, 2000)
    for gateway in (consumer, producer):
        # They are counted after they have been passed on.
        counted = {"to_producer": 1000, "to_consumer": 2000}
        dialling.bed.wait_until(lambda gateway=gateway, counted=counted: gateway.status()["bytes"] == counted, "bytes")
        status = gateway.status()
        assert status["connections"] == {"open": 1, "total": 1, "refused": 0, "failed": 0}


def test_back_pressure(dialling: Any) -> None:
    """A reader that stalls stops the writer, and loses nothing."""
    _consumer, _producer, client, server = dialling.pair()
    client.sock.settimeout(1)
    sent = 0
    with pytest.raises(socket.timeout):
        while True:
            sent += client.sock.send(b"x" * 65536)
            assert sent < 1 << 28
    client.sock.settimeout(20)
    client.end()
    assert len(server.rest()) == sent
