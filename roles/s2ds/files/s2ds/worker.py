# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker: one process with one loop, and any number of connections from the dispatcher."""

from __future__ import annotations

import array
import json
import socket
from collections import deque
from select import EPOLLIN, epoll

from config import AUTO
from connection import Connection
from counters import ADMITTED, CLIENT_PATH, CLOSED, FAILED, ONE_KEY, PATHS, TARGET_PATH
from credentials import CredentialError, Credentials
from handshakes import Handshakes
from log import Refusals
from multipath import PathCounter
from path_settings import PathSettings
from pipe_pool import PipePool
from pump import WorkerResources
from timers import Timers
from token_bucket import TokenBucket
from validation import ConfigError, family

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from counters import Counters
    from dialler import Dialler
    from kernel_channel import KernelTls
    from log import Log
    from peers import Peers
    from splice import Splice
    from tls_context import TlsContext
    from worker_interface import Watched

# Messages with credentials are the longest.
MESSAGE = 1 << 18


class Stop(Exception):
    pass


class Worker:
    def __init__(
        self, channel: socket.socket, counters: Counters, block: memoryview, splice: Splice | None, log: Log
    ) -> None:
        """Create a worker, which counts in its block of the counters of all workers."""
        self.log = log
        self.refusals = Refusals(log)
        self.tls: TlsContext | None = None
        self.handshakes = Handshakes()
        self._counters = counters
        self._credentials: Credentials | None = None
        self._kernel_tls: KernelTls | None = None
        self._paths: PathCounter | None = None
        self.path_settings = PathSettings(block, (CLIENT_PATH, TARGET_PATH))
        self.timers = Timers()
        self.ready: deque[Watched] = deque()
        self.limits = (TokenBucket(self.timers), TokenBucket(self.timers))
        self.resources = WorkerResources(splice, PipePool(0), block, log)
        self.peers: Peers | None = None
        self.dialler: Dialler | None = None
        self._connections: dict[int, Watched] = {}
        self._channel = channel
        self._epoll = epoll()
        self.modify = self._epoll.modify
        self._epoll.register(channel.fileno(), EPOLLIN)

    def kernel_tls(self) -> KernelTls | None:
        """Return what the kernel is to do for encrypted connections, or None if it cannot."""
        if self._kernel_tls is None:
            from kernel_channel import KernelTls

            self._kernel_tls = KernelTls(self.log)
        return self._kernel_tls if self._kernel_tls.prepare() else None

    def paths(self) -> PathCounter:
        if self._paths is None:
            self._paths = PathCounter(self.resources.counters, PATHS, self.timers)
        return self._paths

    def admit(self, limit: int) -> bool:
        """Count a connection whose client has shown who it is, unless there are as many of them already."""
        block = self.resources.counters
        # First, so that all workers together never admit more.
        block[ADMITTED] += 1
        if limit and self._counters.total(ADMITTED) > limit:
            block[ADMITTED] -= 1
            return False
        return True

    def watch(self, fd: int, connection: Watched, events: int) -> None:
        self._epoll.register(fd, events)
        self._connections[fd] = connection

    def hand(self, fd: int, connection: Watched) -> None:
        """Let another object take the events of a descriptor."""
        self._connections[fd] = connection

    def forget(self, fd: int) -> None:
        # close() alone is not sufficient, because the dispatcher may still have the socket open for a moment.
        if self._connections.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def run(self) -> None:
        try:
            while True:
                self._round()
        except Stop:
            if self.dialler is not None:
                self.dialler.stop()
            for connection in set(self._connections.values()):
                connection.close("forwarder stopped")

    def _round(self) -> None:
        ready, connections = self.ready, self._connections
        jobs = False
        for fd, mask in self._epoll.poll(0 if ready else self.timers.wait()):
            connection = connections.get(fd)
            if connection is None:
                jobs = True
            else:
                connection.event(fd, mask)
        self.timers.run()
        for _unused in range(len(ready)):
            connection = ready.popleft()
            try:
                connection.turn()
            except Exception:
                self.log.unexpected()
                connection.close("internal error")
        # Last, because a new connection may get the number of a descriptor that just had an event.
        if jobs:
            self._take_jobs()

    def _take_jobs(self) -> None:
        """Receive connections, one in each message. The end of file means that the dispatcher has ended."""
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
            job = json.loads(message)
            if "rate" in job:
                for bucket in self.limits:
                    bucket.set(job["rate"])
            if "tls" in job:
                self._credentials = Credentials(**job["tls"]) if job["tls"] else None
                self.tls = None
            if "tick" in job:
                self.resources.pool.trim()
                if self._credentials is not None:
                    connections = set(self._connections.values())
                    self.resources.counters[ONE_KEY] = max((item.with_one_key() for item in connections), default=0)
            if "give_way" in job:
                self.handshakes.give_way()
            if "drop" in job and self.peers is not None:
                self.peers.drop()
            if "dial" in job:
                self._dial(job["dial"])
            if "target" in job:
                self._take_job(job, extra)

    def _take_job(self, job: dict[str, Any], extra: list[tuple[int, int, bytes]]) -> None:
        descriptors = array.array("i")
        for level, kind, data in extra:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        if not descriptors:
            # There was no free descriptor, and the kernel has reset the connection.
            self._failed(job, "out of descriptors")
            return
        sock = socket.socket(family(job["peer"][0], "peer"), socket.SOCK_STREAM, 0, descriptors[0])
        sock.setblocking(False)
        try:
            self._prepare_tls(job)
        except (ConfigError, CredentialError, OSError) as error:
            sock.close()
            self._failed(job, f"credentials: {error}")
            return
        self.resources.pool.resize(job["pipe_size"])
        if "link" in job:
            self._take_for_peers(job, sock)
        else:
            Connection(self, job, sock).start()

    def _take_for_peers(self, job: dict[str, Any], sock: socket.socket) -> None:
        """Take a connection of an application, or one that the peer has dialled."""
        if self.peers is None:
            # Imported here, because most sessions do without it.
            from dial_report import DialReport
            from peers import Peers

            report = DialReport(self._channel, self.timers)
            report.expect(job["listeners"])
            self.peers = Peers(self, report)
        self.peers.take(job, sock)

    def _dial(self, settings: dict[str, Any]) -> None:
        """Keep connections to the peer."""
        if self.dialler is None:
            from dial_report import DialReport
            from dialler import Dialler

            self.dialler = Dialler(self, DialReport(self._channel, self.timers))
        try:
            self._prepare_tls(settings["job"])
        except (ConfigError, CredentialError, OSError) as error:
            self.log.line(f"credentials: {error}")
            self.dialler.stop()
            return
        self.resources.pool.resize(settings["job"]["pipe_size"])
        self.dialler.apply(settings)

    def _failed(self, job: dict[str, Any], reason: str) -> None:
        self.log.line(f"failed #{job['id']} reason={reason!r}")
        self.resources.counters[FAILED] += 1
        self.resources.counters[CLOSED] += 1

    def _prepare_tls(self, job: dict[str, Any]) -> None:
        """Create the TLS context once for each set of credentials. Encrypted sessions never continue without one."""
        if self._credentials is None:
            return
        if self.tls is None and job["cipher"] != AUTO:
            from tls_suite import restrict

            # Before anything else loads OpenSSL.
            restrict(job["cipher"])
        kernel = self.kernel_tls() if any(job["kernel_tls"]) else None
        if kernel is not None:
            kernel.key_update = job["key_update"]
        # OpenSSL always can.
        follows = kernel is None or not job["kernel_tls"][1] or kernel.renews()
        if self.tls is None or self.tls.follows != follows:
            from tls_context import TlsContext

            self.tls = TlsContext(self._credentials, follows=follows)
