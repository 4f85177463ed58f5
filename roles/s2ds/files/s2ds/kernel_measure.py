# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measuring what encryption costs on this host, in the kernel and with OpenSSL, on a pair of sockets.

The flows of real connections move real bytes, which are compared. Only processor time counts, so other work on the host
hardly matters.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time

from counters import Counters
from encrypted_pump import channel_of, pump_of
from encryption import KERNEL, USER_SPACE
from kernel_channel import KernelTls
from pipe_pool import PipePool
from pump import Broken, Leg, Refusal, WorkerResources
from timers import Timers, now
from tls_context import BLOCK as FREED
from tls_context import CHUNK, ROOM, TlsContext, load_key_pair
from token_bucket import TokenBucket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from log import Log
    from pump import Pump
    from splice import Splice
    from tls_channel import Channel

ROUNDS = 5
BLOCK = 1 << 20
BLOCKS = 4  # for each way in a round
SECONDS = 10.0  # for each way in a round
# On a slow or busy host, fewer rounds have to do.
ENOUGH_SECONDS = 1.0
GB = 1e9
NAMES = ("client", "target", "client", "target")


class MeasureError(Exception):
    pass


class End(TlsContext):
    """A context that authenticates nobody, for this measurement alone."""

    def __init__(self, accepts: bool, certificate: str, key: str) -> None:
        self.accepts = accepts
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if accepts else ssl.PROTOCOL_TLS_CLIENT)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        # The certificate that is expected, so there is none from the other end.
        self.peer = None if accepts else ssl.PEM_cert_to_DER_cert(certificate)  # type: ignore[assignment]
        if accepts:
            self.context.num_tickets = 0
            load_key_pair(self.context, certificate, key)
        bytes(FREED)  # as in a worker
        self.input = memoryview(bytearray(CHUNK))
        self.output = memoryview(bytearray(ROOM))


def measure(certificate: str, key: str, splice: Splice | None, log: Log) -> dict[str, dict[str, float]]:
    """Return the processor time for each GB: by direction, with the kernel and with OpenSSL.

    Raises:
        MeasureError: That is not possible, or the kernel does not do what OpenSSL does.
    """
    kernel = KernelTls(log)
    costs: dict[str, dict[str, float]] = {"sending": {}, "receiving": {}}
    end = now() + ENOUGH_SECONDS
    for number in range(ROUNDS):
        if number and now() > end:
            break
        for name in (KERNEL, USER_SPACE):
            try:
                ends = (End(True, certificate, key), End(False, certificate, key))
                sending, receiving = Track(ends, kernel if name == KERNEL else None, splice, log).run()
            except OSError as error:
                raise MeasureError(error.strerror or str(error)) from None
            for direction, cost in (("sending", sending), ("receiving", receiving)):
                costs[direction][name] = min(cost, costs[direction].get(name, cost))
    return costs


class Track:
    """Bytes from one end to the other: plain, encrypted, and plain again."""

    def __init__(self, ends: tuple[End, End], kernel: KernelTls | None, splice: Splice | None, log: Log) -> None:
        self._resources = WorkerResources(splice, PipePool(BLOCK), Counters(1).block(0), log)
        self._timers = Timers()
        self._limits = (TokenBucket(self._timers), TokenBucket(self._timers))
        self._sockets: list[socket.socket] = []
        self._begin, first = self._pair()
        middle = self._pair()
        last, self._end = self._pair()
        # The encrypted leg of the gateway that accepts is its client, that of the other one is its target.
        self._legs = [Leg(name, sock, _ignore) for name, sock in zip(NAMES, (middle[0], first, last, middle[1]))]
        self._channels = [self._channel(*pair, kernel) for pair in zip(ends, (self._legs[0], self._legs[3]))]
        self._ends = ends
        self._kernel = kernel is not None

    def run(self) -> tuple[float, float]:
        """Return the processor time for each GB of encrypting, and of decrypting."""
        try:
            self._shake()
            sender = self._pump(0)
            receiver = self._pump(1)
            return self._transfer(sender, receiver)
        except (Broken, Refusal) as error:
            raise MeasureError(str(error)) from None
        finally:
            for sock in self._sockets:
                sock.close()

    def _pair(self) -> tuple[socket.socket, socket.socket]:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            one = socket.create_connection(listener.getsockname(), timeout=SECONDS)
            other, _address = listener.accept()
        for sock in (one, other):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.append(sock)
        return one, other

    @staticmethod
    def _channel(end: End, leg: Leg, kernel: KernelTls | None) -> Channel:
        if kernel is not None and not kernel.prepare():
            raise MeasureError("the kernel does not encrypt")
        return channel_of(end, leg, kernel, True, True)

    def _shake(self) -> None:
        limit = now() + SECONDS
        left = list(self._channels)
        while left:
            self._ready()
            left = [channel for channel in left if not (channel.shake() and channel.flush())]
            if now() > limit:
                raise MeasureError(f"no handshake within {SECONDS:g} s")

    def _pump(self, number: int) -> Pump:
        channel, (client, target) = self._channels[number], self._legs[2 * number : 2 * number + 2]
        encryption = channel.encryption()
        if self._kernel and not (encryption.sealed and encryption.opened):
            raise MeasureError("the kernel does not take the keys")
        shared = (self._resources, self._limits)
        return pump_of(channel, self._ends[number].input, client, target, *shared, _ignore, self._timers)

    def _transfer(self, sender: Pump, receiver: Pump) -> tuple[float, float]:
        block, room = memoryview(os.urandom(BLOCK)), memoryview(bytearray(BLOCK))
        limit = now() + SECONDS
        sending = receiving = 0.0
        for _unused in range(BLOCKS):
            sent = got = 0
            while got < BLOCK:
                if now() > limit:
                    raise MeasureError(f"{BLOCKS} MiB take more than {SECONDS:g} s")
                with contextlib.suppress(BlockingIOError):
                    sent += self._begin.send(block[sent:]) if sent < BLOCK else 0
                sending += self._turn(sender)
                receiving += self._turn(receiver)
                with contextlib.suppress(BlockingIOError):
                    got += self._end.recv_into(room[got:])
            if room != block:
                raise MeasureError("decrypted bytes differ from the ones that were encrypted")
        amount = BLOCKS * BLOCK / GB
        return sending / amount, receiving / amount

    def _turn(self, pump: Pump) -> float:
        self._ready()
        before = time.process_time()
        pump.turn()
        return time.process_time() - before

    def _ready(self) -> None:
        """Have all sockets tried, as there are no events here."""
        for leg in self._legs:
            leg.readable = leg.writable = True


def _ignore(*_unused: int) -> None:
    pass
