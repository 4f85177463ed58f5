# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Both ends of a connection with small messages, each of which waits for its answer.

serve PORT SIZE; ask ADDRESS PORT SIZE COUNT, which prints the median round trip in microseconds.
"""

from __future__ import annotations

import socket
import statistics
import sys
import time

WARM_UP = 100


def receive(connection: socket.socket, size: int) -> bool:
    """Receive a message. Returns False at the end of the stream."""
    while size:
        found = connection.recv(size)
        if not found:
            return False
        size -= len(found)
    return True


def serve(port: int, size: int) -> None:
    message = bytes(size)
    with socket.create_server(("", port)) as listener:
        connection, _peer = listener.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while receive(connection, size):
                connection.sendall(message)


def ask(address: str, port: int, size: int, count: int) -> float:
    message, times = bytes(size), []
    with socket.create_connection((address, port), 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _unused in range(WARM_UP + count):
            before = time.perf_counter()
            connection.sendall(message)
            if not receive(connection, size):
                raise SystemExit("the connection ended")
            times.append(time.perf_counter() - before)
    return statistics.median(times[WARM_UP:]) * 1e6


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]), int(sys.argv[3]))
    else:
        print(ask(sys.argv[2], *map(int, sys.argv[3:6])))
