# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys and certificates with which the two gateways of a stream authenticate each other.

Each session gets a pair of its own. A private key is made where it is sent from, and kept nowhere on the control node.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.pem import LOOSE_CERTIFICATE, MAX_PEM

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError as error:
    # ansible-core itself asks for it, so this is a control node that is half installed.
    PROBLEM = f"the Python of Ansible on this control node has no cryptography ({error}): install it"
else:
    PROBLEM = ""

#: Life of a certificate whose session has no end.
LONGEST = timedelta(days=365)
#: Clocks of two facilities may differ by as much.
_LEEWAY = timedelta(hours=1)


class CertificateError(ScistreamError):
    """A certificate is none, or not the one that it should be; the message begins with a verb."""


@dataclass(frozen=True)
class Credentials:
    """A certificate and its private key, both as PEM."""

    certificate: str
    key: str = field(repr=False)


def make_credentials(uid: str, role: str, until: datetime | None = None, now: datetime | None = None) -> Credentials:
    """Make a key and a self-signed certificate for one session.

    Args:
        uid: Of the stream.
        role: Of the session; the producer is the server.
        until: When the session ends; None where it has no end.
        now: The present time.
    """
    if PROBLEM:
        raise ScistreamError(PROBLEM)
    now = now or datetime.now(timezone.utc)
    usage = ExtendedKeyUsageOID.SERVER_AUTH if role == "producer" else ExtendedKeyUsageOID.CLIENT_AUTH
    key = ec.generate_private_key(ec.SECP256R1())
    name = f"{role}.{uid}"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LEEWAY)
        .not_valid_after(max(until, now) if until else now + LONGEST)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Credentials(
        certificate=certificate.public_bytes(serialization.Encoding.PEM).decode("ascii"),
        key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode("ascii"),
    )


def check_certificate(value: Any, uid: str, role: str, now: datetime | None = None) -> str:
    """Return the certificate of the other gateway as PEM; refuse all that cannot be the one of this stream and role.

    Raises:
        CertificateError: Says what is wrong, as in "the certificate ...".
    """
    certificate = _read(value)
    with _parsing():
        names = _names(certificate)
        if names != [f"{role}.{uid}"]:
            raise CertificateError(f"is that of {show(', '.join(names))}, not of {role}.{uid}")
        _check_signature(certificate)
        now = now or datetime.now(timezone.utc)
        start, end = _validity(certificate)
        if now > end:
            raise CertificateError(f"expired at {_moment(end)}")
        if now < start:
            raise CertificateError(f"is valid from {_moment(start)} on: compare the clocks")
        return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def fingerprint(value: Any) -> str:
    """Return the beginning of a certificate's SHA-256 fingerprint, to be compared by people: 96 bits.

    Raises:
        CertificateError: It is no certificate.
    """
    return grouped(_read(value).fingerprint(hashes.SHA256()).hex())


def grouped(digest: str) -> str:
    """Return the beginning of a digest as people compare it: 96 bits in groups of four digits."""
    return "-".join(digest[index : index + 4] for index in range(0, 24, 4))


def checked_pem(value: Any) -> str:
    """Return a certificate as PEM, whatever else is said of it.

    Raises:
        CertificateError: It is no certificate.
    """
    return _read(value).public_bytes(serialization.Encoding.PEM).decode("ascii")


def start(value: Any) -> datetime:
    """Return when a certificate begins to be valid.

    Raises:
        CertificateError: It is no certificate.
    """
    with _parsing():
        return _validity(_read(value))[0]


def expiry(value: Any) -> datetime:
    """Return when a certificate expires.

    Raises:
        CertificateError: It is no certificate.
    """
    with _parsing():
        return _validity(_read(value))[1]


@contextmanager
def _parsing() -> Iterator[None]:
    """Parts of a certificate are read only when they are asked for, and the library has many errors for bad ones."""
    try:
        yield
    except CertificateError:
        raise
    except Exception:
        raise CertificateError("cannot be read: it was damaged or modified") from None


def _read(value: Any) -> x509.Certificate:
    if PROBLEM:
        raise ScistreamError(PROBLEM)
    if isinstance(value, str) and "PRIVATE KEY" in value:
        raise CertificateError("holds a private key, which must never leave its gateway: release the stream")
    if not isinstance(value, str) or len(value) > MAX_PEM or not LOOSE_CERTIFICATE.fullmatch(value):
        raise CertificateError("is not exactly one certificate in PEM format")
    with _parsing():
        return x509.load_pem_x509_certificate(value.encode("ascii"))


def _names(certificate: x509.Certificate) -> list[str]:
    """Return every name that a certificate claims, whatever its kind."""
    names = [str(attribute.value) for attribute in certificate.subject]
    with suppress(x509.ExtensionNotFound):
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names += [str(name.value) for name in extension.value]
    return sorted(set(names))


def _check_signature(certificate: x509.Certificate) -> None:
    key, hashing = certificate.public_key(), certificate.signature_hash_algorithm
    if not isinstance(key, ec.EllipticCurvePublicKey) or hashing is None:
        raise CertificateError("is not one that stream_inbound or stream_outbound made")
    try:
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(hashing))
    except InvalidSignature:
        raise CertificateError("does not match its own signature: it was damaged or modified") from None


def _validity(certificate: x509.Certificate) -> tuple[datetime, datetime]:
    if hasattr(certificate, "not_valid_after_utc"):
        return certificate.not_valid_before_utc, certificate.not_valid_after_utc
    # Before cryptography 42 these had no time zone, and meant UTC.
    start, end = certificate.not_valid_before, certificate.not_valid_after
    return start.replace(tzinfo=timezone.utc), end.replace(tzinfo=timezone.utc)


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
