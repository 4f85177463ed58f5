# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Resources that the encrypted connections of a worker share: OpenSSL's context, and buffers.

Only TLS 1.3 is used. Both ends show a certificate, and each end accepts exactly one: the peer's, which is the only
trust anchor. There are neither tickets nor resumption, so that the peer has to prove in each connection that it has its
key.
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

# Number of bytes to read from a socket at once.
CHUNK = 1 << 18
# Size of the plain text of a chunk, and of a record that the chunk completes.
ROOM = CHUNK + (1 << 15)
# Until a block of this size has been freed, glibc returns free memory to the kernel immediately and allocates it again
# for each chunk, which is as expensive as the encryption.
BLOCK = 1 << 22
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
# Only defined since Python 3.10: trust peer.crt itself, regardless of its issuer.
PARTIAL_CHAIN = 0x80000


# The forwarder's own name for an end that can follow when the other end changes its key. It is agreed on as a protocol
# that TLS carries (ALPN), which other programs ignore.
FOLLOWS = "scistream-key-update"


class TlsContext:
    def __init__(self, credentials: Credentials, buffers: bool = True, follows: bool = False) -> None:
        """Load credentials.

        Args:
            buffers: Without them, credentials are only checked.
            follows: Whether this end can follow new keys in a connection.
        """
        self.accepts = credentials.side == "accept"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if self.accepts else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.maximum_version = ssl.TLSVersion.TLSv1_3
        # The whole certificate identifies the peer. Its name does not matter.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VerifyFlags(PARTIAL_CHAIN)
        context.options |= ssl.OP_NO_TICKET
        self.follows = follows
        if follows:
            context.set_alpn_protocols([FOLLOWS])
        if self.accepts:
            context.num_tickets = 0
        self.context = context
        self.peer = self._trust(credentials.peer)
        self._load(credentials.certificate, credentials.key)
        if buffers:
            bytes(BLOCK)
        self.input = memoryview(bytearray(CHUNK if buffers else 0))
        self.output = memoryview(bytearray(ROOM if buffers else 0))

    def _trust(self, text: str) -> bytes:
        """Return the peer's certificate for comparison: as a trust anchor alone, it could have issued others."""
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
            load_key_pair(self.context, certificate, key)
        except ssl.SSLError as error:
            if not _is_readable(certificate):
                raise CredentialError("certificate", "does not contain a valid certificate") from None
            reason = error.reason or ""
            if reason == "KEY_VALUES_MISMATCH":
                raise CredentialError("key", "does not belong to the certificate") from None
            if reason.startswith(("EE_KEY", "CA_MD")):
                raise CredentialError("certificate", f"is refused: {reason.lower().replace('_', ' ')}") from None
            raise CredentialError("key", "does not contain a valid private key") from None


def load_key_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    with _file(certificate) as certificate_file, _file(key) as key_file:
        context.load_cert_chain(certificate_file, key_file, password=_no_password)


def _is_readable(certificate: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificate)
    except (ssl.SSLError, ValueError):
        return False
    return True


def _no_password() -> NoReturn:
    """Fail instead of asking for a password on the terminal."""
    raise CredentialError("key", "is passphrase-protected: provide an unencrypted key")


@contextlib.contextmanager
def _file(text: str) -> Iterator[str]:
    """Yield the path of a file in memory, because keys can only be read from files."""
    descriptor = os.memfd_create("credentials")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(text.encode("ascii"))
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
