# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The event source against real gateways: streams that stall, die and expire."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from ansible_collections.scistream.gateway.extensions.eda.plugins.event_source.stream_events import main
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import kill, processes
from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import Site
from ansible_collections.scistream.gateway.tests.integration.s2uc.test_rulebook import INFO, MODULES, config

SECONDS = 90.0


class Source:
    """The event source in a thread of its own, as ansible-rulebook runs it.

    Attributes:
        events: What it has put into its queue so far.
    """

    def __init__(self, **options: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(main(self, options))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)

    async def put(self, item: Any) -> None:
        """Take an event."""
        self.events.append(item)

    def wait(self, kind: str, **values: Any) -> dict[str, Any]:
        """Wait for an event that was not waited for before, and return it."""
        end = time.monotonic() + SECONDS
        while True:
            assert self._thread.is_alive(), "the event source has ended"
            for event in list(self.events):
                if event["type"] == kind and values.items() <= event.items():
                    self.events.remove(event)
                    return event
            assert time.monotonic() < end, f"no {kind} {values}, only {self.events}"
            time.sleep(0.1)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(30)
        self._loop.close()


@contextlib.contextmanager
def watching(**options: Any) -> Iterator[Source]:
    source = Source(interval=1, timeout=20, **options)
    try:
        yield source
    finally:
        source.close()


def command(site: Site, gateway: str) -> dict[str, Any]:
    return {"command": ["env", MODULES, sys.executable, "-c", INFO, config(site, gateway)]}


def accepted(server: socket.socket, first: bytes) -> socket.socket:
    """Return the connection that begins with these bytes. Gateways connect without a byte to see whether it listens."""
    while True:
        connection, _peer = server.accept()
        if connection.recv(100) == first:
            return connection
        connection.close()


def test_streams_that_stall_die_and_expire(site: Site, producer: int) -> None:
    echo = socket.create_server((f"{site.network}.1", 0))
    stream = site.stream("tomography", echo.getsockname()[1])
    with echo, watching(gateways=[command(site, "gw-a")], stall=3, expiring=3500) as source:
        opened = site.ok("stream_open", streams=[stream])
        source.wait("opened", stream="tomography", role="producer", gateway="gw-a")

        with socket.create_connection(site.listener(opened), 10) as client:
            client.sendall(b"begin")
            with accepted(echo, b"begin") as application:
                # It stalls, goes on, and stalls again.
                for _time in range(2):
                    client.sendall(b"photons")
                    assert application.recv(100) == b"photons"
                    stalled = source.wait("stalled")
                    assert stalled["stream"] == "tomography" and stalled["seconds"] >= 3
                    client.sendall(b"photons")
                    source.wait("recovered", after="stalled")
        # Nothing can stall without connections.
        source.events.clear()

        found = processes(str(site.session("gw-a", "producer")))
        for pid in sorted(found):
            kill(pid)
        assert found
        assert source.wait("down")["reason"]
        site.ok("stream_open", streams=[stream])
        source.wait("recovered", after="down")

        # Lifetimes begin with the session.
        site.ok("stream_release", streams=[stream])
        source.wait("released")
        site.ok("stream_open", streams=[{**stream, "lifetime": 40}])
        assert 0 < source.wait("expiring")["seconds"] <= 40
        source.wait("expired", stream="tomography")
        site.ok("stream_release", streams=[stream])
        assert not [event for event in source.events if event["type"] in ("stalled", "unreachable")], source.events
