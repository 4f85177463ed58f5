# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TLS on one leg, between two buffers in memory: OpenSSL never accesses the socket, so nothing blocks.

Large pieces are read from and written to the socket at once, which makes it fast. Between two calls, the buffer of
received data is empty, because all of it has been decrypted. Therefore notify() is correct: it calls OpenSSL's shutdown
twice, and the second call expects the peer's answer and would treat application data as an error.
"""

from __future__ import annotations

import contextlib
import ssl

from encryption import Encryption
from pump import Broken, Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from pump import Leg
    from tls_context import TlsContext

# Size of the pieces in OpenSSL's buffers, which never shrink.
PIECE = 1 << 16
# Maximum size of answers that the peer does not read, while it requests new keys.
MAX_PENDING_ANSWERS = 1 << 16
HANDSHAKE_SIZE = 1 << 14


class Channel:
    __slots__ = ("_incoming", "_object", "_outgoing", "_tls", "_unsent", "answered", "ended", "key_update", "leg")

    def __init__(self, tls: TlsContext, leg: Leg) -> None:
        self.leg = leg
        self.ended = False  # the peer has sent the end of its stream
        self.answered = False  # something was sent in the handshake
        self.key_update: int | None = None  # bytes after which it gets a new key, if both ends are able
        self._tls = tls
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = tls.context.wrap_bio(self._incoming, self._outgoing, server_side=tls.accepts)
        self._unsent: list[bytes | memoryview] = []

    def shake(self) -> bool:
        """Continue the handshake. Returns True when the peer has been authenticated.

        Data that is still to be sent is sent with the first bytes.

        Raises:
            Refusal: The peer is not trusted, or does not trust us.
            OSError: The socket failed.
        """
        leg, buffer = self.leg, self._tls.input
        while True:
            try:
                self._advance()
            except ssl.SSLWantReadError:
                self.answered = self.answered or self._outgoing.pending > 0
                self.flush()
            except ssl.SSLError as error:
                self._tell_why()
                raise Refusal(reason(error)) from None
            else:
                if self._object.getpeercert(True) != self._tls.peer:
                    raise Refusal("the certificate is not the peer's")
                return True
            if not leg.readable:
                return False
            try:
                got = self._receive(buffer)
            except BlockingIOError:
                leg.readable = False
                return False
            if not got:
                raise ConnectionError(0, "end of stream in the handshake")
            self._incoming.write(buffer[:got])

    def _advance(self) -> None:
        self._object.do_handshake()

    def _receive(self, buffer: memoryview) -> int:
        return self.leg.sock.recv_into(buffer, HANDSHAKE_SIZE)

    def encryption(self) -> Encryption:
        """Return how the connection is encrypted, after the handshake."""
        cipher = self._object.cipher()
        return Encryption(False, False, cipher[0] if cipher else "")

    def seal(self, plain: memoryview) -> None:
        """Encrypt bytes. flush() sends them."""
        write, sealed = self._object.write, self._outgoing.read
        try:
            for start in range(0, len(plain), PIECE):
                piece = plain[start : start + PIECE]
                while piece:
                    piece = piece[write(piece) :]
                self._unsent.append(sealed())
        except ssl.SSLError as error:
            raise Broken(self.leg, reason(error)) from None

    def open(self, sealed: memoryview) -> memoryview:
        """Decrypt all received bytes. They are valid until the next call for any connection."""
        output, count = self._tls.output, 0
        read: Callable[[int, memoryview], int] = self._object.read  # type: ignore[assignment]
        add = self._incoming.write
        for start in range(0, len(sealed) or 1, PIECE):
            add(sealed[start : start + PIECE])
            try:
                while True:
                    got = read(PIECE, output[count:])
                    if not got:
                        self.ended = True
                        return output[:count]
                    count += got
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError:
                self.ended = True
                return output[:count]
            except ssl.SSLError as error:
                self._tell_why()
                raise Broken(self.leg, reason(error)) from None
        if self._outgoing.pending > MAX_PENDING_ANSWERS:
            raise Broken(self.leg, "asks for more than it reads")
        return output[:count]

    def notify(self) -> None:
        """Send the end of our stream, once. flush() sends it."""
        try:
            self._object.unwrap()
        except ssl.SSLWantReadError:
            pass  # The peer may continue its stream.
        except ssl.SSLError as error:
            raise Broken(self.leg, reason(error)) from None

    def flush(self) -> bool:
        """Send encrypted bytes. Returns True if none are left."""
        leg, unsent = self.leg, self._unsent
        while True:
            if self._outgoing.pending > 0:
                unsent.append(self._outgoing.read())
            if not unsent:
                return True
            if not leg.writable or leg.gone:
                return False
            try:
                sent = leg.sock.sendmsg(unsent)
            except ConnectionResetError:
                # The stream of the peer may be complete, as close_notify shows, so continue reading.
                leg.gone = True
                return False
            except OSError as error:
                leg.not_sent(error)
                return False
            while sent and sent >= len(unsent[0]):
                sent -= len(unsent.pop(0))
            if sent:
                unsent[0] = memoryview(unsent[0])[sent:]

    def _tell_why(self) -> None:
        """Send the alert as far as possible. The connection is reset afterwards."""
        with contextlib.suppress(Broken):
            self.flush()


def reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    return f"TLS: {error.reason.lower().replace('_', ' ')}" if error.reason else str(error.strerror or error)
