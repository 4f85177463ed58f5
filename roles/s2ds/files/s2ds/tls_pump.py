# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pump of a connection with one encrypted leg: it encrypts one direction and decrypts the other.

A stream has only ended in good order if the peer sent close_notify. The end of the TCP connection alone could be caused
by anyone, so it breaks the connection.
"""

from __future__ import annotations

from counters import TO_CONSUMER, TO_PRODUCER
from pump import Broken, Flow, Pump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pump import Leg, Wake, WorkerResources
    from tls_channel import Channel
    from token_bucket import TokenBucket

# Number of operations in one turn of a direction.
ROUNDS = 8


class Sealing(Flow):
    """The direction to the encrypted leg. The channel holds at most one chunk that is encrypted but not sent."""

    __slots__ = ("_channel", "_held", "_input", "_notified")

    def __init__(
        self,
        channel: Channel,
        source: Leg,
        buffer: memoryview,
        resources: WorkerResources,
        counter: int,
        bucket: TokenBucket,
        wake: Wake,
    ) -> None:
        super().__init__(source, channel.leg, resources, counter, bucket, wake)
        self._channel = channel
        self._input = buffer
        self._held = 0  # bytes of the application in the channel
        self._notified = False

    def turn(self) -> bool:
        source, destination, channel, buffer = self.source, self._destination, self._channel, self._input
        for _unused in range(ROUNDS):
            if self.finished or not channel.flush():
                return False
            if self._held:
                self._delivered(self._held)
                self._held = 0
            if self.ended:
                if self._notified:
                    self._finish()
                    return False
                self._notified = True
                channel.notify()
                continue
            if not source.readable or not destination.writable:
                return False
            count = self._allowed(len(buffer))
            if not count:
                return False
            got = source.receive(buffer, count)
            if got is None:
                return False
            if got:
                self._bucket.spend(got)
                channel.seal(buffer[:got])
                self._held = got
            else:
                self.ended = True
        return True

    def close(self) -> None:
        pass


class Opening(Flow):
    """The direction from the encrypted leg."""

    __slots__ = ("_begun", "_channel", "_held", "_input")

    def __init__(
        self,
        channel: Channel,
        destination: Leg,
        buffer: memoryview,
        resources: WorkerResources,
        counter: int,
        bucket: TokenBucket,
        wake: Wake,
        early: bytes = b"",
    ) -> None:
        super().__init__(channel.leg, destination, resources, counter, bucket, wake)
        self._channel = channel
        self._input = buffer
        self._held = memoryview(early)  # decrypted, but not yet sent
        self._begun = False

    def turn(self) -> bool:
        source, destination, channel, buffer = self.source, self._destination, self._channel, self._input
        for _unused in range(ROUNDS):
            if self._held:
                if not destination.writable or destination.gone:
                    return False
                self._held = self._send(self._held)
                if self._held:
                    return False
            if self.ended:
                self._finish()
                return False
            got: int | None = 0
            if self._begun:
                if not source.readable or not destination.writable or destination.gone:
                    return False
                count = self._allowed(len(buffer))
                if not count:
                    return False
                got = source.receive(buffer, count)
                if got is None:
                    return False
                if not got:
                    raise Broken(source, "reset" if source.gone else "end of stream without close_notify")
            # Otherwise, bytes that arrived with the end of the handshake are in the channel already.
            self._begun = True
            plain = channel.open(buffer[:got])
            self.ended = channel.ended
            if plain:
                self._bucket.spend(len(plain))
                left = self._send(plain)
                if left:
                    # All connections share the buffer.
                    self._held = memoryview(bytes(left))
                    return False
        return True

    def _send(self, plain: memoryview) -> memoryview:
        """Send the rest of the decrypted bytes."""
        destination = self._destination
        while plain:
            try:
                sent = destination.sock.send(plain)
            except OSError as error:
                destination.not_sent(error)
                break
            self._delivered(sent)
            plain = plain[sent:]
        return plain

    def close(self) -> None:
        self._held = memoryview(b"")


class TlsPump(Pump):
    def __init__(
        self,
        channel: Channel,
        client: Leg,
        target: Leg,
        buffer: memoryview,
        resources: WorkerResources,
        limits: tuple[TokenBucket, TokenBucket],
        wake: Wake,
        early: bytes = b"",
    ) -> None:
        up: Flow
        down: Flow
        if channel.leg is client:
            up = first = Opening(channel, target, buffer, resources, TO_PRODUCER, limits[0], wake, early)
            down = Sealing(channel, target, buffer, resources, TO_CONSUMER, limits[1], wake)
        else:
            up = Sealing(channel, client, buffer, resources, TO_PRODUCER, limits[0], wake)
            down = first = Opening(channel, client, buffer, resources, TO_CONSUMER, limits[1], wake, early)
        # First, because received bytes must be processed before the other direction may end.
        super().__init__(up, down, first)
