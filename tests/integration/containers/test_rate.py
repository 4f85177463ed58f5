# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rates: how many bytes each proxy lets through in each direction while applications send as much as they can.

The HAProxy of an older distribution cannot limit rates, so a newer one runs from an image.
"""

from __future__ import annotations

import select
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Any, cast

import pytest

from ansible_collections.scistream.gateway.tests.integration.containers.harness import offer, open_stream
from ansible_collections.scistream.gateway.tests.integration.proxies.harness import Stream
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import PATIENCE, connect
from ansible_collections.scistream.gateway.tests.testbed.__main__ import CACHE
from ansible_collections.scistream.gateway.tests.testbed.images import GATEWAYS, ensure

CONNECTIONS = 2
# In bits per second: so low that it does not matter what else this machine does.
RATE, NEW_RATE = 4_000_000, 6_000_000
WARMUP, SECONDS = 2.0, 9.0
DATA = bytes(1 << 16)
KINDS = {"s2ds": "process", "nginx": "process", "nginx-tls": "process", "haproxy": "docker", "haproxy-tls": "docker"}


class Flood:
    """Connections through a stream that send as much as they can in both directions, while ``pump`` runs.

    Attributes:
        received: Bytes that arrived at the producer and at the consumer.
        ends: The sockets, each with the index of its side.
    """

    def __init__(self, stream: Stream, server: socket.socket) -> None:
        self.received = [0, 0]
        self.ends: list[tuple[socket.socket, int]] = []
        for listener in stream.front["listeners"]:
            near, far = _open(listener, server)
            self.ends += [(far, 0), (near, 1)]
        for one, _side in self.ends:
            one.setblocking(False)

    def close(self) -> None:
        """End all connections."""
        for one, _side in self.ends:
            one.close()


def _open(listener: str, server: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Connect through a stream. nginx closes what exceeds its limit, and may not have noticed the end of others yet."""
    for _unused in range(100):
        near = connect(listener)
        ready, _writable, _failed = select.select([server, near], [], [], PATIENCE)
        if server in ready:
            return near, server.accept()[0]
        near.close()
        time.sleep(0.1)
    raise AssertionError(f"{listener} closes all connections")


def pump(floods: Iterable[Flood], seconds: float) -> None:
    """Send and receive for a while."""
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for flood in floods:
            for one, side in flood.ends:
                selector.register(one, selectors.EVENT_READ | selectors.EVENT_WRITE, (flood, side))
        while time.monotonic() < end:
            for key, events in selector.select(0.1):
                one, (flood, side) = cast("socket.socket", key.fileobj), key.data
                if events & selectors.EVENT_READ:
                    data = one.recv(1 << 16)
                    assert data, "a connection was closed"
                    flood.received[side] += len(data)
                if events & selectors.EVENT_WRITE:
                    with suppress(BlockingIOError):
                        one.send(DATA)


def rates(floods: dict[str, Flood]) -> dict[tuple[str, str], float]:
    """Return what arrives through each stream in each direction, in bits per second."""
    pump(floods.values(), WARMUP)
    before, began = {kind: list(flood.received) for kind, flood in floods.items()}, time.monotonic()
    pump(floods.values(), SECONDS)
    seconds = time.monotonic() - began
    return {
        (kind, direction): (flood.received[side] - before[kind][side]) * 8 / seconds
        for kind, flood in floods.items()
        for side, direction in enumerate(("to producer", "to consumer"))
    }


def limit(stream: Stream, rate: int | None) -> None:
    """Change the rate of both sides."""
    for role in stream.roles:
        options: dict[str, Any] = {"proxy": stream.proxy, "encryption": "tls" if stream.encrypts else "none"}
        changed = stream.s2cs.request(stream.uid, role, num_conn=CONNECTIONS, rate=rate, **options)["session"]
        assert changed["rate"] == rate and stream.s2cs.info(stream.uid, role)["health"] == "ok"


@pytest.fixture
def newer(make_gateway: Callable[..., S2CS], images: dict[str, str]) -> S2CS:
    """An S2CS whose HAProxy in containers is a newer one."""
    offered = offer(images)
    offered["haproxy"]["settings"]["image"] = ensure(GATEWAYS["trixie"], CACHE)
    return make_gateway(proxies=offered)


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Where the producers listen."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        listening.settimeout(PATIENCE)
        yield listening


def test_rates_are_kept_and_changed_without_interruption(newer: S2CS, server: socket.socket) -> None:
    target = f"127.0.0.1:{server.getsockname()[1]}"
    with ExitStack() as stack:
        streams = {
            kind: open_stream(newer, kind, runtime, target, num_conn=CONNECTIONS, rate=RATE)
            for kind, runtime in KINDS.items()
        }
        floods = {kind: Flood(stream, server) for kind, stream in streams.items()}

        @stack.callback
        def close() -> None:
            for flood in floods.values():
                flood.close()

        found = rates(floods)
        assert found == pytest.approx(dict.fromkeys(found, RATE), rel=0.05)
        # No more connections than the rate of nginx is divided by.
        with connect(streams["nginx"].listener) as another:
            assert another.recv(1) == b""
        for stream in streams.values():
            limit(stream, NEW_RATE)
        # Established connections continue, with s2ds at the new rate, with the others at the one they began with.
        found = rates(floods)
        kept = {key: NEW_RATE if key[0] == "s2ds" else RATE for key in found}
        assert found == pytest.approx(kept, rel=0.05)
        for kind in floods:
            floods[kind].close()
            floods[kind] = Flood(streams[kind], server)
        found = rates(floods)
        assert found == pytest.approx(dict.fromkeys(found, NEW_RATE), rel=0.05)


def test_an_image_with_an_older_haproxy_is_refused(gateway: S2CS) -> None:
    uid, options = own_uid(), {"proxy": "haproxy", "runtime": "docker"}
    gateway.request(uid, rate=RATE, **options)
    gateway.hello(uid, "127.0.0.1:9")
    words = ("rate: the proxy haproxy cannot limit the rate of a session before version 2.7", "settings.image")
    gateway.refused("update", *words, uid=uid, role="producer", remote_listeners=["127.0.0.1:9"])
    # Without a rate, the same session is updated.
    assert gateway.request(uid, rate="", **options)["session"]["rate"] is None
    gateway.done("update", uid=uid, role="producer", remote_listeners=["127.0.0.1:9"])
