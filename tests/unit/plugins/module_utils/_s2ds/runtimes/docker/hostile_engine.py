# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server in the place of a container engine that hangs, never ends, or talks nonsense."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def answer(document: object) -> bytes:
    """Return an answer with a JSON document."""
    body = json.dumps(document).encode()
    return _HEAD + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body


VERSION = answer({"ApiVersion": "1.41", "Version": "20.10"})


def _hang(connection: socket.socket) -> None:
    time.sleep(120)


def _dribble(connection: socket.socket) -> None:
    """One byte now and then: there is never a long silence."""
    connection.sendall(_HEAD + b"Content-Length: 1000000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.05)


def _slow_head(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"H")
        time.sleep(0.05)


def _endless(connection: socket.socket) -> None:
    connection.sendall(_HEAD + b"\r\n")
    while True:
        connection.sendall(b"[" * (1 << 16))


def _garbage(connection: socket.socket) -> None:
    connection.sendall(b"\x00\xff\x1b[31mSSH-2.0-none\r\n\r\n")


def _says(data: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(data)


# Ways not to answer, by their names.
WAYS: Mapping[str, Callable[[socket.socket], None]] = {
    "hang": _hang,
    "dribble": _dribble,
    "slow head": _slow_head,
    "endless": _endless,
    "garbage": _garbage,
    "a list": _says(answer([])),
    "text": _says(answer("x")),
    "deep": _says(_HEAD + b"Content-Length: 200000\r\nConnection: close\r\n\r\n" + b"[" * 200000),
    "wrong shape": _says(answer({"State": [], "Config": 7, "Id": 3})),
    "an error with escapes": _says(
        b'HTTP/1.1 500 x\r\nContent-Length: 36\r\nConnection: close\r\n\r\n{"message": "\\u001b[2J\\nno such thing"}'[
            :-1
        ]
    ),
}


class HostileEngine:
    """The server; a context.

    Args:
        path: Path of its socket.
        way: What it does to a request.
        greets: Whether it says which version it is, as an engine would.
    """

    def __init__(self, path: Path, way: str, greets: bool = True) -> None:
        self.address = f"unix://{path}"
        self._way = WAYS[way]
        self._greets = greets
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen(16)

    def __enter__(self) -> HostileEngine:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *about: object) -> None:
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _peer = self._socket.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            request = connection.recv(65536)
            if self._greets and request.startswith(b"GET /version"):
                connection.sendall(VERSION)
            else:
                self._way(connection)
