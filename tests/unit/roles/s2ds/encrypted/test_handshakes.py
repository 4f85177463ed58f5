# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients that do not show who they are take no place from those that do."""

from __future__ import annotations

import contextlib
import resource
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

# More than a forwarder with few connections waits for.
CROWD = 300
LIMIT = 256


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """The crowd needs some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def crowd() -> Iterator[list[Any]]:
    peers: list[Any] = []
    yield peers
    for peer in peers:
        peer.close()


def hello(sealed: Any) -> bytes:
    """The first message of a client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        sealed.context(False, None, None).wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()


def connects(sealed: Any, forwarder: Any, target: Any) -> None:
    client, server = sealed.bed.together(lambda: sealed.dial(forwarder), target.accept)
    with contextlib.closing(client), contextlib.closing(server):
        client.send(b"x")
        assert server.receive(1) == b"x"


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_crowd_that_shows_nothing_does_not_keep_the_peer_out(sealed: Any, crowd: list[Any], share: float) -> None:
    """It says nothing, half a first message, or a whole one. Its address is the peer's."""
    target = sealed.bed.target()
    forwarder = sealed.gateway("accept", target.address, connect_timeout=60, max_connections=4, workers=2)
    text = hello(sealed)
    for _unused in range(CROWD):
        crowd.append(forwarder.connect())
        crowd[-1].send(text[: int(len(text) * share)])
    for _unused in range(8):
        connects(sealed, forwarder, target)
    forwarder.counted("open", 0)
    status = forwarder.status()
    assert LIMIT - 8 <= status["handshakes"] <= LIMIT
    assert status["connections"]["refused"] >= CROWD - LIMIT
    assert "too many handshakes at the same time" in forwarder.log()


def test_crowd_displaces_itself(sealed: Any, crowd: list[Any]) -> None:
    """A peer that began earlier, and takes its time, finishes its handshake: it has another address."""
    target = sealed.bed.target()
    forwarder = sealed.gateway("accept", target.address, connect_timeout=60, max_connections=4, workers=1)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = sealed.context(False, sealed.consumer, sealed.producer).wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    text = outgoing.read()
    slow = forwarder.connect(source="127.0.0.4")
    crowd.append(slow)
    slow.send(text[:100])
    for _unused in range(CROWD):
        crowd.append(forwarder.connect(source="127.0.0.5"))
    forwarder.counted("refused", CROWD + 1 - LIMIT)
    slow.send(text[100:])
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            incoming.write(slow.sock.recv(65536))
        else:
            break
    slow.send(outgoing.read())
    with contextlib.closing(target.accept()):
        forwarder.counted("open", 1)


def test_at_most_max_connections_have_shown_who_they_are(sealed: Any, crowd: list[Any]) -> None:
    target = sealed.bed.target()
    forwarder = sealed.gateway("accept", target.address, max_connections=2, workers=2)
    # All are accepted before any of them is known.
    crowd += [forwarder.connect() for _unused in range(24)]
    for client in crowd[:2]:
        sealed.shake(client)
        crowd.append(target.accept())
    for client in crowd[2:4]:
        # In TLS 1.3, a client has done its part before the server has judged it.
        with contextlib.suppress(ConnectionError):
            sealed.shake(client)
        assert client.outcome() == "reset"
    sealed.bed.wait_until(lambda: forwarder.status()["handshakes"] == 20, "the end of those that were refused")
    assert forwarder.status()["connections"] == {"open": 2, "total": 22, "refused": 2, "failed": 0}
    assert "more than 2 connections" in forwarder.log()
    # From now on, at once.
    assert forwarder.turned_away()
