# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What answers in the place of a Janus controller, and hangs, never ends or talks nonsense."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus.client import (
    JanusClient,
    JanusError,
)


def _hang(connection: socket.socket) -> None:
    time.sleep(30)


def _dribble(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.05)


def _slow_head(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"H")
        time.sleep(0.05)


def _deep(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"[" * 200000)


@pytest.mark.parametrize("way", [_hang, _dribble, _slow_head, _deep])
def test_a_controller_that_does_not_answer_holds_nobody_up(way: Callable[[socket.socket], None]) -> None:
    """Whatever it sends instead; and one that was silent is not asked again at once."""

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _peer = listening.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            way(connection)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        began = time.monotonic()
        for _session in range(10):
            with pytest.raises(JanusError) as refused:
                JanusClient(url, "admin", "password", timeout=1.0)._find("/nodes/x")
            assert url in str(refused.value) and str(refused.value).isprintable()
        assert time.monotonic() - began < (11 if way is not _deep else 5)
        listening.shutdown(socket.SHUT_RDWR)
