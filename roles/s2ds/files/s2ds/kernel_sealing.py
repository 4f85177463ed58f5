# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The direction to the encrypted leg, for which the kernel encrypts."""

from __future__ import annotations

import contextlib
import socket

import kernel_tls
from plain_pump import PlainFlow
from pump import Broken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kernel_tls import Outflow
    from pump import Leg, Wake, WorkerResources
    from timers import Timer, Timers
    from token_bucket import TokenBucket

# First and longest interval for checking whether TCP has everything.
OUTFLOW_STEP, OUTFLOW_STEP_MAX = 0.01, 0.32


class KernelSealing(PlainFlow):
    """The direction to the encrypted leg."""

    __slots__ = ("_answer_due", "_notified", "_outflow", "_renew_after", "_renew_at", "_step", "_timer", "_timers")

    def __init__(
        self,
        outflow: Outflow,
        source: Leg,
        destination: Leg,
        resources: WorkerResources,
        counter: int,
        bucket: TokenBucket,
        wake: Wake,
        timers: Timers,
        renew_after: int | None = None,
    ) -> None:
        """Create a flow that changes its key after so many bytes, or never by itself."""
        super().__init__(source, destination, resources, counter, bucket, wake)
        self._outflow = outflow
        self._renew_after = renew_after
        self._renew_at = renew_after
        self._answer_due = False
        self._notified = False
        self._timers = timers
        self._timer: Timer | None = None
        self._step = OUTFLOW_STEP

    def turn(self) -> bool:
        if self._renew_at is not None and self.moved >= self._renew_at:
            self._answer_due = True
        if self._answer_due and not self._notified and not self._answer():
            return False
        return super().turn()

    def renew(self) -> None:
        """Answer the peer's request for new keys. One answer suits several requests."""
        self._answer_due = True
        self._wake()

    def _answer(self) -> bool:
        if not self._control(kernel_tls.HANDSHAKE, kernel_tls.KEY_UPDATE):
            return False
        self._answer_due = False
        try:
            self._outflow.renew()
        except OSError as error:
            raise no_new_keys(self._destination, error) from None
        if self._renew_after is not None:
            self._resources.log.line(f"{self._destination.name} changes its key after {self.moved} bytes")
            self._renew_at = self.moved + self._renew_after
        return True

    def _control(self, kind: int, message: bytes) -> bool:
        destination = self._destination
        if not destination.writable or destination.gone:
            return False
        try:
            self._outflow.send_control(kind, message)
        except OSError as error:
            self._not_sent(error)
            return False
        return True

    def _not_sent(self, error: OSError) -> None:
        if isinstance(error, ConnectionResetError):
            # The stream of the peer may be complete, as close_notify shows, so continue reading.
            self._destination.gone = True
            self.close()
            return
        super()._not_sent(error)
        if isinstance(error, BlockingIOError):
            self._push()

    def _push(self) -> None:
        """Have TCP send what it has.

        Kernels before 6.5 hold back records while more of the pipe follows. If they fill the socket's buffer, it would
        never become writable. Setting this option again sends them.
        """
        with contextlib.suppress(OSError):
            self._destination.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _finish(self) -> None:
        """Send close_notify, and shut the connection down when TCP has everything."""
        if self.finished or self._destination.gone:
            return
        if not self._notified:
            if not self._control(kernel_tls.ALERT, kernel_tls.CLOSE_NOTIFY):
                return
            self._notified = True
        try:
            done = self._outflow.is_in_tcp(self.moved)
        except OSError:
            self._destination.gone = True
            return
        if done:
            super()._finish()
        elif self._timer is None:
            self._timer = self._timers.after(self._step, self._look_again)
            self._step = min(2 * self._step, OUTFLOW_STEP_MAX)

    def _look_again(self) -> None:
        self._timer = None
        self._wake()

    def close(self) -> None:
        super().close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def no_new_keys(leg: Leg, error: OSError) -> Broken:
    return Broken(leg, f"new keys, which this kernel does not take in a connection: {error.strerror}")
