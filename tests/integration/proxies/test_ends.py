# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the consumer's application sees a stream end that was cut: the proxies say of themselves whether it can tell."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES
from ansible_collections.scistream.gateway.tests.integration.proxies.harness import Stream, program
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import PATIENCE, eventually, kill, pair


class Source:
    """An application that sends without end to whoever connects."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _peer = self._socket.accept()
                self.connections.append(connection)
                threading.Thread(target=self._send, args=(connection,), daemon=True).start()

    @staticmethod
    def _send(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b"x" * 65536)

    def reset(self) -> None:
        """End the last connection as an application does that dies with data unread."""
        connection = self.connections.pop()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(connection.detach())


def _connect(listener: str) -> socket.socket:
    """Connect as one that reads slowly, so that much of the stream is on its way."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    connection.settimeout(PATIENCE)
    connection.connect(pair(listener))
    return connection


def _end_of(connection: socket.socket) -> str:
    with connection:
        try:
            while connection.recv(1 << 18):
                pass
        except ConnectionError:
            return "reset"
    return "end"


@pytest.mark.parametrize("kind", ["haproxy", "haproxy-tls", "nginx", "stunnel", "s2ds", "s2ds-tls"])
def test_what_a_cut_looks_like(gateway: S2CS, kind: str) -> None:
    told = "reset" if PROXIES[program(kind)].signals_truncation else "end"
    found: dict[str, str] = {}
    with Source() as source:
        stream = Stream(gateway, kind, source.endpoint)

        def reading() -> socket.socket:
            connection = _connect(stream.listener)
            assert connection.recv(1000)
            time.sleep(0.2)
            return connection

        connection = reading()
        source.reset()
        found["the producer's application is reset"] = _end_of(connection)
        connection = reading()
        kill(stream.main_process())
        found["the data server crashes"] = _end_of(connection)
        eventually("it is back", lambda: gateway.info(stream.uid)["running"])
        connection = reading()
        stream.release()
        found["the stream is released"] = _end_of(connection)
    # Bound and not listening: no other application can have the port meanwhile.
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        stream = Stream(gateway, kind, f"127.0.0.1:{nobody.getsockname()[1]}")
        try:
            found["the target does not answer"] = _end_of(_connect(stream.listener))
        except ConnectionResetError:
            # Before the connection was of any use.
            found["the target does not answer"] = "reset"
    assert found == dict.fromkeys(found, told)


@pytest.mark.parametrize("kind", ["haproxy", "nginx", "s2ds"])
def test_a_transfer_that_stalls_is_seen(gateway: S2CS, kind: str) -> None:
    """One end takes nothing any more: all is running, and yet since then no byte has moved."""
    with Source() as source:
        stream = Stream(gateway, kind, source.endpoint)
        with _connect(stream.listener) as connection:
            assert connection.recv(1000)

            def stalled() -> bool:
                counters = stream.counters()
                assert counters["connections"]["open"] == 1
                return bool(time.time() - counters["last_byte"] > 3)

            eventually("it stalls", stalled)
            until = time.monotonic() + 1
            while time.monotonic() < until:
                assert connection.recv(1 << 20)
            assert not stalled()
