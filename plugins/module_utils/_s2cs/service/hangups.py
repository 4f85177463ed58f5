# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Notices callers that disconnect while they wait for an answer.

Reading their connections does not tell this, because they have already ended their sending side.
"""

from __future__ import annotations

import asyncio
import select
import socket
from contextlib import contextmanager
from typing import Iterator


class Hangups:
    """The connections of all callers. Needs a running event loop."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._collect)

    @contextmanager
    def watch(self, connection: socket.socket) -> Iterator[asyncio.Future[None]]:
        """Yield a future that is done as soon as the caller has disconnected."""
        number = connection.fileno()
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = gone
        # The end of both directions is reported in any case, and nothing else is of interest.
        self._epoll.register(number, 0)
        try:
            yield gone
        finally:
            if self._waiting.pop(number, None) is not None:
                self._epoll.unregister(number)

    def _collect(self) -> None:
        for number, _events in self._epoll.poll(0):
            self._epoll.unregister(number)
            gone = self._waiting.pop(number, None)
            if gone is not None and not gone.done():
                gone.set_result(None)
