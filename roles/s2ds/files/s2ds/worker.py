# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker: one process, one loop, any number of connections, which the dispatcher hands over."""

from __future__ import annotations

import array
import json
import socket
import traceback
from collections import deque
from select import EPOLLIN, epoll

from checks import family
from counters import CLOSED, FAILED
from credentials import CredentialError, Credentials
from link import Link
from log import Refusals
from pool import Pool
from pump import Means
from rate import Bucket
from timers import Timers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from log import Log
    from splice import Splice
    from tls_context import TlsContext

# Credentials are the longest.
MESSAGE = 1 << 18


class Stop(Exception):
    pass


class Worker:
    def __init__(self, channel: socket.socket, counters: memoryview, splice: Splice | None, log: Log) -> None:
        self.log = log
        self.refusals = Refusals(log)
        self.tls: TlsContext | None = None
        self._credentials: Credentials | None = None
        self.timers = Timers()
        self.ready: deque[Link] = deque()
        self.limits = (Bucket(self.timers), Bucket(self.timers))
        self.means = Means(splice, Pool(0), counters, log)
        self._links: dict[int, Link] = {}
        self._channel = channel
        self._epoll = epoll()
        self.modify = self._epoll.modify
        self._epoll.register(channel.fileno(), EPOLLIN)

    def watch(self, fd: int, link: Link, events: int) -> None:
        self._epoll.register(fd, events)
        self._links[fd] = link

    def forget(self, fd: int) -> None:
        # Not left to close(): the dispatcher may still hold the socket for a moment.
        if self._links.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def run(self) -> None:
        try:
            while True:
                self._round()
        except Stop:
            for link in set(self._links.values()):
                link.close("forwarder stopped")

    def _round(self) -> None:
        ready, links = self.ready, self._links
        orders = False
        for fd, mask in self._epoll.poll(0 if ready else self.timers.wait()):
            link = links.get(fd)
            if link is None:
                orders = True
            else:
                link.event(fd, mask)
        self.timers.run()
        for _unused in range(len(ready)):
            link = ready.popleft()
            try:
                link.turn()
            except Exception:
                self.log.line("unexpected: " + traceback.format_exc().replace("\n", " | "))
                link.close("internal error")
        # Last: a new connection may get the number of a descriptor that just had an event.
        if orders:
            self._orders()

    def _orders(self) -> None:
        """Each message is one connection with all that applies to it. End of file: the dispatcher is no more."""
        room = socket.CMSG_SPACE(array.array("i").itemsize)
        while True:
            try:
                message, extra, _flags, _address = self._channel.recvmsg(MESSAGE, room, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                raise Stop from None
            if not message:
                raise Stop
            order = json.loads(message)
            if "rate" in order:
                for bucket in self.limits:
                    bucket.set(order["rate"])
            if "tls" in order:
                self._credentials = Credentials(**order["tls"]) if order["tls"] else None
                self.tls = None
            if "tick" in order:
                self.means.pool.trim()
            if "target" in order:
                self._order(order, extra)

    def _order(self, order: dict[str, Any], extra: list[tuple[int, int, bytes]]) -> None:
        descriptors = array.array("i")
        for level, kind, data in extra:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        if not descriptors:
            # The kernel had no number for it any more and has reset the connection.
            self._failed(order, "out of descriptors")
            return
        sock = socket.socket(family(order["peer"][0], "peer"), socket.SOCK_STREAM, 0, descriptors[0])
        sock.setblocking(False)
        try:
            self._prepare_tls()
        except (CredentialError, OSError) as error:
            sock.close()
            self._failed(order, f"credentials: {error}")
            return
        self.means.pool.resize(order["pipe_size"])
        Link(self, order, sock).start()

    def _failed(self, order: dict[str, Any], reason: str) -> None:
        self.log.line(f"failed #{order['id']} reason={reason!r}")
        self.means.counters[FAILED] += 1
        self.means.counters[CLOSED] += 1

    def _prepare_tls(self) -> None:
        """Once for each set of credentials. No connection of an encrypted session goes on without."""
        if self._credentials is not None and self.tls is None:
            from tls_context import TlsContext

            self.tls = TlsContext(self._credentials)
