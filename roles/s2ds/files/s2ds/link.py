# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A connection between the gateways before it carries an application's: authenticated, but idle.

Once it is authenticated, the end that dialled sends ALIVE, and again at every heartbeat. When an application arrives,
the other end sends GO. The end that dialled connects to the target and answers OK, or NO if it cannot. After OK, the
bytes are the application's.
"""

from __future__ import annotations

import socket

from pump import Broken, Leg, Refusal
from sockets import ORDERLY, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from timers import Timer
    from tls_channel import Channel
    from tls_context import TlsContext
    from worker_interface import Worker

ALIVE, GO, OK, NO = b"\x01", b"\x02", b"\x03", b"\x04"
# Maximum number of bytes to read at once. Anything longer than a few signals is wrong.
PIECE = 64


class Link:
    """One end of such a connection. Its subclasses decide what happens in `ready`, `heard` and `lost`."""

    def __init__(self, worker: Worker, sock: socket.socket, address: tuple[str, int], name: str) -> None:
        """Create the end of a connection to a peer, whose leg has this name."""
        self.address = address
        self.leg = Leg(name, sock, worker.modify)
        self.tls: TlsContext | None = worker.tls
        self.channel: Channel | None = None
        self.closed = False
        self._worker = worker
        self._step: Callable[[], None] = self._listen
        self._timer: Timer | None = None
        self._queued = False

    def ready(self) -> None:
        """The peer is authenticated."""
        raise NotImplementedError

    def heard(self, signals: bytes) -> None:
        """The peer has sent something."""
        raise NotImplementedError

    def lost(self, reason: str, refused: bool = False) -> None:
        """The connection cannot be used, because of an error, or because the peer does not do as it should."""
        raise NotImplementedError

    def close(self, reason: str) -> None:
        """End it, as it is not needed any longer."""
        raise NotImplementedError

    def give_way(self) -> None:
        self.lost("too many handshakes at the same time", refused=True)

    def with_one_key(self) -> int:
        return 0

    def event(self, fd: int, mask: int) -> None:
        if fd == self.leg.fd:
            self.leg.event(mask)
            self.wake()

    def wake(self) -> None:
        if not self._queued and not self.closed:
            self._queued = True
            self._worker.ready.append(self)

    def turn(self) -> None:
        self._queued = False
        if self.closed:
            return
        try:
            self._step()
        except Refusal as refusal:
            self.lost(str(refusal), refused=True)
        except Broken as broken:
            self.lost(str(broken).partition(": ")[2])
        except OSError as error:
            self.lost(error.strerror or str(error))

    def shake_hands(self) -> None:
        """Authenticate both ends, if the connection is encrypted."""
        if self.tls is None:
            self._step = self._listen
            self.ready()
        else:
            from tls_channel import Channel

            self.channel = Channel(self.tls, self.leg)
            self._step = self._shake
        self.wake()

    def limit_time(self, seconds: float, action: Callable[[], None]) -> None:
        """Call a function after a time, instead of the one before."""
        self.stop_timer()
        self._timer = self._worker.timers.after(seconds, action)

    def stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def send(self, signal: bytes) -> None:
        """Send a signal.

        Raises:
            Broken: The connection is.
            OSError: It is.
        """
        if self.channel is None:
            self.leg.sock.send(signal)
        else:
            self.channel.seal(memoryview(signal))
            self.channel.flush()
            if self.leg.gone:
                raise Broken(self.leg, "reset")

    def receive(self, count: int = PIECE) -> bytes | None:
        """Return what has arrived, or None if that is nothing. At most `count` bytes, unless they are encrypted.

        Raises:
            Broken: The connection is, or its stream has ended.
        """
        return receive(self.leg, self.channel, self.tls, count)

    def pass_on(self) -> None:
        """Leave the socket and the channel to somebody else."""
        self.closed = True
        self.stop_timer()

    def decline(self) -> None:
        """Tell the other end that its application cannot be served, before the connection is closed."""
        decline(self.leg, self.channel)

    def end(self) -> None:
        self.closed = True
        self.stop_timer()
        self.channel = None
        self._worker.forget(self.leg.fd)
        self.leg.sock.close()
        self._worker.handshakes.remove(self)

    def _shake(self) -> None:
        channel = self.channel
        if channel is not None and channel.shake():
            # Its end would otherwise wait for the first bytes.
            channel.flush()
            self._step = self._listen
            self.ready()
            self.wake()

    def _listen(self) -> None:
        while not self.closed:
            signals = self.receive()
            if signals is None:
                return
            if signals:
                self.heard(signals)

    def __str__(self) -> str:
        return text(self.address)


def receive(leg: Leg, channel: Channel | None, tls: TlsContext | None, count: int) -> bytes | None:
    """Return signals of the other end, see `Link.receive`. They may be empty."""
    if channel is None or tls is None:
        room = bytearray(count)
        got = leg.receive(memoryview(room), count)
        if got == 0:
            raise Broken(leg, "closed")
        return None if got is None else bytes(room[:got])
    # What arrived with the end of the handshake is in the channel already.
    found = bytes(channel.open(tls.input[:0]))
    if not found and not channel.ended:
        got = leg.receive(tls.input, PIECE << 4)
        if got is None:
            return None
        if not got:
            raise Broken(leg, "closed")
        found = bytes(channel.open(tls.input[:got]))
    if channel.ended and not found:
        raise Broken(leg, "closed")
    return found


def decline(leg: Leg, channel: Channel | None) -> None:
    try:
        if channel is None:
            leg.sock.send(NO)
        else:
            channel.seal(memoryview(NO))
            channel.flush()
        # A reset could overtake it.
        leg.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ORDERLY)
    except (Broken, OSError):
        return
