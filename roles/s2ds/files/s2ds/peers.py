# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The consumer's gateway, where its peer dials: the connections that wait, and the applications that get them."""

from __future__ import annotations

from connection import Connection
from counters import CLOSED, LEFT, REFUSED, STRANGERS, WAITING
from link import ALIVE, GO, NO, OK, Link, receive
from pump import READABLE, Broken
from timers import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any, Dict

    from dial_report import DialReport
    from pump import Leg
    from worker_interface import Worker

# A connection is given up without this many heartbeats.
MISSED = 3.5
# Heartbeats that may arrive at once, for example after the network was interrupted.
BURST = 8
# How often an application gets another connection, if one turns out to be dead.
ATTEMPTS = 3


class PeerLink(Link):
    """A connection that the peer has dialled."""

    def __init__(self, peers: Peers, worker: Worker, job: dict[str, Any], sock: socket.socket) -> None:
        super().__init__(worker, sock, (job["peer"][0], job["peer"][1]), "target")
        self.index: int = job["index"]
        self.waiting = False
        self._peers = peers
        self._job = job
        self._heard = self._since = now()
        self._beats = 0

    def start(self) -> None:
        worker, seconds = self._worker, self._job["timeout"]
        worker.watch(self.leg.fd, self, READABLE)
        worker.handshakes.add(self, self.address[0])
        self.limit_time(seconds, lambda: self.lost(f"no handshake within {seconds:g} s", refused=True))
        self.shake_hands()

    def ready(self) -> None:
        """Wait for the first heartbeat: only then it is known that a forwarder is at the other end."""

    def heard(self, signals: bytes) -> None:
        moment, heartbeat = now(), self._job["heartbeat"]
        self._beats += len(signals)
        if signals.strip(ALIVE):
            self.lost("unexpected bytes", refused=True)
        elif self._beats > BURST + 2 * (moment - self._since) / heartbeat:
            self.lost("too many heartbeats", refused=True)
        else:
            self._heard = moment
            if not self.waiting:
                self._wait()

    def _wait(self) -> None:
        self._worker.handshakes.remove(self)
        self.limit_time(self._job["heartbeat"], self._check)
        self._peers.arrived(self, self._job["max_connections"])

    def _check(self) -> None:
        heartbeat = self._job["heartbeat"]
        if now() - self._heard > MISSED * heartbeat:
            self.lost("no heartbeat")
        else:
            self.limit_time(heartbeat, self._check)

    def lost(self, reason: str, refused: bool = False) -> None:
        if not self.closed:
            self._peers.gone(self)
            self._end(reason, REFUSED if refused else CLOSED if self.waiting else LEFT)

    def close(self, reason: str) -> None:
        if not self.closed:
            self._peers.gone(self)
            self._end("", CLOSED)

    def _end(self, reason: str, field: int) -> None:
        worker, counters = self._worker, self._worker.resources.counters
        if field != CLOSED:
            counters[field] += 1
            counters[STRANGERS] += 1
        counters[CLOSED] += 1
        if reason:
            what = "lost" if field == CLOSED else "refused"
            worker.refusals.line(f"#{self._job['id']} {self} -> {self._job['listener']} reason={reason!r}", what)
            self._peers.report.failed(f"{self}: {reason}")
        self.end()


class PairedConnection(Connection):
    """A connection of an application, from its arrival to the end."""

    def __init__(self, peers: Peers, worker: Worker, job: dict[str, Any], sock: socket.socket) -> None:
        super().__init__(worker, job, sock)
        self.index: int = job["index"]
        self._peers = peers
        self._attempts = 0
        self._signals = 0

    def _connect(self) -> None:
        """Get a connection that waits, or the next one to arrive."""
        self._step = self._unpaired
        self._limit_time("no dialled connection")
        self._peers.want(self)

    def pair(self, link: PeerLink) -> None:
        """Take a connection, and have the peer connect to its target."""
        self._attempts += 1
        self._signals = 0
        self._target, self._channel, self._tls = link.leg, link.channel, link.tls
        self._job["target"] = link.address
        self._worker.hand(link.leg.fd, self)
        try:
            link.send(GO)
        except (Broken, OSError) as error:
            self._broken(link.leg, error)
            return
        self._step = self._answered
        self._limit_time("target: no answer")
        self._wake()

    def _unpaired(self) -> bool:
        if self._client.error:
            self._fail("client: reset while connecting")
        return False

    def _answered(self) -> bool:
        """Return True once the peer is connected to its target, so that bytes may flow."""
        leg = self._target
        if self._client.error or leg is None:
            self._fail("client: reset while connecting")
            return False
        while True:
            try:
                # One byte at a time, as those of the application may follow.
                signals = receive(leg, self._channel, self._tls, 1)
            except (Broken, OSError) as error:
                self._broken(leg, error)
                return False
            if signals is None:
                return False
            rest = signals.lstrip(ALIVE)
            self._signals += len(signals) - len(rest)
            if rest[:1] == OK:
                self._early = rest[1:]
                leg.name = "target"
                self._open(leg)
                return True
            if rest or self._signals > BURST:
                self._fail("target: the other gateway cannot reach it" if rest == NO else "target: unexpected answer")
                return False

    def _broken(self, leg: Leg, error: Exception) -> None:
        """Take another connection, as this one was dead. Nothing of the application has been sent over it."""
        why = str(error) if isinstance(error, Broken) else f"target: {getattr(error, 'strerror', None) or error}"
        self._peers.unpair(self)
        self._worker.forget(leg.fd)
        leg.sock.close()
        self._target = self._channel = None
        if self._attempts < ATTEMPTS:
            self._connect()
        else:
            self._fail(why)

    def _late(self, what: str) -> None:
        self._timer = None
        self._fail(what)

    def _end(self) -> None:
        self._peers.forget(self)
        super()._end()


if TYPE_CHECKING:
    Links = Dict[PeerLink, None]
    Applications = Dict[PairedConnection, None]


class Peers:
    def __init__(self, worker: Worker, report: DialReport) -> None:
        self.report = report
        self._worker = worker
        # By listener, the oldest first.
        self._links: dict[int, Links] = {}
        self._applications: dict[int, Applications] = {}
        self._paired: Applications = {}

    def take(self, job: dict[str, Any], sock: socket.socket) -> None:
        """Take a connection that was accepted."""
        if job["link"] == "peer":
            PeerLink(self, self._worker, job, sock).start()
        else:
            PairedConnection(self, self._worker, job, sock).start()

    def arrived(self, link: PeerLink, limit: int) -> None:
        """Have a connection wait, or give it to the application that has waited the longest."""
        waiting = sum(map(len, self._links.values()))
        if waiting + len(self._paired) >= limit:
            link.lost(f"more than {limit} connections", refused=True)
            return
        link.waiting = True
        application = next(iter(self._applications.get(link.index, ())), None)
        if application is not None:
            self._pair(application, link)
            return
        self._links.setdefault(link.index, {})[link] = None
        self._count(link.index, 1)

    def want(self, application: PairedConnection) -> None:
        """Give an application the connection that has waited the longest, or have it wait for one."""
        self._applications.setdefault(application.index, {})[application] = None
        link = next(iter(self._links.get(application.index, ())), None)
        if link is not None:
            self.gone(link)
            self._pair(application, link)

    def gone(self, link: PeerLink) -> None:
        """Forget a connection, whether it waits or not."""
        links = self._links.get(link.index, {})
        if link in links:
            del links[link]
            self._count(link.index, -1)

    def forget(self, application: PairedConnection) -> None:
        self._applications.get(application.index, {}).pop(application, None)
        self.unpair(application)

    def unpair(self, application: PairedConnection) -> None:
        self._paired.pop(application, None)

    def drop(self) -> None:
        """Close all connections that wait, as they were made with what applies no longer."""
        for links in list(self._links.values()):
            for link in list(links):
                link.close("")

    def _pair(self, application: PairedConnection, link: PeerLink) -> None:
        self._applications[application.index].pop(application, None)
        self._paired[application] = None
        link.pass_on()
        # Both are one connection now.
        self._worker.resources.counters[CLOSED] += 1
        application.pair(link)

    def _count(self, index: int, difference: int) -> None:
        self._worker.resources.counters[WAITING] += difference
        self.report.waiting(index, len(self._links[index]))
