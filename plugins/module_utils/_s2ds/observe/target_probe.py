# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether targets are reachable: each gets one connection, which is closed immediately without sending a byte."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from dataclasses import dataclass
from typing import Sequence

# Longer than a round trip around the world with a lost first packet.
TIMEOUT = 3.0
# More connections at once could exhaust the ports and descriptors of the gateway.
MAX_TARGETS = 128


@dataclass(frozen=True)
class Unreachable:
    """A target that accepted no connection, and the reason."""

    host: str
    port: int
    reason: str


def find_unreachable(
    targets: Sequence[tuple[str, int]], source: str | None = None, timeout: float = TIMEOUT
) -> list[Unreachable]:
    """Return the targets that do not accept a connection. All are tried at the same time.

    Args:
        targets: Addresses and ports.
        source: Source address of the connections. If None, the kernel chooses it.
        timeout: Time limit in seconds.
    """
    failed = []
    waiting: dict[socket.socket, tuple[str, int]] = {}
    with selectors.DefaultSelector() as selector:
        try:
            for host, port in list(dict.fromkeys(targets))[:MAX_TARGETS]:
                try:
                    connection = _connect(host, port, source)
                except OSError as error:
                    failed.append(Unreachable(host, port, _reason(error.errno)))
                    continue
                waiting[connection] = (host, port)
                selector.register(connection, selectors.EVENT_WRITE, connection)
            deadline = time.monotonic() + timeout
            while selector.get_map():
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                for key, _events in selector.select(left):
                    connection = key.data
                    selector.unregister(connection)
                    status = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    host, port = waiting.pop(connection)
                    connection.close()
                    if status:
                        failed.append(Unreachable(host, port, _reason(status)))
            failed.extend(Unreachable(host, port, f"no answer for {timeout:g} s") for host, port in waiting.values())
        finally:
            for connection in waiting:
                connection.close()
    return failed


def _connect(host: str, port: int, source: str | None) -> socket.socket:
    # Only addresses: resolving names could take long.
    family, kind, protocol, _name, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )[0]
    connection = socket.socket(family, kind, protocol)
    try:
        connection.setblocking(False)
        if source is not None and (":" in source) == (family == socket.AF_INET6):
            connection.bind((source, 0))
        error = connection.connect_ex(address)
        if error not in (0, errno.EINPROGRESS):
            raise OSError(error, os.strerror(error))
    except OSError:
        connection.close()
        raise
    return connection


def _reason(error: int | None) -> str:
    return os.strerror(error).lower() if error else "unknown error"
