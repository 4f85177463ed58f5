# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A handshake as with TLS in user space, after which the kernel takes over one direction or both.

Where it does not, OpenSSL continues with the same connection.
"""

from __future__ import annotations

import kernel_tls
import tls_secrets
from pump import Broken
from tls_channel import Channel
from tls_context import FOLLOWS
from tls_keys import TrafficKeys, suite_named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from encryption import Encryption
    from log import Log
    from pump import Leg
    from tls_context import TlsContext

HEADER_SIZE = 5


class KernelTls:
    """What the kernel is to do for the connections of a worker."""

    def __init__(self, log: Log) -> None:
        self.available = True
        self.key_update: int | None = None  # bytes after which a connection gets a new key
        self._renews: bool | None = None
        self._hidden = False
        self._log = log

    def prepare(self) -> bool:
        """Return whether a connection may try it."""
        if self.available and not self._hidden:
            try:
                tls_secrets.hide()
                self._hidden = True
            except OSError as error:
                self.refuse(error)
        return self.available

    def renews(self) -> bool:
        """Return whether the kernel takes new keys in a connection."""
        if self._renews is None:
            self._renews = kernel_tls.renews()
        return self._renews

    def refuse(self, error: OSError) -> None:
        """Encrypt in user space, from now on if the error applies to all connections."""
        if self.available and (error.errno is None or error.errno in kernel_tls.UNAVAILABLE):
            self.available = False
            self._log.line(f"the kernel does not encrypt ({error.strerror or error}): encrypting in user space")


class KernelChannel(Channel):
    __slots__ = ("_header", "_kernel", "_missing", "_secrets", "_wanted", "opener", "outflow")

    def __init__(self, tls: TlsContext, leg: Leg, kernel: KernelTls, sealing: bool, opening: bool) -> None:
        super().__init__(tls, leg)
        self.opener: TrafficKeys | None = None  # if the kernel decrypts
        self.outflow: kernel_tls.Outflow | None = None  # if the kernel encrypts
        self._kernel = kernel
        self._wanted = (sealing, opening)
        self._secrets: dict[str, bytes] = {}
        self._header = bytearray()
        self._missing = 0  # bytes of a record whose header has been received

    def shake(self) -> bool:
        leg = self.leg
        if not super().shake():
            return False
        if not self.flush():
            if leg.gone:
                raise Broken(leg, "reset in the handshake")
            return False
        self._hand_over()
        return True

    def _advance(self) -> None:
        with tls_secrets.collected(self._tls.context, self._secrets):
            super()._advance()

    def _receive(self, buffer: memoryview) -> int:
        """Receive at most to the end of a record: what follows the handshake is for the kernel."""
        if self._missing:
            got = self.leg.sock.recv_into(buffer, min(self._missing, len(buffer)))
            self._missing -= got
            return got
        header = self._header
        got = self.leg.sock.recv_into(buffer, HEADER_SIZE - len(header))
        header += buffer[:got]
        if len(header) == HEADER_SIZE:
            self._missing = int.from_bytes(header[3:], "big")
            header.clear()
        return got

    def _hand_over(self) -> None:
        secrets, self._secrets = self._secrets, {}
        cipher = self._object.cipher()
        suite = suite_named(cipher[0]) if cipher else None
        if suite is None or len(secrets) < len(tls_secrets.LABELS) or self._incoming.pending:
            return
        sender, receiver = tls_secrets.CLIENT, tls_secrets.SERVER
        if self._tls.accepts:
            sender, receiver = receiver, sender
        sock = self.leg.sock
        sealing, opening = self._wanted
        try:
            kernel_tls.attach(sock)
            if opening:
                keys = TrafficKeys(suite, secrets[receiver])
                kernel_tls.set_key(sock, kernel_tls.TLS_RX, keys)
                self.opener = keys
                self.leg.readable = True
            if sealing:
                keys = TrafficKeys(suite, secrets[sender])
                kernel_tls.set_key(sock, kernel_tls.TLS_TX, keys)
                self.outflow = kernel_tls.Outflow(sock, keys)
                if self._object.selected_alpn_protocol() == FOLLOWS and self._kernel.renews():
                    self.key_update = self._kernel.key_update
        except OSError as error:
            # OpenSSL continues with the directions that have not been set.
            self._kernel.refuse(error)

    def open(self, sealed: memoryview) -> memoryview:
        plain = super().open(sealed)
        if self.outflow is not None and self._outgoing.pending:
            raise Broken(self.leg, "asks for new keys, which the kernel cannot send for OpenSSL")
        return plain

    def flush(self) -> bool:
        # OpenSSL's records would be encrypted again.
        return True if self.outflow is not None else super().flush()

    def encryption(self) -> Encryption:
        return super().encryption().by_kernel(self.outflow is not None, self.opener is not None)
