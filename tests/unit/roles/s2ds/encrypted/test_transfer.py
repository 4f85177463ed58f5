# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bytes over an encrypted leg: all of them, both ways, and ends and resets as what they are."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

MIB = 1 << 20
WHERE = pytest.mark.parametrize("where", ["both", "accept", "connect"])
ENDS = pytest.mark.parametrize("who", ["client", "target"])


def ends(client: Any, server: Any, who: str) -> tuple[Any, Any]:
    return (client, server) if who == "client" else (server, client)


@WHERE
def test_every_byte_both_ways_at_once(sealed: Any, where: str) -> None:
    gateways, client, server = sealed.pair(where)
    size = sealed.bed.large
    sent_up, sent_down, got_up, got_down = sealed.bed.together(
        lambda: client.send_stream(size, 1),
        lambda: server.send_stream(size, 2),
        server.receive_stream,
        client.receive_stream,
    )
    assert got_up == (size, sent_up)
    assert got_down == (size, sent_down)
    for gateway in gateways:
        gateway.counted("open", 0)
        status = gateway.status()
        assert status["bytes"] == {"to_consumer": size, "to_producer": size}
        assert status["connections"] == {"open": 0, "total": 1, "refused": 0, "failed": 0}
        assert "reason='end of stream'" in gateway.log()


@WHERE
@ENDS
def test_one_end_is_done_and_still_gets_the_answer(sealed: Any, where: str, who: str) -> None:
    _gateways, client, server = sealed.pair(where)
    near, far = ends(client, server, who)
    near.send(b"question")
    near.end()
    assert far.rest() == b"question"
    time.sleep(0.2)
    answer = os.urandom(3 * MIB)
    got = sealed.bed.together(lambda: (far.send(answer), far.end()), near.rest)[1]
    assert hashlib.sha256(got).digest() == hashlib.sha256(answer).digest()


@WHERE
@ENDS
def test_reset_stays_a_reset(sealed: Any, where: str, who: str) -> None:
    gateways, client, server = sealed.pair(where)
    near, far = ends(client, server, who)
    near.send(b"some")
    assert far.receive(4) == b"some"
    near.reset()
    assert far.outcome() == "reset"
    for gateway in gateways:
        gateway.counted("open", 0)


@WHERE
@ENDS
def test_reset_amid_bytes_stays_a_reset(sealed: Any, where: str, who: str) -> None:
    gateways, client, server = sealed.pair(where)
    near, far = ends(client, server, who)
    for peer in (near, far):
        peer.sock.settimeout(0.3)
        with pytest.raises(socket.timeout):
            peer.send(bytes(64 * MIB))
        peer.sock.settimeout(20)
    near.reset()
    assert raw(far).outcome() == "reset"
    for gateway in gateways:
        gateway.counted("open", 0)


@pytest.mark.parametrize(("where", "who"), [("accept", "client"), ("connect", "target")])
@pytest.mark.parametrize("size", [0, 5, 3 * MIB])
def test_a_stream_that_is_cut_short_never_looks_whole(sealed: Any, where: str, who: str, size: int) -> None:
    """An end of the TCP connection, without close_notify: anybody on the way can make that."""
    gateways, client, server = sealed.pair(where)
    near, far = ends(client, server, who)
    near.send(bytes(size))
    assert far.receive(size) == bytes(size)
    near.sock.raw.shutdown(socket.SHUT_WR)
    assert far.outcome() == "reset"
    gateways[0].counted("open", 0)
    assert "end of stream without close_notify" in gateways[0].log()


@pytest.mark.parametrize(("where", "who"), [("accept", "client"), ("connect", "target")])
def test_bytes_that_were_changed_on_the_way_break_the_connection(sealed: Any, where: str, who: str) -> None:
    gateways, client, server = sealed.pair(where)
    near, far = ends(client, server, who)
    near.send(b"good")
    assert far.receive(4) == b"good"
    near.sock.raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert far.outcome() == "reset"
    gateways[0].counted("open", 0)
    assert "bad record mac" in gateways[0].log()


@WHERE
@ENDS
def test_reset_after_the_end_of_stream_loses_nothing(sealed: Any, where: str, who: str) -> None:
    """One ends its stream and goes, and the other one still sends: it gets the whole stream, and then an error."""
    gateways, client, server = sealed.pair(where)
    near, far = ends(client, server, who)
    data = os.urandom(3 * MIB)
    got = sealed.bed.together(lambda: (near.send(data), near.end()), far.rest)[1]
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
    near.close()

    def fails() -> bool:
        try:
            far.send(b"not wanted")
        except (ConnectionResetError, BrokenPipeError):
            return True
        time.sleep(0.02)
        return False

    sealed.bed.wait_until(fails, "an error for what nobody takes")
    for gateway in gateways:
        gateway.counted("open", 0)


@WHERE
@ENDS
def test_stalled_reader_pushes_back_and_loses_nothing(sealed: Any, where: str, who: str) -> None:
    gateways, client, server = sealed.pair(where)
    near, far = ends(client, server, who)
    key = "to_producer" if who == "client" else "to_consumer"
    size = 64 * MIB
    sent: list[str] = []

    def produce() -> None:
        sent.append(near.send_stream(size, 3))

    def counted() -> list[int]:
        return [gateway.status()["bytes"][key] for gateway in gateways]

    def consume() -> tuple[int, str]:
        before = [-1]
        while (now := counted()) != before:
            before = now
            time.sleep(0.5)
        assert max(before) < size
        workers = [pid for gateway in gateways for pid in gateway.workers()]
        memory, processor = usage(workers)
        time.sleep(1.5)
        assert counted() == before
        memory_after, processor_after = usage(workers)
        assert memory_after < memory + MIB
        assert processor_after - processor < 0.1
        assert not sent
        result: tuple[int, str] = far.receive_stream()
        return result

    got = sealed.bed.together(produce, consume)[1]
    assert got == (size, sent[0])


def usage(pids: list[int]) -> tuple[int, float]:
    """Bytes of memory, and seconds of processor time."""
    memory, ticks = 0, 0
    for pid in pids:
        memory += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return memory, ticks / os.sysconf("SC_CLK_TCK")


def test_a_stalled_connection_holds_little(sealed: Any) -> None:
    target = sealed.bed.target()
    inner = sealed.gateway("accept", target.address, workers=1)
    outer = sealed.gateway("connect", sealed.address(inner), workers=1)
    pairs = [sealed.bed.link(outer, target) for _unused in range(24)]
    for client, server in pairs:
        client.send(b"x")
        assert server.receive(1) == b"x"
    workers = inner.workers() + outer.workers()
    before = usage(workers)[0]
    for near in (end for pair in pairs for end in pair):
        near.sock.settimeout(0.05)
        with pytest.raises(socket.timeout):
            near.send(bytes(64 * MIB))
    time.sleep(1)
    # Each direction of each gateway: a chunk that is not sent, a piece in each of OpenSSL's buffers.
    assert usage(workers)[0] - before < len(pairs) * 2 * 2 * 0.3 * MIB


def test_a_connection_gets_its_turn_beside_a_busy_one(sealed: Any) -> None:
    target = sealed.bed.target()
    inner = sealed.gateway("accept", target.address, workers=1)
    outer = sealed.gateway("connect", sealed.address(inner), workers=1)
    (bulk, sink), (client, echo) = (sealed.bed.link(outer, target) for _unused in range(2))
    size, turns = 192 * MIB, [0]
    over: list[bool] = []

    def receive() -> None:
        assert sink.receive_stream()[0] == size
        over.append(True)

    def ask() -> None:
        while not over:
            client.send(b"x" * 64)
            assert echo.receive(64) == b"x" * 64
            echo.send(b"y" * 64)
            assert client.receive(64) == b"y" * 64
            turns[0] += 1

    sealed.bed.together(lambda: (bulk.send(bytes(size)), bulk.end()), receive, ask)
    # If it had to wait for the busy one, there would be one or two.
    assert turns[0] >= 5


def test_a_hundred_connections_at_once(sealed: Any) -> None:
    target = sealed.bed.target()
    inner = sealed.gateway("accept", target.address, workers=2)
    outer = sealed.gateway("connect", sealed.address(inner), workers=2)
    pairs = []
    for number in range(100):
        client, server = sealed.bed.link(outer, target)
        client.send(b"%06d" % number)
        assert server.receive(6) == b"%06d" % number
        pairs.append((client, server))
    for gateway in (inner, outer):
        assert [worker["open"] for worker in gateway.status()["workers"]] == [50, 50]
    piece = os.urandom(96 * 1024)
    answers = sealed.bed.together(
        lambda: [
            (client.send(piece + b"%06d" % number), client.end()) for number, (client, _unused) in enumerate(pairs)
        ],
        lambda: [server.rest() for _unused, server in pairs],
    )[1]
    assert answers == [piece + b"%06d" % number for number in range(100)]
    for _unused, server in pairs:
        server.send(piece)
        server.end()
    assert all(client.rest() == piece for client, _unused in pairs)
    for gateway in (inner, outer):
        gateway.counted("open", 0)
        for pid in gateway.workers():
            sealed.bed.wait_until(lambda pid=pid: len(os.listdir(f"/proc/{pid}/fd")) < 25, "descriptors closed")


@WHERE
@pytest.mark.parametrize("direction", ["to_producer", "to_consumer"])
def test_rate_counts_the_bytes_of_the_stream(sealed: Any, where: str, direction: str) -> None:
    rate, seconds = 4 * MIB, 2.0
    _gateways, client, server = sealed.pair(where, rate=rate * 8)
    near, far = (client, server) if direction == "to_producer" else (server, client)
    size = int(rate * seconds)
    begin = time.monotonic()
    got = sealed.bed.together(lambda: near.send_stream(size, 1), far.receive_stream)
    assert got[1] == (size, got[0])
    assert seconds * 0.9 < time.monotonic() - begin < seconds * 1.6


def raw(peer: Any) -> Any:
    """Below TLS, so that only how the TCP connection ends is seen."""
    peer.sock = getattr(peer.sock, "raw", peer.sock)
    return peer
