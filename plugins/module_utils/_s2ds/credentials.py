# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How two gateways authenticate each other: with their own certificate and key, and the certificate of the other.

Each gateway trusts exactly one certificate. It must not be a CA certificate, because any certificate that the CA issues
would be trusted as well.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Iterator

from ansible_collections.scistream.gateway.plugins.module_utils._common import x509_der as reading
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._common.pem import LOOSE_KEY, decode_key
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.files import read
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.usual_certificate import is_usual, is_usual_pair

if TYPE_CHECKING:
    import ssl

# Files of a data server. Programs that are given the certificate derive the name of the key file from it.
CERTIFICATE, KEY, PEER = "gateway.crt", "gateway.crt.key", "peer.crt"
FILES = (CERTIFICATE, KEY, PEER)

# Side of TLS on the connection between the gateways, by role.
SIDES = {"producer": "accept", "consumer": "connect"}

# Cipher suites of TLS 1.3 by the name of their cipher, the fastest first on processors with AES instructions.
SUITES = {
    "aes-128-gcm": "TLS_AES_128_GCM_SHA256",
    "aes-256-gcm": "TLS_AES_256_GCM_SHA384",
    "chacha20-poly1305": "TLS_CHACHA20_POLY1305_SHA256",
}
# For the check of a certificate: RSA keys of at least 2048 bits, and no SHA-1 signatures.
_CIPHERS = "DEFAULT:@SECLEVEL=2"


def files(spec: DataServerSpec) -> dict[str, str | None]:
    """Return the credential files of a specification: None for a missing one. A key that stays as it is is omitted."""
    if spec.encryption == "none":
        return {}
    found = {CERTIFICATE: _text(spec.certificate), PEER: _text(spec.peer_certificate)}
    if spec.key is not None or spec.certificate is None:
        found[KEY] = _text(spec.key)
    return found


def files_in(directory: str, spec: DataServerSpec) -> dict[str, str | None]:
    """Return the credential files of a specification, after checking those that differ from the files in a directory.

    Args:
        directory: The data server's directory.
        spec: The specification.

    Raises:
        S2DSException: A new file is invalid. It names the option.
    """
    wanted = files(spec)
    before = read(directory, wanted)
    new = {name for name, text in wanted.items() if text is not None and text != before[name]}
    if new:
        # Files that are in place already may have expired. That must not prevent other changes.
        own = bool(new - {PEER})
        check(
            replace(
                spec,
                certificate=spec.certificate if own else None,
                peer_certificate=spec.peer_certificate if PEER in new else None,
            ),
            (spec.key or read_key(directory)) if own else None,
        )
    return wanted


def read_key(directory: str) -> str | None:
    """Return the private key in a data server's directory, or None."""
    try:
        with open(os.path.join(directory, KEY), encoding="ascii") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeError) as error:
        raise S2DSException(f"key: {directory}/{KEY} cannot be read: {type(error).__name__}") from None


def check(spec: DataServerSpec, key: str | None) -> None:
    """Refuse credentials with which no connection could be established.

    Args:
        spec: Specification with the certificates to check; None is not checked.
        key: The private key to check.

    Raises:
        S2DSException: They are invalid. It names the option, and never shows a key.
    """
    if spec.certificate is not None:
        check_certificate("certificate", spec.certificate)
        if key is None:
            raise S2DSException("key: it is missing; specify the private key together with the certificate")
        check_key(key)
        _check_pair(spec.certificate, key, spec.role)
    elif key is not None:
        raise S2DSException("certificate: it is missing; specify the certificate together with the key")
    if spec.peer_certificate is not None:
        check_certificate("peer_certificate", spec.peer_certificate)


def check_complete(spec: DataServerSpec, has_key: bool) -> None:
    """Refuse to forward encrypted streams without complete credentials."""
    if spec.encryption == "none" or not spec.forwards:
        return
    for option, given, when in (
        ("certificate", spec.certificate, "HELLO provides the certificate and key of this gateway"),
        ("key", has_key or None, "HELLO provides the certificate and key of this gateway"),
        ("peer_certificate", spec.peer_certificate, "the first UPDATE provides the certificate of the other gateway"),
    ):
        if given is None:
            raise S2DSException(f"{option}: it is missing, but encryption tls requires it: {when}")


def check_certificate(option: str, text: str) -> None:
    """Refuse anything but one self-signed certificate that is valid now and is not a CA certificate.

    Args:
        option: Name of the option, for messages.
        text: The certificate.

    Raises:
        S2DSException: It is something else.
    """
    try:
        found = reading.parse(text)
        is_authority = not is_usual(reading.decode(text)) and _is_authority(text)
    except ValueError as error:
        raise S2DSException(f"{option}: {error}") from None
    now = time.time()
    if not found.begins <= now < found.ends:
        what = "has expired" if now >= found.ends else "is not valid yet"
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(found.ends if now >= found.ends else found.begins))
        raise S2DSException(f"{option}: it {what} ({when}; the clock of this gateway says {_now()})")
    if not found.issued_by_itself:
        raise S2DSException(f"{option}: it is not self-signed: specify a self-signed certificate")
    if is_authority:
        raise S2DSException(
            f"{option}: this is a CA certificate, and anything it issues would be trusted: "
            "specify one with the basic constraint CA:FALSE"
        )


def _is_authority(text: str) -> bool:
    """Return whether a certificate is a CA certificate.

    Raises:
        ValueError: It cannot be read.
    """
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=_text(text))
    except ssl.SSLError:
        raise ValueError("it cannot be read") from None
    return bool(context.get_ca_certs(binary_form=True))


def check_key(text: str) -> None:
    """Refuse anything but one unencrypted private key."""
    if "ENCRYPTED" in text:
        raise S2DSException("key: it is passphrase-protected; specify an unencrypted key")
    if not LOOSE_KEY.fullmatch(text.strip()):
        raise S2DSException("key: it is not exactly one private key in PEM format")


def peer_name(spec: DataServerSpec) -> str | None:
    """Return the name in the certificate of the other gateway, or None if it has none."""
    if spec.peer_certificate is None:
        return None
    try:
        return next(iter(reading.parse(spec.peer_certificate).names), None)
    except ValueError as error:
        raise S2DSException(f"peer_certificate: {error}") from None


def _check_pair(certificate: str, key: str, role: str) -> None:
    """Refuse a pair that other gateways would reject: do a handshake in memory, with their checks."""
    if is_usual_pair(reading.decode(certificate), decode_key(key), role):
        return
    import ssl

    with _in_memory(certificate) as certificate_path, _in_memory(key) as key_path:
        own = _context(ssl.PROTOCOL_TLS_SERVER)
        _load(own, certificate_path, key_path)
        other = _context(ssl.PROTOCOL_TLS_CLIENT)
        # The other side of a producer does not present the certificate.
        if role == "consumer":
            _load(other, certificate_path, key_path)
    for context in (own, other):
        context.load_verify_locations(cadata=_text(certificate))
    other.check_hostname = False
    # Only the side with this certificate is verified: the server for the role producer, otherwise the client.
    other.verify_mode, own.verify_mode = ssl.CERT_REQUIRED, ssl.CERT_NONE
    if role == "consumer":
        other.verify_mode, own.verify_mode = ssl.CERT_NONE, ssl.CERT_REQUIRED
    try:
        _shake_hands(own, other)
    except ssl.SSLCertVerificationError as error:
        raise S2DSException(f"certificate: other gateways would not accept it: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise S2DSException(f"certificate: it cannot be used for TLS 1.3: {error.reason}") from None


def _context(protocol: int) -> ssl.SSLContext:
    import ssl

    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_ciphers(_CIPHERS)
    return context


def _load(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load a pair from its files."""
    import ssl

    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except ssl.SSLError as error:
        raise _refused_pair(error) from None
    except (OSError, ValueError):
        raise S2DSException("key: it cannot be read, or it is encrypted") from None


def _refused_pair(error: ssl.SSLError) -> S2DSException:
    reason = error.reason or ""
    # The latter is reported if the types of key and certificate differ.
    if "MISMATCH" in reason or reason == "NO_CERTIFICATE_ASSIGNED":
        return S2DSException("key: it does not belong to the certificate")
    if "TOO_SMALL" in reason or "TOO_WEAK" in reason:
        return S2DSException(f"certificate: it is too weak: {reason.lower().replace('_', ' ')}")
    return S2DSException(f"key: it cannot be used with the certificate: {reason.lower().replace('_', ' ') or 'no key'}")


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    import ssl

    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    # Two turns of each side complete the handshake; the third one processes what is left.
    for _turn in range(3):
        for side in sides:
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()


@contextlib.contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """Store a text in a memory file that no other process can open, and return its path for this process."""
    descriptor = os.memfd_create("credentials")
    try:
        os.write(descriptor, str(_text(text)).encode("utf-8"))
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _no_passphrase() -> str:
    raise ValueError("it is encrypted")


def _text(pem: str | None) -> str | None:
    """Return a PEM text with normalized white space."""
    return None if pem is None else "\n".join(line.strip() for line in pem.strip().splitlines()) + "\n"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
