# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""By what two gateways know each other: a certificate and its key of one's own, and the certificate of the other.

Each gateway trusts exactly one certificate. That it belongs to no authority is what makes this so: of an authority
any certificate that it issues would be good as well.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Iterator

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._common.pem import LOOSE_KEY
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import x509_der as reading
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.files import read
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec

if TYPE_CHECKING:
    import ssl

# Files of an instance. A program that is given the first looks for the second by itself.
CERTIFICATE, KEY, PEER = "gateway.crt", "gateway.crt.key", "peer.crt"
FILES = (CERTIFICATE, KEY, PEER)

# Which side of TLS the connection between the gateways is, by the role.
SIDES = {"producer": "accept", "consumer": "connect"}

# What a program may use of TLS 1.3, the fastest first where a processor has AES.
CIPHERSUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
# For the check of a certificate: of RSA at least 2048 bits, and nothing signed by SHA-1.
_CIPHERS = "DEFAULT:@SECLEVEL=2"


def files(spec: DataServerSpec) -> dict[str, str | None]:
    """Return the files that an instance has; None for one that it does not have, and no key where it stays."""
    if spec.encryption == "none":
        return {}
    found = {CERTIFICATE: _text(spec.certificate), PEER: _text(spec.peer_certificate)}
    if spec.key is not None or spec.certificate is None:
        found[KEY] = _text(spec.key)
    return found


def files_in(directory: str, spec: DataServerSpec) -> dict[str, str | None]:
    """Return the files that an instance is to have in a directory, after a check of those that are new there.

    Raises:
        S2DSException: Something is wrong with a new one; it names the option.
    """
    wanted = files(spec)
    before = read(directory, wanted)
    new = {name for name, text in wanted.items() if text is not None and text != before[name]}
    if new:
        # What is there already may have expired, and yet something else be wanted.
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
    """Return the private key in the directory of an instance, or None where there is none."""
    try:
        with open(os.path.join(directory, KEY), encoding="ascii") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeError) as error:
        raise S2DSException(f"key: {directory}/{KEY} cannot be read: {type(error).__name__}") from None


def check(spec: DataServerSpec, key: str | None) -> None:
    """Refuse credentials that no connection could come about with.

    Args:
        spec: With the certificates that it is to have; what is None is not looked at.
        key: The private key that it is to have.

    Raises:
        S2DSException: Something is wrong; it names the option, and never shows a key.
    """
    if spec.certificate is not None:
        check_certificate("certificate", spec.certificate)
        if key is None:
            raise S2DSException("key: it is missing; give the private key together with the certificate")
        check_key(key)
        _check_pair(spec.certificate, key, spec.role)
    elif key is not None:
        raise S2DSException("certificate: it is missing; give the certificate together with the key")
    if spec.peer_certificate is not None:
        check_certificate("peer_certificate", spec.peer_certificate)


def check_complete(spec: DataServerSpec, has_key: bool) -> None:
    """Refuse to forward encrypted with something missing."""
    if spec.encryption == "none" or not spec.targets:
        return
    for option, given, when in (
        ("certificate", spec.certificate, "HELLO provides the certificate and key of this gateway"),
        ("key", has_key or None, "HELLO provides the certificate and key of this gateway"),
        ("peer_certificate", spec.peer_certificate, "the first UPDATE provides the certificate of the other gateway"),
    ):
        if given is None:
            raise S2DSException(f"{option}: it is missing, but encryption tls requires it: {when}")


def check_certificate(option: str, text: str) -> None:
    """Refuse what is not one certificate that can be trusted alone, by what it says itself.

    Args:
        option: Name of the option, for messages.
        text: The certificate.
    """
    import ssl

    try:
        found = reading.parse(text)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=_text(text))
    except ssl.SSLError:
        raise S2DSException(f"{option}: it cannot be read") from None
    except ValueError as error:
        raise S2DSException(f"{option}: {error}") from None
    now = time.time()
    if not found.begins <= now < found.ends:
        what = "has expired" if now >= found.ends else "is not valid yet"
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(found.ends if now >= found.ends else found.begins))
        raise S2DSException(f"{option}: it {what} ({when}; the clock of this gateway says {_now()})")
    if not found.issued_by_itself:
        raise S2DSException(f"{option}: it is not self-signed: give a self-signed certificate")
    if context.get_ca_certs(binary_form=True):
        raise S2DSException(
            f"{option}: this is a CA certificate, and anything it issues would be trusted: "
            "give one with the basic constraint CA:FALSE"
        )


def check_key(text: str) -> None:
    """Refuse what is not one private key, unencrypted."""
    if "ENCRYPTED" in text:
        raise S2DSException("key: it is passphrase-protected; give an unencrypted key")
    if not LOOSE_KEY.fullmatch(text.strip()):
        raise S2DSException("key: it is not exactly one private key in PEM format")


def peer_name(spec: DataServerSpec) -> str | None:
    """Return the name that the certificate of the other gateway is for; None where it has none."""
    if spec.peer_certificate is None:
        return None
    try:
        return next(iter(reading.parse(spec.peer_certificate).names), None)
    except ValueError as error:
        raise S2DSException(f"peer_certificate: {error}") from None


def _check_pair(certificate: str, key: str, role: str) -> None:
    """Refuse a pair with which no other gateway would connect: try it, in memory, as the other gateway would."""
    import ssl

    with _in_memory(certificate) as certificate_path, _in_memory(key) as key_path:
        own, other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for context in (own, other):
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.set_ciphers(_CIPHERS)
            try:
                context.load_cert_chain(certificate_path, key_path, password=_no_passphrase)
            except ssl.SSLError as error:
                raise _refused_pair(error) from None
            except (OSError, ValueError):
                raise S2DSException("key: it cannot be read, or it is encrypted") from None
            context.load_verify_locations(cadata=_text(certificate))
    other.check_hostname = False
    # Only the one who has this certificate is verified: the server for the role producer, else the client.
    other.verify_mode, own.verify_mode = ssl.CERT_REQUIRED, ssl.CERT_NONE
    if role == "consumer":
        other.verify_mode, own.verify_mode = ssl.CERT_NONE, ssl.CERT_REQUIRED
    try:
        _shake_hands(own, other)
    except ssl.SSLCertVerificationError as error:
        raise S2DSException(f"certificate: other gateways would not accept it: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise S2DSException(f"certificate: it cannot be used for TLS 1.3: {error.reason}") from None


def _refused_pair(error: ssl.SSLError) -> S2DSException:
    reason = error.reason or ""
    # The latter where the key is of another kind.
    if "MISMATCH" in reason or reason == "NO_CERTIFICATE_ASSIGNED":
        return S2DSException("key: it does not belong to the certificate")
    if "TOO_SMALL" in reason or "TOO_WEAK" in reason:
        return S2DSException(f"certificate: it is too weak: {reason.lower().replace('_', ' ')}")
    return S2DSException(f"key: it cannot be used with the certificate: {reason.lower().replace('_', ' ') or 'no key'}")


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    import ssl

    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    # Each side has its turn twice; a third time only takes what is left.
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
    """Return a PEM text as files have it, however its white space came here."""
    return None if pem is None else "\n".join(line.strip() for line in pem.strip().splitlines()) + "\n"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
