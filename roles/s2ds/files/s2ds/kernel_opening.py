# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The direction from the encrypted leg, for which the kernel decrypts.

As in user space, only close_notify is the end of a stream.
"""

from __future__ import annotations

import errno
import os

import kernel_tls
from kernel_sealing import no_new_keys
from pump import COPY_SIZE, Broken, Flow
from splice import UNSUPPORTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from pipe_pool import Pipe
    from pump import Leg, Wake, WorkerResources
    from tls_keys import TrafficKeys
    from token_bucket import TokenBucket

# Number of operations in one turn.
ROUNDS = 8
# Alerts that are not errors.
CLOSE_NOTIFY, USER_CANCELED = 0, 90
# Messages that may follow the handshake.
NEW_SESSION_TICKET, KEY_UPDATE = 4, 24
MESSAGE_HEADER = 4
MAX_MESSAGE_SIZE = 1 << 14


class KernelOpening(Flow):
    """The direction from the encrypted leg.

    The kernel splices one record at a time, so records are collected in the pipe before they are passed on.
    """

    __slots__ = ("_held", "_keys", "_left", "_message", "_odd", "_pipe", "_renew_other")

    def __init__(
        self,
        keys: TrafficKeys,
        source: Leg,
        destination: Leg,
        resources: WorkerResources,
        counter: int,
        bucket: TokenBucket,
        wake: Wake,
    ) -> None:
        super().__init__(source, destination, resources, counter, bucket, wake)
        self._keys = keys
        self._renew_other: Callable[[], None] | None = None
        self._pipe: Pipe | None = None
        self._held = 0  # bytes in the pipe
        self._left = memoryview(b"")  # bytes that were copied and not yet sent
        self._message = b""  # the begin of a control message
        self._odd = False  # the next record cannot be spliced

    def answer_with(self, renew: Callable[[], None]) -> None:
        """Answer requests for new keys."""
        self._renew_other = renew

    def turn(self) -> bool:
        source, destination = self.source, self._destination
        for _unused in range(ROUNDS):
            if not self._deliver():
                return False
            # The pipe is empty here, so EAGAIN refers to the source.
            if self.ended:
                self._rest()
                self._finish()
                return False
            if not source.readable or not destination.writable or destination.gone:
                self._rest()
                return False
            count = self._allowed(self._resources.pool.size)
            if not count or not self._take(count):
                self._rest()
                return False
        return True

    def _deliver(self) -> bool:
        """Pass on what was taken. Returns whether nothing is left."""
        destination, splice = self._destination, self._resources.splice
        while self._held or self._left:
            if not destination.writable or destination.gone:
                return False
            try:
                if self._left:
                    sent = destination.sock.send(self._left)
                    self._left = self._left[sent:]
                elif splice is not None and self._pipe is not None:
                    sent = splice(self._pipe.output, destination.fd, self._held)
                    self._held -= sent
                else:
                    return False
            except OSError as error:
                self._not_sent(error)
                return False
            self._delivered(sent)
        return True

    def _not_sent(self, error: OSError) -> None:
        self._destination.not_sent(error)
        if self._destination.gone:
            self.close()

    def _take(self, count: int) -> bool:
        """Take at most so many bytes from the source. Returns False if there is nothing now."""
        resources, source = self._resources, self.source
        splice = resources.splice
        if splice is None or self._odd or not self._take_pipe():
            return self._receive(count)
        while self._held < count:
            try:
                got = splice(source.fd, self._pipe.input, count - self._held)  # type: ignore[union-attr]
            except BlockingIOError:
                if self._held:
                    return True  # The pipe may be full.
                source.readable = False
                return False
            except OSError as error:
                if error.errno == errno.EINVAL:
                    self._odd = True
                elif error.errno in UNSUPPORTED:
                    resources.copy_from_now_on(error)
                else:
                    raise _broken(source, error) from None
                return True
            if not got:
                raise _cut(source)
            self._held += got
            self._bucket.spend(got)
        return True

    def _take_pipe(self) -> bool:
        if self._pipe is None:
            try:
                self._pipe = self._resources.pool.take()
            except OSError:
                return False  # No descriptors are left, or only tiny pipes.
        return True

    def _receive(self, count: int) -> bool:
        """Receive a control record, or data that cannot be spliced."""
        source, buffer = self.source, self._resources.buffer()
        try:
            got, kind = kernel_tls.receive(source.sock, buffer[: min(count, COPY_SIZE)])
        except BlockingIOError:
            if self._odd:
                raise _no_record(source) from None
            source.readable = False
            return False
        except OSError as error:
            raise _broken(source, error) from None
        if not kind:
            raise _no_record(source) if self._odd else _cut(source)
        self._odd = False
        if kind == kernel_tls.DATA:
            self._bucket.spend(got)
            # All connections share the buffer.
            self._left = memoryview(bytes(buffer[:got]))
        elif kind == kernel_tls.ALERT:
            self._take_alert(bytes(buffer[:got]))
        elif kind == kernel_tls.HANDSHAKE:
            self._take_message(bytes(buffer[:got]))
        else:
            raise Broken(source, f"TLS: unexpected record of type {kind}")
        return True

    def _take_alert(self, content: bytes) -> None:
        self._message += content
        if len(self._message) < len(kernel_tls.CLOSE_NOTIFY):
            return
        description, self._message = self._message[1], b""
        if description == CLOSE_NOTIFY:
            self.ended = True
        elif description != USER_CANCELED:
            raise Broken(self.source, f"TLS: tlsv1 alert {_alert(description)}")

    def _take_message(self, content: bytes) -> None:
        """Handle messages that follow the handshake. They may be divided between records."""
        self._message += content
        while len(self._message) >= MESSAGE_HEADER:
            kind, size = self._message[0], int.from_bytes(self._message[1:MESSAGE_HEADER], "big")
            if kind not in (NEW_SESSION_TICKET, KEY_UPDATE) or size > MAX_MESSAGE_SIZE:
                raise Broken(self.source, f"TLS: unexpected message of type {kind} after the handshake")
            end = MESSAGE_HEADER + size
            if len(self._message) < end:
                return
            body, self._message = self._message[MESSAGE_HEADER:end], self._message[end:]
            # Tickets are of no use here.
            if kind == KEY_UPDATE:
                self._renew(body)

    def _renew(self, body: bytes) -> None:
        """Use the peer's new keys, and renew ours if it requests that."""
        source = self.source
        if body not in (b"\0", b"\1") or self._message:
            raise Broken(source, "TLS: invalid KeyUpdate")
        self._keys.renew()
        try:
            kernel_tls.set_key(source.sock, kernel_tls.TLS_RX, self._keys)
        except OSError as error:
            raise no_new_keys(source, error) from None
        if body == b"\1":
            if self._renew_other is None:
                raise Broken(source, "asks for new keys, which OpenSSL cannot send beside the kernel")
            self._renew_other()

    def _rest(self) -> None:
        if self._pipe is not None and not self._held:
            self._resources.pool.give(self._pipe)
            self._pipe = None

    def close(self) -> None:
        if self._held and self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        self._held = 0
        self._left = memoryview(b"")
        self._rest()


def _alert(description: int) -> str:
    """Return the name of an alert, as OpenSSL writes it."""
    # Imported here, as it is rarely needed.
    import ssl

    try:
        return ssl.AlertDescription(description).name[len("ALERT_DESCRIPTION_") :].lower().replace("_", " ")
    except ValueError:
        return str(description)


def _cut(source: Leg) -> Broken:
    return Broken(source, "reset" if source.gone else "end of stream without close_notify")


def _no_record(source: Leg) -> Broken:
    """There was something, but nothing that the kernel could decrypt, and it says so only once."""
    return Broken(source, "TLS: not a record")


def _broken(source: Leg, error: OSError) -> Broken:
    if error.errno == errno.EBADMSG:
        return Broken(source, "TLS: bad record mac")
    if error.errno == errno.EMSGSIZE:
        return Broken(source, "TLS: record of an invalid length")
    return Broken(source, error.strerror or os.strerror(error.errno or 0))
