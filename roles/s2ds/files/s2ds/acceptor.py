# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Accepting connections: those that are not allowed are refused, the others are passed to the workers."""

from __future__ import annotations

import errno
import json
import os
import resource
import socket
from collections import deque

from config import allows
from log import Refusals
from sockets import set_congestion, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from config import Config
    from dial_settings import Waits
    from event_loop import EventLoop
    from log import Log
    from worker_pool import WorkerPool

# Pause in accepting if there is no free descriptor, or a worker's queue is full.
PAUSES = {
    errno.EMFILE: 0.2,
    errno.ENFILE: 0.2,
    errno.ENOBUFS: 0.2,
    errno.ENOMEM: 0.2,
    errno.ETOOMANYREFS: 0.02,
    errno.EAGAIN: 0.02,
}
ACCEPTS = 64
# Minimum of the limit of handshakes.
FEW_HANDSHAKES = 256


class Arrival:
    """A connection that was accepted, but not yet passed to a worker."""

    __slots__ = ("index", "peer", "sock")

    def __init__(self, sock: socket.socket, peer: tuple[str, int], index: int) -> None:
        self.sock = sock
        self.peer = peer
        self.index = index


class Acceptor:
    def __init__(
        self,
        config: Config,
        listeners: list[socket.socket],
        loop: EventLoop,
        workers: WorkerPool,
        log: Log,
        arrived: Callable[[], None],
        kernel_tls: tuple[bool, bool],
    ) -> None:
        """Start to accept connections.

        Args:
            arrived: Called for each of them.
            kernel_tls: Whether the kernel is to encrypt, and to decrypt.
        """
        self.config = config
        names = [text(sock.getsockname()[:2]) for sock in listeners]
        # Those for applications come first.
        self.names, self.peer_names = names[: len(config.listeners)], names[len(config.listeners) :]
        self.refused = 0
        self.from_peer = 0  # connections passed to workers that the peer had dialled
        self._kernel_tls = kernel_tls
        self._listeners = listeners
        self._loop = loop
        self._workers = workers
        self._log = log
        self._arrived = arrived
        self._arrivals: deque[Arrival] = deque()
        self._number = 0
        self._paused = True
        self._refusals = Refusals(log)
        self._resume()

    def apply(self, config: Config, kernel_tls: tuple[bool, bool]) -> None:
        """Use a configuration for new connections."""
        before, count = self.config, len(self.names)
        if config.accept_congestion != before.accept_congestion:
            for sock in self._listeners[:count]:
                set_congestion(sock, config.accept_congestion)
        if config.connect_congestion != before.connect_congestion:
            for sock in self._listeners[count:]:
                set_congestion(sock, config.connect_congestion)
        self.config = config
        self._kernel_tls = kernel_tls

    def close(self) -> None:
        for sock in self._listeners:
            sock.close()
        for arrival in self._arrivals:
            arrival.sock.close()

    def _resume(self) -> None:
        self._paused = False
        for index, sock in enumerate(self._listeners):
            self._loop.watch(sock.fileno(), lambda index=index: self._accept(index))  # type: ignore[misc]
        self._hand_over()

    def _pause(self, code: int) -> None:
        if self._paused:
            return
        self._paused = True
        for sock in self._listeners:
            self._loop.forget(sock.fileno())
        self._loop.timers.after(PAUSES[code], self._resume)
        if code != errno.EAGAIN:
            self._log.line(f"accepting pauses: {os.strerror(code)}")

    def _accept(self, index: int) -> None:
        for _unused in range(ACCEPTS):
            if self._paused:
                return
            try:
                sock, address = self._listeners[index].accept()
            except BlockingIOError:
                return
            except OSError as error:
                # Other errors belong to a connection that is gone.
                if error.errno in PAUSES:
                    self._pause(error.errno)
                continue
            self._arrived()
            arrival = Arrival(sock, address[:2], index)
            reason = self._objection(arrival)
            if reason:
                self._refuse(arrival, reason)
            else:
                self._arrivals.append(arrival)
                self._hand_over()

    def _objection(self, arrival: Arrival) -> str:
        config = self.config
        if config.waits is not None:
            return self._objection_with_dial(arrival, config.waits)
        if not allows(config.allow, arrival.sock.family, arrival.peer[0]):
            return "not allowed"
        if config.listeners[arrival.index].target is None:
            return "no target"
        # Clients that have not yet shown who they are take no place from the others.
        apart = self._shows_identity()
        used = self._workers.admitted() if apart else self._workers.open() + len(self._arrivals)
        if used >= config.max_connections:
            return f"more than {config.max_connections} connections"
        if apart:
            self._limit_handshakes()
        return ""

    def _objection_with_dial(self, arrival: Arrival, waits: Waits) -> str:
        """Return why an application, or a connection that the peer has dialled, is not allowed."""
        config = self.config
        from_peer = arrival.index >= len(self.names)
        if not allows(waits.allow if from_peer else config.allow, arrival.sock.family, arrival.peer[0]):
            return "not allowed"
        if not waits.open:
            return "no target"
        if from_peer:
            self._limit_handshakes()
        elif self._workers.admitted() >= config.max_connections:
            return f"more than {config.max_connections} connections"
        return ""

    def _limit_handshakes(self) -> None:
        if self._workers.handshakes() + len(self._arrivals) >= self._most_handshakes():
            self._workers.give_way()

    def _shows_identity(self) -> bool:
        """Determine whether clients have to present a certificate."""
        return self.config.tls is not None and self.config.tls.side == "accept"

    def _most_handshakes(self) -> int:
        descriptors, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # Most descriptors are for the others, which need several.
        return min(max(self.config.max_connections, FEW_HANDSHAKES), max(1, descriptors // 4))

    def _refuse(self, arrival: Arrival, reason: str) -> None:
        arrival.sock.close()  # a reset, because of SO_LINGER
        self.refused += 1
        name = (self.names + self.peer_names)[arrival.index]
        self._refusals.line(f"{text(arrival.peer)} -> {name} reason={reason!r}")

    def _hand_over(self) -> None:
        while self._arrivals:
            # It stays in the queue meanwhile, so that a new worker closes it.
            arrival = self._arrivals[0]
            try:
                self._hand(arrival)
            except OSError as error:
                if error.errno in PAUSES:
                    self._pause(error.errno)
                    return
                self._refuse(arrival, error.strerror or str(error))
            else:
                arrival.sock.close()
            self._arrivals.popleft()

    def _hand(self, arrival: Arrival) -> None:
        config = self.config
        self._number += 1
        if config.waits is None:
            target = config.listeners[arrival.index].target
            if target is None:
                raise OSError(errno.ECANCELED, "no target")
            more: dict[str, Any] = {"listener": self.names[arrival.index], "target": target}
            # The others were counted when they were accepted.
            more["max_connections"] = config.max_connections if self._shows_identity() else 0
        else:
            more = self._for_peers(arrival, config.waits.heartbeat)
        job = {"id": self._number, "peer": arrival.peer, **common_job(config, self._kernel_tls), **more}
        # A rate is only exact if a single process counts, and only one process has the connections that wait.
        workers = 1 if config.rate or config.dial is not None else config.workers
        spliced = config.tls is None or all(self._kernel_tls)
        self._workers.dispatch(json.dumps(job).encode(), arrival.sock.fileno(), workers, spliced)
        if more.get("link") == "peer":
            self.from_peer += 1

    def _for_peers(self, arrival: Arrival, heartbeat: float) -> dict[str, Any]:
        """Return what applies to a connection where the peer dials."""
        index, count = arrival.index, len(self.names)
        return {
            "link": "application" if index < count else "peer",
            "index": index % count,
            "listeners": count,
            "listener": self.names[index] if index < count else self.peer_names[index - count],
            "target": self._listeners[count + index % count].getsockname()[:2],
            "heartbeat": heartbeat,
            "max_connections": self.config.max_connections,
        }


def common_job(config: Config, kernel_tls: tuple[bool, bool]) -> dict[str, Any]:
    """Return what applies to all connections."""
    return {
        "source": config.source,
        "timeout": config.connect_timeout,
        "pipe_size": config.pipe_size,
        "congestion": config.connect_congestion,
        "rate": config.rate,
        "kernel_tls": kernel_tls,
        "cipher": config.cipher,
        "multipath": config.multipath,
        "congestion_fixed": [config.accept_congestion is not None, config.connect_congestion is not None],
        "key_update": config.key_update,
    }
