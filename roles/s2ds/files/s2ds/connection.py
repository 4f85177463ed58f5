# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One connection, from the accepted client to the target, until both are closed."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import termios
from select import EPOLLOUT

from counters import ADMITTED, CLOSED, ENCRYPTION, FAILED, LEFT, REFUSED
from plain_pump import PlainPump
from pump import AGAIN, FINISHED, LOST, READABLE, Broken, Leg, Refusal
from sockets import ORDERLY, outgoing, text
from timers import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from pump import Pump
    from timers import Timer
    from tls_channel import Channel
    from worker_interface import Worker

# Interval for checking whether the last bytes have arrived, and maximum time without progress.
DRAIN_STEP = 0.02
DRAIN_SECONDS = 30.0


class Connection:
    def __init__(self, worker: Worker, job: dict[str, Any], sock: socket.socket) -> None:
        self._worker = worker
        self._job = job
        self._client = Leg("client", sock, worker.modify)
        self._target: Leg | None = None
        self._tls = worker.tls
        self._channel: Channel | None = None
        self._early = b""  # decrypted before there was a pump
        self._step: Callable[[], bool] = self._connected
        self._pump: Pump | None = None
        self._timer: Timer | None = None
        self._since = now()
        self._drain_mark: tuple[int, ...] = ()
        self._drain_since = 0.0
        self._queued = False
        self._admitted = False
        self._closed = False
        self.wake = self._wake  # a single object, which identifies the connection in the buckets

    def start(self) -> None:
        self._worker.watch(self._client.fd, self, READABLE)
        if self._tls is not None and self._tls.accepts:
            self._worker.handshakes.add(self, self._job["peer"][0])
            self._shake_hands(self._client)
        else:
            self._admit()

    def _admit(self) -> None:
        """Connect to the target, as the client is allowed to use it."""
        limit = self._job["max_connections"]
        self._worker.handshakes.remove(self)
        self._admitted = self._worker.admit(limit)
        if self._admitted:
            self._connect()
        else:
            self._refuse(f"more than {limit} connections")

    def _connect(self) -> None:
        job = self._job
        self._step = self._connected
        try:
            multipath = job["multipath"] == "connect"
            sock = outgoing(tuple(job["target"]), job["source"], job["congestion"], multipath)
            self._target = Leg("target", sock, self._worker.modify)
            self._target.writable = False  # until it is connected
            code = sock.connect_ex(tuple(job["target"]))
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
            self._worker.watch(self._target.fd, self, READABLE | EPOLLOUT)
        except OSError as error:
            self._fail(f"target: {error.strerror or error}")
            return
        self._limit_time("target: no connection")

    def event(self, fd: int, mask: int) -> None:
        leg = self._client
        if fd != leg.fd:
            if self._target is None:
                return
            leg = self._target
        leg.event(mask)
        self._wake()

    def _wake(self) -> None:
        if not self._queued and not self._closed:
            self._queued = True
            self._worker.ready.append(self)

    def turn(self) -> None:
        self._queued = False
        if self._closed:
            return
        if self._pump is None and not self._step():
            return
        pump = self._pump
        if pump is None:
            raise RuntimeError(f"{self}: its last step finished, but it has no pump")
        try:
            state = pump.turn()
        except Broken as broken:
            self.close(str(broken))
            return
        if state == AGAIN:
            self._wake()
        elif state == FINISHED:
            self.close("end of stream", orderly=True)
        elif state == LOST and self._timer is None and pump.lost is not None:
            self._drain_since = now()
            self._drain(pump.lost)

    def _connected(self) -> bool:
        """Return True once bytes may flow."""
        target = self._target
        if self._client.error:
            self._fail("client: reset while connecting")
        elif target is not None and target.writable:
            code = target.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._fail(f"target: {os.strerror(code)}")
                return False
            target.error = False
            target.readable = True
            if self._tls is None or self._channel is not None:
                self._open(target)
                return True
            self._shake_hands(target)
        return False

    def _shake_hands(self, leg: Leg) -> None:
        """Authenticate both ends of the encrypted leg, before anything else is sent over it."""
        if self._tls is None:
            raise RuntimeError(f"{self}: handshake of an unencrypted connection")
        from encrypted_pump import channel_of

        sealing, opening = self._job["kernel_tls"]
        kernel = self._worker.kernel_tls() if sealing or opening else None
        self._channel = channel_of(self._tls, leg, kernel, sealing, opening)
        self._step = self._authenticated
        self._limit_time(f"{leg.name}: no handshake")
        self._wake()

    def _authenticated(self) -> bool:
        channel, target = self._channel, self._target
        if channel is None:
            raise RuntimeError(f"{self}: authenticated without a TLS channel")
        if target is not None and self._client.error:
            self._fail("client: reset while connecting")
            return False
        try:
            if not channel.shake():
                if target is None and channel.answered:
                    self._worker.handshakes.answered(self)
                return False
        except Refusal as refusal:
            self._refuse(f"{channel.leg.name}: {refusal}")
            return False
        except (Broken, OSError) as error:
            why = str(error) if isinstance(error, Broken) else f"{channel.leg.name}: {error.strerror}"
            self._fail(why) if target is not None else self._leave(why)
            return False
        if target is None:
            self._admit()
            return False
        self._open(target)
        return True

    def _open(self, target: Leg) -> None:
        worker = self._worker
        self._stop_timer()
        if self._tls is None or self._channel is None:
            self._pump = PlainPump(self._client, target, worker.resources, worker.limits, self.wake)
        else:
            from encrypted_pump import pump_of

            legs = (self._client, target)
            shared = (worker.resources, worker.limits)
            self._pump = pump_of(self._channel, self._tls.input, *legs, *shared, self.wake, worker.timers, self._early)
            self._early = b""
            worker.resources.counters[ENCRYPTION] = self._channel.encryption().packed(self._job["id"])
        for index, leg in enumerate((self._client, target)):
            worker.path_settings.adapt(self._job["id"], index, leg.sock, self._job["congestion_fixed"][index])
        if self._job["multipath"]:
            leg = target if self._job["multipath"] == "connect" else self._client
            worker.paths().follow(self._job["id"], leg.sock)
        worker.log.line(f"open {self}")

    def _limit_time(self, what: str) -> None:
        self._stop_timer()
        seconds = self._job["timeout"]
        self._timer = self._worker.timers.after(seconds, lambda: self._late(f"{what} within {seconds:g} s"))

    def _late(self, what: str) -> None:
        self._timer = None
        if self._target is None:
            self._refuse(what)
        else:
            self._fail(what)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _drain(self, lost: Leg) -> None:
        """Deliver the stream of a leg that was reset after the end of its stream, then reset the other leg.

        The kernel reports no event when the last byte has arrived, so a timer checks for it.
        """
        self._timer = None
        target, pump = self._target, self._pump
        if target is None or pump is None:
            raise RuntimeError(f"{self}: drained before it was open")
        other = target if lost is self._client else self._client
        queue = self._queue(other)
        if pump.delivered(lost) and not queue:
            self.close(f"{lost.name}: reset after its end of stream")
            return
        mark = (*pump.moved(), queue)
        if mark != self._drain_mark:
            self._drain_mark = mark
            self._drain_since = now()
        elif now() - self._drain_since > DRAIN_SECONDS:
            self.close(f"{lost.name}: reset, and {other.name} took nothing for {DRAIN_SECONDS:g} s")
            return
        self._timer = self._worker.timers.after(DRAIN_STEP, lambda: self._drain(lost))

    def _queue(self, leg: Leg) -> int:
        """Return the number of bytes that the peer has not acknowledged, including one for the end of the stream."""
        answer = fcntl.ioctl(leg.fd, termios.TIOCOUTQ, b"\0\0\0\0")
        return int(struct.unpack("i", answer)[0])

    def with_one_key(self) -> int:
        """Return how many bytes of its busier direction one key has encrypted, 0 if keys are changed in time."""
        if self._pump is None or self._channel is None or self._channel.key_update:
            return 0
        return max(self._pump.moved())

    def _fail(self, reason: str) -> None:
        self._worker.resources.counters[FAILED] += 1
        self._worker.log.line(f"failed {self} reason={reason!r}")
        self._end()

    def _refuse(self, reason: str) -> None:
        self._worker.resources.counters[REFUSED] += 1
        self._worker.refusals.line(f"{self} reason={reason!r}")
        self._end()

    def _leave(self, reason: str) -> None:
        """End without counting the client: nobody refused it, and it did not arrive either."""
        self._worker.resources.counters[LEFT] += 1
        self._worker.refusals.line(f"{self} reason={reason!r}")
        self._end()

    def give_way(self) -> None:
        self._refuse("too many handshakes at the same time")

    def close(self, reason: str, orderly: bool = False) -> None:
        if self._closed:
            return
        if orderly and self._target is not None:
            # So the kernel sends what is left, instead of a reset.
            for leg in (self._client, self._target):
                leg.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ORDERLY)
        up, down = self._pump.moved() if self._pump is not None else (0, 0)
        seconds = now() - self._since
        self._worker.log.line(
            f"close {self} to_producer={up} to_consumer={down} seconds={seconds:.3f} reason={reason!r}"
        )
        self._end()

    def _end(self) -> None:
        self._closed = True
        self._stop_timer()
        if self._pump is not None:
            self._pump.close()
        # Frees OpenSSL's memory immediately, not when the garbage is collected.
        self._pump = self._channel = None
        for leg in (self._client, self._target):
            if leg is not None:
                self._worker.forget(leg.fd)
                leg.sock.close()
        self._worker.handshakes.remove(self)
        if self._admitted:
            self._worker.resources.counters[ADMITTED] -= 1
        self._worker.resources.counters[CLOSED] += 1

    def __str__(self) -> str:
        job = self._job
        return f"#{job['id']} {text(job['peer'])} -> {job['listener']} -> {text(job['target'])}"
