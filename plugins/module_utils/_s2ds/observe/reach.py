# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether somebody listens at a target: one connection, which is closed at once and carries no byte."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from dataclasses import dataclass
from typing import Sequence

# Longer than a round trip around the world and a lost first packet.
TIMEOUT = 3.0
# More are not looked at; they would use up the ports and descriptors of the gateway.
MAX_TARGETS = 128


@dataclass(frozen=True)
class Unreachable:
    """A target at which nobody answered, and why."""

    host: str
    port: int
    reason: str


def find_unreachable(
    targets: Sequence[tuple[str, int]], source: str | None = None, timeout: float = TIMEOUT
) -> list[Unreachable]:
    """Return the targets at which nobody accepts a connection; all are looked at together.

    Args:
        targets: Addresses and ports.
        source: Address that the connections come from, None for the kernel's choice.
        timeout: How long they have to answer, in seconds.
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
    # An address, never a name, which could take long to look up.
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
