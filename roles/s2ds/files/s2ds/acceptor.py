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

from log import Refusals
from sockets import set_congestion, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from config import Config
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
        self.names = [text(sock.getsockname()[:2]) for sock in listeners]
        self.refused = 0
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
        if config.accept_congestion != self.config.accept_congestion:
            for sock in self._listeners:
                set_congestion(sock, config.accept_congestion)
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
        if not config.allows(arrival.sock.family, arrival.peer[0]):
            return "not allowed"
        if config.listeners[arrival.index].target is None:
            return "no target"
        # Clients that have not yet shown who they are take no place from the others.
        apart = self._shows_identity()
        used = self._workers.admitted() if apart else self._workers.open() + len(self._arrivals)
        if used >= config.max_connections:
            return f"more than {config.max_connections} connections"
        if apart and self._workers.handshakes() + len(self._arrivals) >= self._most_handshakes():
            self._workers.give_way()
        return ""

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
        self._refusals.line(f"{text(arrival.peer)} -> {self.names[arrival.index]} reason={reason!r}")

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
        target = config.listeners[arrival.index].target
        if target is None:
            raise OSError(errno.ECANCELED, "no target")
        self._number += 1
        job = {
            "id": self._number,
            "peer": arrival.peer,
            "listener": self.names[arrival.index],
            "target": target,
            "source": config.source,
            "timeout": config.connect_timeout,
            # The others were counted when they were accepted.
            "max_connections": config.max_connections if self._shows_identity() else 0,
            "pipe_size": config.pipe_size,
            "congestion": config.connect_congestion,
            "rate": config.rate,
            "kernel_tls": self._kernel_tls,
            "cipher": config.cipher,
            "multipath": config.multipath,
            "congestion_fixed": [config.accept_congestion is not None, config.connect_congestion is not None],
            "key_update": config.key_update,
        }
        # A rate is only exact if a single process counts.
        workers = 1 if config.rate else config.workers
        spliced = config.tls is None or all(self._kernel_tls)
        self._workers.dispatch(json.dumps(job).encode(), arrival.sock.fileno(), workers, spliced)
