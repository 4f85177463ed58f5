# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pump of an unencrypted connection, which uses splice(2) if it is available."""

from __future__ import annotations

import socket

from counters import TO_CONSUMER, TO_PRODUCER
from pump import COPY_SIZE, Broken, Flow, Pump
from splice import UNSUPPORTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pipe_pool import Pipe
    from pump import Leg, Wake, WorkerResources
    from token_bucket import TokenBucket

# Number of operations in one turn of a direction.
ROUNDS = 16


class PlainFlow(Flow):
    """One direction. Its bytes never leave the kernel: they are in a pipe, or still in the source's socket."""

    __slots__ = ("_held", "_pipe")

    def __init__(
        self, source: Leg, destination: Leg, resources: WorkerResources, counter: int, bucket: TokenBucket, wake: Wake
    ) -> None:
        super().__init__(source, destination, resources, counter, bucket, wake)
        self._pipe: Pipe | None = None
        self._held = 0  # bytes in the pipe

    def turn(self) -> bool:
        source, destination, resources = self.source, self._destination, self._resources
        splice, bucket, pipe = resources.splice, self._bucket, self._pipe
        for _unused in range(ROUNDS):
            held = self._held
            if held:
                if not destination.writable or splice is None or pipe is None:
                    return False
                try:
                    sent = splice(pipe.output, destination.fd, held)
                except OSError as error:
                    self._not_sent(error)
                    return False
                self._held = held - sent
                self._delivered(sent)
                if sent < held:
                    continue
            # The pipe is empty here, so EAGAIN refers to the source.
            if self.ended:
                self._rest()
                self._finish()
                return False
            if not source.readable or not destination.writable or destination.gone:
                self._rest()
                return False
            count = resources.pool.size
            if bucket.rate:
                count = self._allowed(count)
                if not count:
                    self._rest()
                    return False
            if splice is None or source.urgent or (pipe is None and not self._take_pipe()):
                if not self._copy(count):
                    self._rest()
                    return False
                continue
            pipe = self._pipe
            try:
                held = splice(source.fd, pipe.input, count)  # type: ignore[union-attr]
            except BlockingIOError:
                source.readable = False
                self._rest()
                return False
            except OSError as error:
                if error.errno not in UNSUPPORTED:
                    raise Broken(source, error.strerror) from None
                resources.copy_from_now_on(error)
                splice = None
                continue
            if not held:
                self.ended = True
                continue
            self._held = held
            if bucket.rate:
                bucket.spend(held)
            # So little does not fill a pipe: there was no more, and what follows is another event. Small messages need
            # no further call then.
            if held < pipe.slots and held < count and not source.ending:  # type: ignore[union-attr]
                source.readable = False
        return True

    def _take_pipe(self) -> bool:
        if self._pipe is None:
            try:
                self._pipe = self._resources.pool.take()
            except OSError:
                return False  # No descriptors are left, or only tiny pipes.
        return True

    def _not_sent(self, error: OSError) -> None:
        self._destination.not_sent(error)
        if self._destination.gone:
            self.close()

    def _copy(self, count: int) -> bool:
        """Move bytes without splice: peek at them, send them, then remove what was sent from the source.

        So nothing has to be stored if the destination accepts only a part.
        """
        source, destination, buffer = self.source, self._destination, self._resources.buffer()
        got = source.receive(buffer, min(count, COPY_SIZE), socket.MSG_PEEK)
        if got is None:
            return False
        if not got:
            self.ended = True
            return True
        try:
            sent = destination.sock.send(buffer[:got])
        except OSError as error:
            self._not_sent(error)
            return False
        source.sock.recv_into(buffer, sent, socket.MSG_TRUNC)
        self._bucket.spend(sent)
        self._delivered(sent)
        return True

    def _rest(self) -> None:
        if self._pipe is not None:
            self._resources.pool.give(self._pipe)
            self._pipe = None

    def close(self) -> None:
        if self._held and self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        self._held = 0
        self._rest()


class PlainPump(Pump):
    def __init__(
        self, client: Leg, target: Leg, resources: WorkerResources, limits: tuple[TokenBucket, TokenBucket], wake: Wake
    ) -> None:
        up = PlainFlow(client, target, resources, TO_PRODUCER, limits[0], wake)
        super().__init__(up, PlainFlow(target, client, resources, TO_CONSUMER, limits[1], wake), first=up)
