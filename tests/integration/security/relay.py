# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody in the network between two gateways, who sees every byte and may change it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType

Change = Callable[[bytes, int], bytes]


def unchanged(data: bytes, _position: int) -> bytes:
    """Pass everything on as it is."""
    return data


class Relay:
    """Forwards connections to a target, writes down what goes each way, and does to it what it is told.

    Args:
        target: ``address:port`` of what it stands in front of.
        downward: What it makes of bytes from the target; it gets them with the position of the first in the connection.
        cut: After how many bytes from the target it ends the connection in good order, as TCP sees it.
    """

    def __init__(self, target: str, downward: Change = unchanged, cut: int | None = None) -> None:
        host, _unused, port = target.rpartition(":")
        self._target = (host, int(port))
        self._downward = downward
        self._cut = cut
        self.seen = {"up": bytearray(), "down": bytearray()}
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _peer = self._socket.accept()
                far = socket.create_connection(self._target)
                threading.Thread(target=self._copy, args=(near, far, "up"), daemon=True).start()
                threading.Thread(target=self._copy, args=(far, near, "down"), daemon=True).start()

    def _copy(self, source: socket.socket, destination: socket.socket, way: str) -> None:
        position = 0
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(65536)
                if way == "down" and self._cut is not None:
                    data = data[: max(0, self._cut - position)]
                if not data:
                    break
                self.seen[way] += data
                destination.sendall(self._downward(data, position) if way == "down" else data)
                position += len(data)
        with contextlib.suppress(OSError):
            destination.shutdown(socket.SHUT_WR)
