# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The producer's gateway, where it dials: the connections to its peer that wait for applications."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import socket
import struct
import termios
from select import EPOLLOUT

from counters import ADMITTED, TAKEN, WAITING
from link import ALIVE, GO, Link
from pump import READABLE, Broken
from sockets import outgoing, text
from taken import TakenConnection
from timers import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dial_report import DialReport
    from timers import Timer
    from worker_interface import Worker

# A connection is given up if so many heartbeats in a row were sent while the one before was not acknowledged.
UNANSWERED = 3
# For this time, each connection that was taken enlarges the pool by one, up to this number.
BURST_SECONDS = 5.0
MOST_MORE = 62


class DialledLink(Link):
    """A connection to the peer."""

    def __init__(self, worker: Worker, route: Route, sock: socket.socket) -> None:
        super().__init__(worker, sock, route.peer, "client")
        self.waiting = False
        self.beats = 0
        self._route = route
        self._unanswered = 0

    def start(self, seconds: float) -> None:
        """Connect.

        Raises:
            OSError: That failed immediately.
        """
        leg = self.leg
        leg.writable = False  # until it is connected
        self._step = self._connected
        code = leg.sock.connect_ex(self.address)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        self._worker.watch(leg.fd, self, READABLE | EPOLLOUT)
        self.limit_time(seconds, lambda: self.lost(f"no connection and handshake within {seconds:g} s"))

    def _connected(self) -> None:
        leg = self.leg
        if leg.writable:
            code = leg.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
            leg.error = False
            leg.readable = True
            self.shake_hands()

    def ready(self) -> None:
        self.send(ALIVE)
        self.waiting = True
        self.limit_time(self._route.heartbeat, self._beat)
        self._route.count()

    def _beat(self) -> None:
        """Show the peer, and firewalls on the way, that the connection is alive."""
        (queued,) = struct.unpack("i", fcntl.ioctl(self.leg.fd, termios.TIOCOUTQ, b"\0\0\0\0"))
        self._unanswered = self._unanswered + 1 if queued else 0
        if self._unanswered >= UNANSWERED:
            self.lost("heartbeats are not acknowledged")
            return
        try:
            self.send(ALIVE)
        except (Broken, OSError) as error:
            self.lost(str(error))
            return
        self.beats += 1
        self.limit_time(self._route.heartbeat, self._beat)
        self._route.beat(self)

    def heard(self, signals: bytes) -> None:
        if signals == GO:
            self._route.taken(self)
        else:
            self.lost("unexpected bytes")

    def lost(self, reason: str, refused: bool = False) -> None:
        if not self.closed:
            self.end()
            self._route.lost(self, reason)

    def close(self, reason: str) -> None:
        if not self.closed:
            self.end()
            self._route.forget(self)


class Route:
    """The connections to one peer listener, for one target."""

    def __init__(self, dialler: Dialler, index: int, settings: dict[str, Any]) -> None:
        self.links: dict[DialledLink, None] = {}
        self._dialler = dialler
        self._index = index
        self._pause = 0.0
        self._timer: Timer | None = None
        self._taken: list[float] = []
        self.set(settings)

    def set(self, settings: dict[str, Any]) -> None:
        leg = settings["legs"][self._index]
        self.peer: tuple[str, int] = (leg["peer"][0], leg["peer"][1])
        self.target: tuple[str, int] = (leg["target"][0], leg["target"][1])
        self.heartbeat: float = settings["heartbeat"]
        self._settings = settings

    def fill(self) -> None:
        """Dial until enough connections wait, unless the last attempt has failed a moment ago."""
        while self._timer is None and len(self.links) < self._wanted() and self._dialler.room():
            self._dial()

    def at_once(self) -> None:
        """Forget earlier failures."""
        self._pause = 0.0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        self.at_once()
        for link in list(self.links):
            link.close("")

    def beat(self, link: DialledLink) -> None:
        """Record that a connection has lasted, and close it if it is one too many."""
        self._pause = 0.0
        if len(self.links) > self._wanted() and link is next(reversed(list(self.links))):
            link.close("")

    def taken(self, link: DialledLink) -> None:
        self._pause = 0.0
        moment = now()
        recent = [when for when in self._taken if moment - when < BURST_SECONDS]
        self._taken = [*recent[-MOST_MORE:], moment]
        link.pass_on()
        self.forget(link)
        self._dialler.serve(self, link)
        self.fill()

    def lost(self, link: DialledLink, reason: str) -> None:
        lasted = link.beats > 0
        self.forget(link)
        if lasted:
            self._dialler.note(f"{link}: {reason}")
            self.fill()
        else:
            self._failed(reason)

    def forget(self, link: DialledLink) -> None:
        self.links.pop(link, None)
        if link.waiting:
            link.waiting = False
            self.count()

    def count(self) -> None:
        self._dialler.count(self._index, sum(link.waiting for link in self.links))

    def _wanted(self) -> int:
        moment = now()
        more = sum(moment - when < BURST_SECONDS for when in self._taken)
        return int(self._settings["pool"]) + min(more, MOST_MORE)

    def _dial(self) -> None:
        settings = self._settings
        try:
            sock = outgoing(self.peer, settings["source"], settings["congestion"], settings["multipath"])
            link = DialledLink(self._dialler.worker, self, sock)
            self.links[link] = None
            try:
                link.start(settings["timeout"])
            except OSError as error:
                link.lost(error.strerror or str(error))
        except OSError as error:
            self._failed(error.strerror or str(error))

    def _failed(self, reason: str) -> None:
        """Dial again after a pause, which grows."""
        self._dialler.note(f"{text(self.peer)}: {reason}")
        if self._timer is None:
            shortest, longest = self._settings["pause"]
            self._pause = min(max(shortest, self._pause * 2), longest)
            # Many that failed at the same time should not all come back at the same time.
            self._timer = self._dialler.worker.timers.after(self._pause * random.uniform(0.5, 1), self._again)

    def _again(self) -> None:
        self._timer = None
        self.fill()


class Dialler:
    def __init__(self, worker: Worker, report: DialReport) -> None:
        self.worker = worker
        self._report = report
        self._routes: list[Route] = []
        self._settings: dict[str, Any] = {}
        self._counts: dict[int, int] = {}

    def apply(self, settings: dict[str, Any]) -> None:
        """Use these settings. Connections that wait stay, if they lead to where they should."""
        before, self._settings = self._routes, settings
        routes = []
        for index, leg in enumerate(settings["legs"]):
            old = before[index] if index < len(before) else None
            if old is not None and old.peer == (leg["peer"][0], leg["peer"][1]) and self._is_current(old):
                old.set(settings)
                old.at_once()
                routes.append(old)
            else:
                if old is not None:
                    old.close()
                routes.append(Route(self, index, settings))
        for old in before[len(routes) :]:
            old.close()
        self._routes = routes
        self._report.expect(len(routes))
        self.fill()

    def _is_current(self, route: Route) -> bool:
        return all(link.tls is self.worker.tls for link in route.links)

    def fill(self) -> None:
        for route in self._routes:
            route.fill()

    def stop(self) -> None:
        routes, self._routes = self._routes, []
        for route in routes:
            route.close()

    def room(self) -> bool:
        """Determine whether one more connection is within the limit."""
        if not self._routes:
            return False
        links = sum(len(route.links) for route in self._routes)
        return bool(links + self.worker.resources.counters[ADMITTED] < self._settings["max_connections"])

    def count(self, index: int, waiting: int) -> None:
        self._counts[index] = waiting
        self.worker.resources.counters[WAITING] = sum(self._counts.values())
        self._report.waiting(index, waiting)

    def note(self, reason: str) -> None:
        self.worker.refusals.line(f"dialling {reason}", "failed")
        self._report.failed(reason)

    def serve(self, route: Route, link: DialledLink) -> None:
        """Connect a connection that an application got to the target."""
        counters = self.worker.resources.counters
        counters[TAKEN] += 1
        job = {**self._settings["job"], "id": int(counters[TAKEN]), "peer": route.peer, "target": route.target}
        TakenConnection(self.worker, job, link, self.fill).start()
