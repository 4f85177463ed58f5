# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moving the bytes of one connection.

A pump has two legs (sockets) and does turn() whenever one of them had an event. Events are
edge-triggered: a leg is `readable` and `writable` until a call says that it is not (EAGAIN).
Other kinds of pumps can stand in by the same interface: turn(), lost, delivered(), moved(), close().

On resets. The kernel tells the error of a socket once; after that, reading from it gives an end of
stream as if nothing had happened. So:
  * SO_ERROR of an established socket is never read: only reading and writing tell what happened.
  * A write that fails with EPIPE tells of a reset that came after the peer's end of stream. What the
    peer sent is whole and is still delivered. Any other error breaks the connection on both sides.
"""

from __future__ import annotations

import socket
from select import EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP

from counters import TO_CONSUMER, TO_PRODUCER
from splice import UNSUPPORTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from log import Log
    from pool import Pipe, Pool
    from rate import Bucket
    from splice import Splice

    Wake = Callable[[], None]

READABLE = EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET

# What a turn says: there may be more to move at once; nothing to do before the next event; both directions
# ended in good order; one leg was reset after the end of its stream, so that it takes no more, while what
# it sent is still to be delivered.
AGAIN, WAIT, FINISHED, LOST = range(4)

# Operations of one direction before the others have their turn.
ROUNDS = 16
COPY_SIZE = 1 << 20


class Broken(Exception):
    """A leg broke off: not by an end of stream."""

    def __init__(self, leg: Leg, error: OSError) -> None:
        super().__init__(f"{leg.name}: {error.strerror}")


class Leg:
    __slots__ = ("_modify", "error", "fd", "gone", "name", "readable", "sock", "urgent", "writable")

    def __init__(self, name: str, sock: socket.socket, modify: Callable[[int, int], None]) -> None:
        """`modify` is that of the epoll object which watches the socket for READABLE."""
        self.name = name
        self.sock = sock
        self.fd = sock.fileno()
        self._modify = modify
        self.readable = self.writable = True
        self.error = False  # an event told of an error; reading or writing will tell which
        self.gone = False  # nothing can be sent to it any more
        self.urgent = False  # there is urgent data, at which splice would stop for ever

    def full(self) -> None:
        """It takes no more now. Only now it is watched for being writable: else each arrival of bytes were an event."""
        self.writable = False
        self._modify(self.fd, READABLE | EPOLLOUT)

    def event(self, mask: int) -> None:
        if mask & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP):
            self.readable = True
        if mask & (EPOLLOUT | EPOLLERR | EPOLLHUP) and not self.writable:
            self.writable = True
            self._modify(self.fd, READABLE)
        if mask & EPOLLERR:
            self.error = True
        if mask & EPOLLPRI:
            self.readable = self.urgent = True


class Means:
    """What all connections of a worker share."""

    def __init__(self, splice: Splice | None, pool: Pool, counters: memoryview, log: Log) -> None:
        self.splice = splice
        self._log = log
        self.pool = pool
        self.counters = counters
        self._buffer: memoryview | None = None

    def copy_from_now_on(self, error: OSError) -> None:
        self.splice = None
        self._log.line(f"splice is not to be had here ({error.strerror}): copying, which is slower")

    def buffer(self) -> memoryview:
        if self._buffer is None:
            self._buffer = memoryview(bytearray(COPY_SIZE))
        return self._buffer


class Flow:
    """One direction. Its bytes never leave the kernel: they are in a pipe or still in the source's socket."""

    __slots__ = (
        "_bucket",
        "_counter",
        "_destination",
        "_held",
        "_means",
        "_pipe",
        "_wake",
        "ended",
        "finished",
        "moved",
        "source",
    )

    def __init__(self, source: Leg, destination: Leg, means: Means, counter: int, bucket: Bucket, wake: Wake) -> None:
        self.source = source
        self._destination = destination
        self._means = means
        self._counter = counter
        self._bucket = bucket
        self._wake = wake
        self._pipe: Pipe | None = None
        self._held = 0  # bytes in the pipe
        self.moved = 0
        self.ended = False  # the source's end of stream was seen
        self.finished = False  # and was passed on, after all bytes

    def turn(self) -> bool:
        """Move what can be moved; True if there may be more at once."""
        source, destination, means = self.source, self._destination, self._means
        splice = means.splice
        for _unused in range(ROUNDS):
            held = self._held
            if held:
                if not destination.writable or splice is None or self._pipe is None:
                    return False
                try:
                    sent = splice(self._pipe.output, destination.fd, held)
                except OSError as error:
                    self._not_sent(error)
                    return False
                self._held = held - sent
                self.moved += sent
                means.counters[self._counter] += sent
                if sent < held:
                    continue
            # The pipe is empty from here on, so EAGAIN speaks of the source and not of the pipe.
            if self.ended:
                self._finish()
                return False
            if not source.readable or not destination.writable or destination.gone:
                self._rest()
                return False
            count = means.pool.size
            if self._bucket.rate:
                count = self._bucket.allow(count, self._wake)
                if not count:
                    self._rest()
                    self._bucket.wait(self._wake)
                    return False
            if splice is None or source.urgent or not self._take_pipe():
                if not self._copy(count):
                    self._rest()
                    return False
                continue
            try:
                self._held = splice(source.fd, self._pipe.input, count)  # type: ignore[union-attr]
            except BlockingIOError:
                source.readable = False
                self._rest()
                return False
            except OSError as error:
                if error.errno not in UNSUPPORTED:
                    raise Broken(source, error) from None
                means.copy_from_now_on(error)
                splice = None
                continue
            if self._held:
                self._bucket.spend(self._held)
            else:
                self.ended = True
        return True

    def _take_pipe(self) -> bool:
        if self._pipe is None:
            try:
                self._pipe = self._means.pool.take()
            except OSError:
                return False  # No descriptors left, or only tiny pipes.
        return True

    def _not_sent(self, error: OSError) -> None:
        destination = self._destination
        if isinstance(error, BlockingIOError):
            destination.full()
        elif isinstance(error, BrokenPipeError):
            destination.gone = True
            self.close()
        else:
            raise Broken(destination, error) from None

    def _copy(self, count: int) -> bool:
        """Without splice: look at the bytes, send them, then drop from the source what was sent.

        So nothing has to be kept for a destination that takes only a part.
        """
        source, destination, buffer = self.source, self._destination, self._means.buffer()
        try:
            got = source.sock.recv_into(buffer, min(count, COPY_SIZE), socket.MSG_PEEK)
        except BlockingIOError:
            source.readable = False
            return False
        except OSError as error:
            raise Broken(source, error) from None
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
        self.moved += sent
        self._means.counters[self._counter] += sent
        return True

    def _finish(self) -> None:
        if self.finished or self._destination.gone:
            return
        self._rest()
        try:
            self._destination.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._destination.gone = True
        else:
            self.finished = True

    def _rest(self) -> None:
        if self._pipe is not None:
            self._means.pool.give(self._pipe)
            self._pipe = None

    def close(self) -> None:
        if self._held and self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        self._held = 0
        self._rest()


class PlainPump:
    """Bytes go through as they are."""

    def __init__(self, client: Leg, target: Leg, means: Means, limits: tuple[Bucket, Bucket], wake: Wake) -> None:
        self._up = Flow(client, target, means, TO_PRODUCER, limits[0], wake)
        self._down = Flow(target, client, means, TO_CONSUMER, limits[1], wake)
        self.lost: Leg | None = None

    def turn(self) -> int:
        up, down = self._up, self._down
        again = up.turn()
        if down.turn() or again:
            return AGAIN
        if up.finished and down.finished:
            return FINISHED
        if up.source.error or down.source.error or up.source.gone or down.source.gone:
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
