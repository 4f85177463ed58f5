# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pump of an unencrypted connection by itself: which events make it look for more."""

from __future__ import annotations

import importlib
import os
import select
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

PROGRAM = Path(__file__).resolve().parents[4] / "roles" / "s2ds" / "files" / "s2ds"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Its modules, which are taken away after the test: their names are short."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    sys.path.insert(0, str(PROGRAM))
    try:
        names = ("counters", "pipe_pool", "plain_pump", "pump", "splice", "timers", "token_bucket")
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(PROGRAM))
        for name in set(sys.modules) - before:
            if str(PROGRAM) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]


class Hop:
    """A pump with real sockets, events and pipes, and both ends of its connections."""

    def __init__(self, program: SimpleNamespace, pipe_size: int) -> None:
        self.calls = 0
        splice = program.splice.find()

        def counting(source: int, destination: int, count: int) -> int:
            self.calls += 1
            moved: int = splice(source, destination, count)
            return moved

        self.client, accepted = connected()
        self.server, opened = connected()
        self._epoll = select.epoll()
        self._legs = {}
        for name, sock in (("client", accepted), ("target", opened)):
            self._legs[sock.fileno()] = program.pump.Leg(name, sock, self._epoll.modify)
            self._epoll.register(sock.fileno(), program.pump.READABLE | select.EPOLLOUT)
        pool = program.pipe_pool.PipePool(pipe_size)
        resources = program.pump.WorkerResources(counting, pool, program.counters.Counters(1).block(0), None)
        limits = tuple(program.token_bucket.TokenBucket(program.timers.Timers()) for _unused in range(2))
        self._pump = program.plain_pump.PlainPump(*self._legs.values(), resources, limits, lambda: None)
        self._program = program.pump
        self.run()

    def pass_on(self, end: socket.socket, size: int | None = None) -> bytes:
        """Return what arrives at an end: so many bytes, or all until the end of the stream."""
        end.setblocking(False)
        found = b""
        while size is None or len(found) < size:
            try:
                data = end.recv(1000)
            except BlockingIOError:
                self.run()
                continue
            if not data:
                break
            found += data
        return found

    def run(self, seconds: float = 10) -> int:
        """Wait for events, then turn until there is nothing more to do. Returns the last state."""
        events = self._epoll.poll(seconds)
        assert events, "nothing happens any more"
        for fd, mask in events:
            self._legs[fd].event(mask)
        while (state := self._pump.turn()) == self._program.AGAIN:
            pass
        return int(state)

    def close(self) -> None:
        self._pump.close()
        self._epoll.close()
        for sock in (self.client, self.server, *(leg.sock for leg in self._legs.values())):
            sock.close()


def connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other = listener.accept()[0]
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    other.setblocking(False)
    one.settimeout(5)
    return one, other


@pytest.fixture(params=[1 << 20, 1 << 16])
def hop(request: pytest.FixtureRequest, program: SimpleNamespace) -> Iterator[Hop]:
    hop = Hop(program, request.param)
    yield hop
    hop.close()


def test_a_small_message_needs_two_calls(hop: Hop) -> None:
    for _unused in range(3):
        hop.calls = 0
        hop.client.send(b"question")
        assert hop.pass_on(hop.server, 8) == b"question"
        assert hop.calls == 2


@pytest.mark.parametrize("together", [True, False])
def test_the_end_behind_a_small_message(hop: Hop, together: bool) -> None:
    hop.client.send(b"question")
    got = b"" if together else hop.pass_on(hop.server, 8)
    hop.client.shutdown(socket.SHUT_WR)
    assert got + hop.pass_on(hop.server) == b"question"
    hop.server.send(b"answer")
    hop.server.shutdown(socket.SHUT_WR)
    assert hop.pass_on(hop.client) == b"answer"


def test_more_pieces_than_a_pipe_has_room_for(hop: Hop) -> None:
    """Each is from another page, so that the kernel does not merge them."""
    number, size, page = 600, 100, 4096
    content = os.urandom(number * page)
    descriptor = os.memfd_create("pieces")
    try:
        os.write(descriptor, content)
        for begin in range(0, len(content), page):
            assert os.sendfile(hop.client.fileno(), descriptor, begin, size) == size
    finally:
        os.close(descriptor)
    sent = b"".join(content[begin : begin + size] for begin in range(0, len(content), page))
    assert hop.pass_on(hop.server, len(sent)) == sent
