# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bytes: all of them, both ways, as the ends send them, and ends and resets as what they are."""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import sys
import termios
import threading
import time
from pathlib import Path
from typing import Any

import pytest

MIB = 1 << 20
WAYS = pytest.mark.parametrize("options", [(), ("--copy",)], ids=["splice", "copy"])


def both_ways(bed: Any, client: Any, server: Any, size: int) -> None:
    sent_up, sent_down, got_up, got_down = bed.together(
        lambda: client.send_stream(size, 1),
        lambda: server.send_stream(size, 2),
        server.receive_stream,
        client.receive_stream,
    )
    assert got_up == (size, sent_up)
    assert got_down == (size, sent_down)


@WAYS
def test_every_byte_both_ways_at_once(bed: Any, options: tuple[str, ...]) -> None:
    forwarder, client, server = bed.pair(*options)
    both_ways(bed, client, server, bed.large)
    forwarder.counted("open", 0)
    status = forwarder.status()
    assert status["bytes"] == {"to_consumer": bed.large, "to_producer": bed.large}
    assert status["connections"] == {"open": 0, "total": 1, "refused": 0, "failed": 0}
    assert "reason='end of stream'" in forwarder.log()


def test_ipv6(bed: Any) -> None:
    target = bed.target("::1")
    forwarder = bed.forwarder(address="::1", targets=[target.address], allow=["::1/128"], source="::1")
    assert forwarder.status()["listeners"][0].startswith("[::1]:")
    assert forwarder.status()["targets"] == [f"[::1]:{target.address[1]}"]
    client, server = bed.link(forwarder, target)
    both_ways(bed, client, server, 4 * MIB)


def test_two_hops_from_ipv4_to_ipv6(bed: Any, tmp_path: Path) -> None:
    target = bed.target("::1")
    inner = bed.forwarder(targets=[target.address])
    host, port = inner.status()["listeners"][0].split(":")
    bed.directory = tmp_path / "outer"
    bed.directory.mkdir()
    outer = bed.forwarder(targets=[[host, int(port)]])
    client, server = bed.link(outer, target)
    both_ways(bed, client, server, 8 * MIB)


@WAYS
def test_client_ends_and_still_gets_the_answer(bed: Any, options: tuple[str, ...]) -> None:
    _forwarder, client, server = bed.pair(*options)
    client.send(b"question")
    client.end()
    assert server.rest() == b"question"
    time.sleep(0.2)
    answer = os.urandom(3 * MIB)
    bed.together(lambda: (server.send(answer), server.end()), lambda: check(client.rest(), answer))


@WAYS
def test_target_ends_and_still_gets_the_rest(bed: Any, options: tuple[str, ...]) -> None:
    _forwarder, client, server = bed.pair(*options)
    server.send(b"greeting")
    server.end()
    assert client.rest() == b"greeting"
    time.sleep(0.2)
    upload = os.urandom(3 * MIB)
    bed.together(lambda: (client.send(upload), client.end()), lambda: check(server.rest(), upload))


def check(got: bytes, wanted: bytes) -> None:
    assert hashlib.sha256(got).digest() == hashlib.sha256(wanted).digest()


@WAYS
@pytest.mark.parametrize("who", ["client", "target"])
def test_reset_stays_a_reset(bed: Any, options: tuple[str, ...], who: str) -> None:
    forwarder, client, server = bed.pair(*options)
    near, far = (client, server) if who == "client" else (server, client)
    near.send(b"some")
    assert far.receive(4) == b"some"
    near.reset()
    assert far.outcome() == "reset"
    forwarder.counted("open", 0)
    assert f"{who}: Connection reset by peer" in forwarder.log()


@WAYS
@pytest.mark.parametrize("who", ["client", "target"])
def test_reset_amid_bytes_stays_a_reset(bed: Any, options: tuple[str, ...], who: str) -> None:
    """The other end reads slowly, so that there are bytes everywhere on the way, and sends, too."""
    forwarder, client, server = bed.pair(*options)
    near, far = (client, server) if who == "client" else (server, client)
    for peer in (near, far):
        peer.sock.settimeout(0.3)
        with pytest.raises(socket.timeout):
            peer.send(bytes(64 * MIB))
        peer.sock.settimeout(20)
    near.reset()
    assert far.outcome() == "reset"
    forwarder.counted("open", 0)


@WAYS
def test_reset_after_the_end_of_stream_loses_nothing(bed: Any, options: tuple[str, ...]) -> None:
    """A producer that ends its stream and goes, although the other end still sends: as without a gateway, the other
    end gets the whole stream with its end, and its own sending fails."""
    forwarder, client, server = bed.pair(*options)
    data = os.urandom(MIB)
    bed.together(lambda: client.send(data), lambda: server.send(b"not wanted"))
    # What had not left the client yet would be dropped by its own kernel, with or without a gateway.
    bed.wait_until(lambda: not unacknowledged(client.sock), "the arrival of all bytes at the gateway")
    # Unread bytes in the client's socket would turn its close into a reset without an end of stream.
    assert client.receive(10) == b"not wanted"
    client.close()
    time.sleep(0.2)
    server.send(b"late")
    time.sleep(0.5)
    check(server.rest(), data)

    def fails() -> bool:
        try:
            server.send(b"later")
        except (ConnectionResetError, BrokenPipeError):
            return True
        return False

    bed.wait_until(fails, "an error for what nobody takes")
    forwarder.counted("open", 0)
    assert "reset after its end of stream" in forwarder.log()


def unacknowledged(sock: socket.socket) -> int:
    return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


@WAYS
def test_stalled_reader_pushes_back_and_loses_nothing(bed: Any, options: tuple[str, ...]) -> None:
    forwarder, client, server = bed.pair(*options)
    size = 64 * MIB
    sent: list[str] = []

    def produce() -> None:
        sent.append(server.send_stream(size, 3))

    def consume() -> tuple[int, str]:
        # Until nothing moves any more: buffers are full, the producer waits.
        before = -1
        while (now := forwarder.status()["bytes"]["to_consumer"]) != before:
            before = now
            time.sleep(0.5)
        assert before < size
        memory = sum(resident(pid) for pid in forwarder.workers())
        time.sleep(1.5)
        assert forwarder.status()["bytes"]["to_consumer"] == before
        assert sum(resident(pid) for pid in forwarder.workers()) < memory + MIB
        assert not sent
        result: tuple[int, str] = client.receive_stream()
        return result

    got = bed.together(produce, consume)[1]
    assert got == (size, sent[0])


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_two_hundred_connections_at_once(bed: Any) -> None:
    target = bed.target()
    forwarder = bed.forwarder(targets=[target.address], workers=2)
    pairs = []
    for number in range(200):
        client, server = bed.link(forwarder, target)
        client.send(b"%06d" % number)
        assert server.receive(6) == b"%06d" % number
        pairs.append((client, server))
    status = forwarder.status()
    assert status["connections"]["open"] == 200
    assert [worker["open"] for worker in status["workers"]] == [100, 100]
    piece = os.urandom(96 * 1024)
    answers = bed.together(
        lambda: [
            (client.send(piece + b"%06d" % number), client.end()) for number, (client, _unused) in enumerate(pairs)
        ],
        lambda: [server.rest() for _unused, server in pairs],
    )[1]
    assert answers == [piece + b"%06d" % number for number in range(200)]
    received: list[bytes] = []
    bed.together(
        lambda: [(server.send(piece), server.end()) for _unused, server in pairs],
        lambda: received.extend(client.rest() for client, _unused in pairs),
    )
    assert all(data == piece for data in received)
    forwarder.counted("open", 0)
    # Nothing is left of them.
    for pid in forwarder.workers():
        bed.wait_until(lambda pid=pid: len(os.listdir(f"/proc/{pid}/fd")) < 25, "descriptors closed")
    assert len(os.listdir(f"/proc/{forwarder.process.pid}/fd")) < 20


def test_urgent_data_stops_nothing(bed: Any) -> None:
    _forwarder, client, server = bed.pair()
    client.send(b"before ")
    time.sleep(0.1)
    client.sock.send(b"!", socket.MSG_OOB)
    client.send(b" after")
    client.end()
    assert server.rest() == b"before ! after"


@pytest.mark.parametrize("direction", ["to_producer", "to_consumer"])
def test_rate_is_for_the_whole_session(bed: Any, direction: str) -> None:
    rate = 4 * MIB  # bytes per second
    target = bed.target()
    forwarder = bed.forwarder(targets=[target.address], rate=rate * 8, workers=4)
    pairs = [bed.link(forwarder, target) for _unused in range(3)]
    ends = pairs if direction == "to_producer" else [(server, client) for client, server in pairs]
    counts = [0, 0, 0]
    begin = time.monotonic()

    def send(index: int) -> None:
        ends[index][0].sock.settimeout(0.5)
        while time.monotonic() < begin + 2:
            try:
                ends[index][0].sock.send(bytes(MIB))
            except socket.timeout:
                continue

    def receive(index: int) -> None:
        while time.monotonic() < begin + 2:
            counts[index] += len(ends[index][1].sock.recv(MIB))

    actions = [lambda index=index, action=action: action(index) for index in range(3) for action in (send, receive)]
    bed.together(*actions)
    seconds = time.monotonic() - begin
    assert len(forwarder.workers()) == 1
    assert sum(counts) <= rate * (seconds + 0.2)
    assert sum(counts) >= rate * seconds * 0.7
    assert min(counts) >= sum(counts) / 3 * 0.25
    # Each direction has a limit of its own.
    assert forwarder.status()["bytes"]["to_consumer" if direction == "to_producer" else "to_producer"] == 0


def test_a_rate_is_shared_fairly(bed: Any) -> None:
    """Short messages get their turn beside a flow that takes whatever it can get, over both gateways."""
    target = bed.target()
    rate = 96 * MIB * 8
    inner = bed.raw(bed.config(targets=[target.address], rate=rate), name="inner").started()
    address, _colon, port = inner.status()["listeners"][0].partition(":")
    forwarder = bed.forwarder(targets=[[address, int(port)]], rate=rate)
    (bulk, bulk_end), (client, echo) = (bed.link(forwarder, target) for _unused in range(2))
    size = 192 * MIB  # two seconds at this rate
    over = threading.Event()
    turns = [0]

    def send() -> None:
        bulk.send(bytes(size))
        bulk.end()

    def receive() -> None:
        assert len(bulk_end.rest()) == size
        over.set()

    def ask() -> None:
        while not over.is_set():
            client.send(b"x" * 64)
            assert echo.receive(64) == b"x" * 64
            echo.send(b"y" * 64)
            assert client.receive(64) == b"y" * 64
            turns[0] += 1

    bed.together(send, receive, ask)
    # Some hundreds, where each waits for one share of the other flow; a handful, where it may be overtaken.
    assert turns[0] >= 50
