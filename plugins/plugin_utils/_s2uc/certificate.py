# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys and certificates with which the two gateways of a stream authenticate each other.

Each session has its own pair. Private keys are generated when they are sent and never stored on the control node.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, show
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.fingerprints import (
    CertificateError,
    one_certificate,
    unreadable,
)

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError as error:
    # ansible-core depends on it, so the installation of this control node is incomplete.
    PROBLEM = f"the Python that runs Ansible on this control node has no package cryptography ({error}): install it"
else:
    PROBLEM = ""

#: Validity of a certificate whose session has no end.
MAX_VALIDITY = timedelta(days=365)
#: Tolerated difference between the clocks of two facilities.
_LEEWAY = timedelta(hours=1)


@dataclass(frozen=True)
class Credentials:
    """A certificate and its private key, both in PEM format."""

    certificate: str
    key: str = field(repr=False)


def make_credentials(uid: str, role: str, until: datetime | None = None, now: datetime | None = None) -> Credentials:
    """Generate a key and a self-signed certificate for a session.

    Args:
        uid: UUID of the stream.
        role: Role of the session. The producer's certificate is for servers, the consumer's for clients.
        until: End of the session, None if it has no end.
        now: Current time.
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
        .not_valid_after(max(until, now) if until else now + MAX_VALIDITY)
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
    """Validate the certificate of the other gateway for a stream and a role, and return it in PEM format.

    Raises:
        CertificateError: The certificate is invalid.
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


def normalized_pem(value: Any) -> str:
    """Return a certificate in normalized PEM format, without validating its names and dates.

    Raises:
        CertificateError: The value is not a certificate.
    """
    return _read(value).public_bytes(serialization.Encoding.PEM).decode("ascii")


def not_before(value: Any) -> datetime:
    """Return the time from which a certificate is valid.

    Raises:
        CertificateError: The value is not a certificate.
    """
    with _parsing():
        return _validity(_read(value))[0]


def not_after(value: Any) -> datetime:
    """Return the time at which a certificate expires.

    Raises:
        CertificateError: The value is not a certificate.
    """
    with _parsing():
        return _validity(_read(value))[1]


@contextmanager
def _parsing() -> Iterator[None]:
    """Convert any error of the library: it parses the parts of a certificate lazily and raises various exceptions."""
    try:
        yield
    except CertificateError:
        raise
    except Exception:
        raise unreadable() from None


def _read(value: Any) -> x509.Certificate:
    if PROBLEM:
        raise ScistreamError(PROBLEM)
    text = one_certificate(value)
    with _parsing():
        return x509.load_pem_x509_certificate(text.encode("ascii"))


def _names(certificate: x509.Certificate) -> list[str]:
    """Return all subject and alternative names of a certificate."""
    names = [str(attribute.value) for attribute in certificate.subject]
    with suppress(x509.ExtensionNotFound):
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names += [str(name.value) for name in extension.value]
    return sorted(set(names))


def _check_signature(certificate: x509.Certificate) -> None:
    key, hashing = certificate.public_key(), certificate.signature_hash_algorithm
    if not isinstance(key, ec.EllipticCurvePublicKey) or hashing is None:
        raise CertificateError("was not created by stream_inbound or stream_outbound")
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
