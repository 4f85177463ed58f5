# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pump by itself, for what happens between two processes only now and then."""

from __future__ import annotations

import contextlib
import importlib
import socket
import ssl
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parents[5] / "roles" / "s2ds" / "files" / "s2ds"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Its modules, which are taken away after the test: their names are short."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    sys.path.insert(0, str(PROGRAM))
    try:
        names = ("counters", "credentials", "pump", "timers", "tls_channel", "tls_context", "tls_pump", "token_bucket")
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(PROGRAM))
        for name in set(sys.modules) - before:
            if str(PROGRAM) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]


class Hop:
    """A pump with an encrypted leg on the client's side, and both its ends."""

    def __init__(self, program: SimpleNamespace, sealed: Any) -> None:
        texts = (sealed.producer.certificate, sealed.producer.key, sealed.consumer.certificate)
        credentials = program.credentials.Credentials("accept", *(path.read_text() for path in texts))
        tls = program.tls_context.TlsContext(credentials)
        self.outside, wire = connected()
        self.inside, open_end = connected()
        legs = [
            program.pump.Leg(name, sock, lambda _fd, _mask: None)
            for name, sock in (("client", wire), ("target", open_end))
        ]
        self.legs = legs
        self.channel = program.tls_channel.Channel(tls, legs[0])
        counters = program.counters.Counters(1).block(0)
        resources = program.pump.WorkerResources(None, None, counters, None)
        limits = tuple(program.token_bucket.TokenBucket(program.timers.Timers()) for _unused in range(2))
        self.pump = program.tls_pump.TlsPump(self.channel, *legs, tls.input, resources, limits, lambda: None)

    def shake(self, seconds: float = 5) -> None:
        end = time.monotonic() + seconds
        while not self.channel.shake():
            assert time.monotonic() < end
            self.legs[0].readable = True

    def turn(self) -> int:
        for leg in self.legs:
            leg.readable = leg.writable = True
        state: int = self.pump.turn()
        return state


def connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other = listener.accept()[0]
    other.setblocking(False)
    one.settimeout(5)
    return one, other


def greeted(hop: Hop, sealed: Any) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """A client that is ready, and whose last message of the handshake is still in its buffer."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = sealed.context(False, sealed.consumer, sealed.producer).wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hop.outside.sendall(outgoing.read())
    with pytest.raises(AssertionError):
        hop.shake(0.2)
    incoming.write(hop.outside.recv(65536))
    client.do_handshake()
    return client, incoming, outgoing


def test_bytes_that_come_with_the_handshake_survive_an_end_that_comes_at_once(
    program: SimpleNamespace, sealed: Any
) -> None:
    """The target ends its stream before the first turn, while the client's first bytes wait already: OpenSSL would take
    them for an error, if close_notify were written before they are read."""
    hop = Hop(program, sealed)
    client, incoming, outgoing = greeted(hop, sealed)
    client.write(b"early")
    hop.outside.sendall(outgoing.read())
    hop.inside.shutdown(socket.SHUT_WR)
    hop.shake()
    hop.turn()
    assert hop.inside.recv(100) == b"early"
    incoming.write(hop.outside.recv(65536))
    with contextlib.suppress(ssl.SSLZeroReturnError):
        assert client.read(1) == b""
    assert hop.outside.recv(1) == b""
    client.write(b"late")
    hop.outside.sendall(outgoing.read())
    hop.turn()
    assert hop.inside.recv(100) == b"late"


def test_reset_after_close_notify_loses_nothing(program: SimpleNamespace, sealed: Any) -> None:
    """The client said that its stream is whole, and then reset the connection: the target, which was
    slow, gets all of it nevertheless."""
    hop = Hop(program, sealed)
    client, _incoming, outgoing = greeted(hop, sealed)
    data = bytes(range(256)) * 80
    client.write(data)
    with pytest.raises(ssl.SSLWantReadError):
        client.unwrap()
    hop.outside.sendall(outgoing.read())
    hop.shake()
    hop.inside.sendall(b"nobody reads this")
    hop.outside.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    hop.outside.close()
    time.sleep(0.1)
    hop.legs[1].sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    got = bytearray()
    state = -1
    while not hop.pump.delivered(hop.legs[0]):
        state = hop.turn()
        got += hop.inside.recv(4096)
    assert state == program.pump.LOST
    assert hop.pump.lost is hop.legs[0]
    while more := hop.inside.recv(4096):
        got += more
    assert got == data
