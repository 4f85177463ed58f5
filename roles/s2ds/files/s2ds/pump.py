# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moving the bytes of one connection: the common parts of all pumps.

A pump has two legs (sockets). Its turn() is called whenever one of them had an event. Events are edge-triggered: a leg
is `readable` and `writable` until a call fails with EAGAIN.

The kernel reports the error of a socket once. Afterwards, reading from it returns an end of stream as if nothing had
happened. Therefore:

* SO_ERROR of an established socket is never read: only reading and writing detect errors. * A write that fails with
EPIPE indicates a reset after the end of the peer's stream. The stream of the peer is complete and is still delivered.
Any other error breaks the connection on both sides.
"""

from __future__ import annotations

import socket
from select import EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from log import Log
    from pipe_pool import PipePool
    from splice import Splice
    from token_bucket import TokenBucket

    Wake = Callable[[], None]

READABLE = EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET

# Results of a turn: there may be more to move; nothing to do until the next event; both directions ended in good
# order; one leg was reset after the end of its stream, so that it accepts no more bytes, but its stream has yet to be
# delivered.
AGAIN, WAIT, FINISHED, LOST = range(4)

COPY_SIZE = 1 << 20


class Broken(Exception):
    """A leg ended without an end of stream."""

    def __init__(self, leg: Leg, reason: str | None) -> None:
        super().__init__(f"{leg.name}: {reason}")


class Refusal(Exception):
    """The two ends of an encrypted leg do not trust each other, or have no protocol in common."""


class Leg:
    __slots__ = ("_modify", "ending", "error", "fd", "gone", "name", "readable", "sock", "urgent", "writable")

    def __init__(self, name: str, sock: socket.socket, modify: Callable[[int, int], None]) -> None:
        """Create a leg. `modify` is the method of the epoll object that watches the socket for READABLE."""
        self.name = name
        self.sock = sock
        self.fd = sock.fileno()
        self._modify = modify
        self.readable = self.writable = True
        self.ending = False  # an event reported the end of its stream, or an error, which was not necessarily read yet
        self.error = False  # an event reported an error, which reading or writing will return
        self.gone = False  # nothing more can be sent to it
        self.urgent = False  # there is urgent data, at which splice would stop forever

    def full(self) -> None:
        """Record that it is full, and watch it for being writable. Otherwise each acknowledgement would be an event."""
        self.writable = False
        self._modify(self.fd, READABLE | EPOLLOUT)

    def event(self, mask: int) -> None:
        if mask & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP):
            self.readable = True
        if mask & (EPOLLOUT | EPOLLERR | EPOLLHUP) and not self.writable:
            self.writable = True
            self._modify(self.fd, READABLE)
        if mask & (EPOLLRDHUP | EPOLLERR | EPOLLHUP):
            self.ending = True
        if mask & EPOLLERR:
            self.error = True
        if mask & EPOLLPRI:
            self.readable = self.urgent = True

    def receive(self, buffer: memoryview, count: int, flags: int = 0) -> int | None:
        """Return the number of bytes received, 0 at the end of the stream, or None if there are none now."""
        try:
            return self.sock.recv_into(buffer, count, flags)
        except BlockingIOError:
            self.readable = False
            return None
        except OSError as error:
            raise Broken(self, error.strerror) from None

    def not_sent(self, error: OSError) -> None:
        """Handle a failed write: the leg is full, gone, or broken."""
        if isinstance(error, BlockingIOError):
            self.full()
        elif isinstance(error, BrokenPipeError):
            self.gone = True
        else:
            raise Broken(self, error.strerror) from None


class WorkerResources:
    """Resources that all connections of a worker share."""

    def __init__(self, splice: Splice | None, pool: PipePool, counters: memoryview, log: Log) -> None:
        self.splice = splice
        self.log = log
        self.pool = pool
        self.counters = counters
        self._buffer: memoryview | None = None

    def copy_from_now_on(self, error: OSError) -> None:
        self.splice = None
        self.log.line(f"splice is not available ({error.strerror}): copying, which is slower")

    def buffer(self) -> memoryview:
        if self._buffer is None:
            self._buffer = memoryview(bytearray(COPY_SIZE))
        return self._buffer


class Flow:
    """One direction of a connection."""

    __slots__ = (
        "_bucket",
        "_counter",
        "_destination",
        "_resources",
        "_wake",
        "ended",
        "finished",
        "moved",
        "source",
    )

    def __init__(
        self, source: Leg, destination: Leg, resources: WorkerResources, counter: int, bucket: TokenBucket, wake: Wake
    ) -> None:
        self.source = source
        self._destination = destination
        self._resources = resources
        self._counter = counter
        self._bucket = bucket
        self._wake = wake
        self.moved = 0
        self.ended = False  # the source's stream has ended
        self.finished = False  # and its end was passed on, after all bytes

    def turn(self) -> bool:
        """Move available bytes. Returns True if there may be more."""
        raise NotImplementedError

    def close(self) -> None:
        """Release all resources. Bytes that have not been delivered are lost."""
        raise NotImplementedError

    def _allowed(self, wanted: int) -> int:
        """Return how many bytes the session's rate allows now. If 0, `wake` will be called."""
        if not self._bucket.rate:
            return wanted
        count = self._bucket.allow(wanted, self._wake)
        if not count:
            self._bucket.wait(self._wake)
        return count

    def _delivered(self, count: int) -> None:
        self.moved += count
        self._resources.counters[self._counter] += count

    def _finish(self) -> None:
        """Pass on the end of the stream, once."""
        if self.finished or self._destination.gone:
            return
        try:
            self._destination.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._destination.gone = True
        else:
            self.finished = True


class Pump:
    def __init__(self, up: Flow, down: Flow, first: Flow) -> None:
        self._up = up
        self._down = down
        self._order = (first, down if first is up else up)
        self.lost: Leg | None = None

    def turn(self) -> int:
        first, second = self._order
        again = first.turn()
        if second.turn() or again:
            return AGAIN
        if first.finished and second.finished:
            return FINISHED
        if first.source.error or second.source.error or first.source.gone or second.source.gone:
            return self._look_for_lost()
        return WAIT

    def _look_for_lost(self) -> int:
        for flow in (self._up, self._down):
            leg = flow.source
            if leg.gone or (leg.error and flow.ended):
                leg.gone = True
                self.lost = leg
                return LOST
        return WAIT

    def delivered(self, leg: Leg) -> bool:
        """The end of the stream of this leg was passed on."""
        return self._up.finished if self._up.source is leg else self._down.finished

    def moved(self) -> tuple[int, int]:
        """Bytes to the producer and to the consumer."""
        return self._up.moved, self._down.moved

    def close(self) -> None:
        self._up.close()
        self._down.close()
