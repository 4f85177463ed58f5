# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates of gateways, and of those who would like to be taken for one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

USAGES = {"producer": ExtendedKeyUsageOID.SERVER_AUTH, "consumer": ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key."""

    certificate: str
    key: str = field(repr=False)
    private: Any = field(repr=False, default=None)

    @property
    def hello(self) -> dict[str, str]:
        """What a HELLO gives."""
        return {"certificate": self.certificate, "key": self.key}


def make(
    name: str,
    role: str,
    *,
    private: Any = None,
    issuer: Pair | None = None,
    begins: float = -3600,
    ends: float = 86400,
    authority: bool = False,
) -> Pair:
    """Make a certificate.

    Args:
        name: What it is for.
        role: Which side it may be.
        private: Its private key, if not a new one.
        issuer: Who signs it, if not itself.
        begins: Since when it is valid, in seconds from now.
        ends: Until when.
        authority: Whether it may issue others.
    """
    private = private or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(timezone.utc)
    by = x509.load_pem_x509_certificate(issuer.certificate.encode()).subject if issuer else subject
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(seconds=begins))
        .not_valid_after(now + timedelta(seconds=ends))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        .add_extension(x509.BasicConstraints(authority, None), True)
        .add_extension(x509.ExtendedKeyUsage([USAGES[role]]), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), False)
        .sign(issuer.private if issuer else private, hashes.SHA256())
    )
    key = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(made.public_bytes(serialization.Encoding.PEM).decode(), key.decode(), private)


def of_gateway(role: str, uid: str, **options: Any) -> Pair:
    """Make the certificate of a gateway for one session."""
    return make(f"{role}.{uid}", role, **options)


def impostors(role: str, uid: str, right: Pair) -> dict[str, Pair]:
    """Return certificates that are nearly the right one of a role."""
    name = f"{role}.{uid}"
    issued = make(name, role, issuer=right)
    return {
        "of another stream": of_gateway(role, "00000000-0000-4000-8000-000000000000"),
        "self-made": make(name, role),
        "issued by the right key": issued,
        "issued by the right key, with its chain": Pair(issued.certificate + right.certificate, issued.key),
        "another one of the right key": make(name, role, private=right.private),
        "an expired one of the right key": make(name, role, private=right.private, ends=-1),
    }
