# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the encrypted connections of a worker share: OpenSSL's context, and the buffers.

TLS 1.3 alone. Both ends show a certificate, and each accepts exactly one: the peer's, which is the only trust anchor.
There are no tickets and no resumption, so that every connection proves anew that the peer has its key.
"""

from __future__ import annotations

import contextlib
import os
import ssl

from credentials import CredentialError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, NoReturn

    from credentials import Credentials

# What is read from a socket at a time.
CHUNK = 1 << 18
# The open text of a chunk, and of a record that the chunk completes.
ROOM = CHUNK + (1 << 15)
# Until it has seen a block of this size come and go, glibc gives what is free back to the kernel at once, and takes it
# anew for each chunk: that costs as much as the encryption.
BLOCK = 1 << 22
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
# Has a name only from Python 3.10 on: peer.crt is trusted as it is, whoever issued it.
PARTIAL_CHAIN = 0x80000


class TlsContext:
    def __init__(self, credentials: Credentials) -> None:
        self.accepts = credentials.side == "accept"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if self.accepts else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.maximum_version = ssl.TLSVersion.TLSv1_3
        # Who the peer is, its certificate says as a whole; its name does not matter.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VerifyFlags(PARTIAL_CHAIN)
        context.options |= ssl.OP_NO_TICKET
        if self.accepts:
            context.num_tickets = 0
        self.context = context
        self.peer = self._trust(credentials.peer)
        self._load(credentials.certificate, credentials.key)
        bytes(BLOCK)
        self.input = memoryview(bytearray(CHUNK))
        self.output = memoryview(bytearray(ROOM))

    def _trust(self, text: str) -> bytes:
        """The peer's certificate, for the comparison: as an anchor alone it might have issued others."""
        if text.count(BEGIN) != 1 or text.find(END) < text.find(BEGIN):
            raise CredentialError("peer", "must contain exactly one certificate in PEM format")
        try:
            peer = ssl.PEM_cert_to_DER_cert(text[text.index(BEGIN) : text.index(END) + len(END)])
            self.context.load_verify_locations(cadata=peer)
        except (ssl.SSLError, ValueError):
            raise CredentialError("peer", "does not contain a valid certificate") from None
        return peer

    def _load(self, certificate: str, key: str) -> None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificate)
        except (ssl.SSLError, ValueError):
            raise CredentialError("certificate", "does not contain a valid certificate") from None
        with _file(certificate) as certificate_file, _file(key) as key_file:
            try:
                self.context.load_cert_chain(certificate_file, key_file, password=_no_password)
            except ssl.SSLError as error:
                reason = error.reason or ""
                if reason == "KEY_VALUES_MISMATCH":
                    raise CredentialError("key", "does not belong to the certificate") from None
                if reason.startswith(("EE_KEY", "CA_MD")):
                    raise CredentialError("certificate", f"is refused: {reason.lower().replace('_', ' ')}") from None
                raise CredentialError("key", "does not contain a valid private key") from None


def _no_password() -> NoReturn:
    """Instead of asking for one on the terminal."""
    raise CredentialError("key", "is passphrase-protected: provide an unencrypted key")


@contextlib.contextmanager
def _file(text: str) -> Iterator[str]:
    """The name of a file in memory alone: a key is read from files only."""
    descriptor = os.memfd_create("credentials")
    try:
        with open(descriptor, "w", encoding="ascii", closefd=False) as file:
            file.write(text)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
