# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The certificates of gateways: what is made, and that nothing else is taken for one."""

from __future__ import annotations

import base64
import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import (
    check_certificate,
    make_credentials,
    not_after,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.fingerprints import CertificateError, fingerprint

UID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
NOW = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)


def load(text: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(text.encode())


@pytest.mark.parametrize(
    ("role", "usage"), [("producer", ExtendedKeyUsageOID.SERVER_AUTH), ("consumer", ExtendedKeyUsageOID.CLIENT_AUTH)]
)
def test_what_is_in_a_certificate(role: str, usage: x509.ObjectIdentifier) -> None:
    made = make_credentials(UID, role)
    certificate = load(made.certificate)
    name = f"{role}.{UID}"
    assert [attribute.value for attribute in certificate.subject] == [name]
    assert certificate.issuer == certificate.subject
    extensions = {extension.oid: extension for extension in certificate.extensions}
    assert len(extensions) == 4
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical and not basic.value.ca
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.DNSName(name)]
    assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [usage]
    assert certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    key = serialization.load_pem_private_key(made.key.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp256r1"
    assert key.public_key() == certificate.public_key()
    assert isinstance(certificate.signature_hash_algorithm, hashes.SHA256)
    assert made.key.startswith("-----BEGIN PRIVATE KEY-----\n")
    assert "PRIVATE" not in repr(made)
    assert check_certificate(made.certificate, UID, role) == made.certificate


def test_each_is_another_one() -> None:
    first, second = (make_credentials(UID, "producer") for _count in range(2))
    assert first.key != second.key
    assert load(first.certificate).serial_number != load(second.certificate).serial_number
    assert fingerprint(first.certificate) != fingerprint(second.certificate)
    assert re.fullmatch(r"([0-9a-f]{4}-){5}[0-9a-f]{4}", fingerprint(first.certificate))


@pytest.mark.parametrize(
    ("until", "end"),
    [
        (None, NOW + timedelta(days=365)),
        (NOW + timedelta(hours=12), NOW + timedelta(hours=12)),
        (NOW - timedelta(days=1), NOW),
    ],
)
def test_validity(until: datetime | None, end: datetime) -> None:
    certificate = make_credentials(UID, "producer", until, NOW).certificate
    assert not_after(certificate) == end
    check_certificate(certificate, UID, "producer", NOW)
    check_certificate(certificate, UID, "producer", NOW - timedelta(minutes=59))
    with pytest.raises(CertificateError, match="expired at "):
        check_certificate(certificate, UID, "producer", end + timedelta(seconds=1))
    with pytest.raises(CertificateError, match="compare the clocks"):
        check_certificate(certificate, UID, "producer", NOW - timedelta(minutes=61))


def refused(value: Any) -> str:
    with pytest.raises(CertificateError) as caught:
        check_certificate(value, UID, "producer")
    assert "\n" not in str(caught.value) and "BEGIN" not in str(caught.value)
    return str(caught.value)


def test_of_another_stream_or_role() -> None:
    assert f"not of producer.{UID}" in refused(make_credentials(UID, "consumer").certificate)
    assert "is that of" in refused(make_credentials(UID[::-1], "producer").certificate)


def test_a_second_name_is_one_too_many() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = f"producer.{UID}"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=9999))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name), x509.DNSName("gw\nother")]), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    assert "is that of" in refused(certificate)


def test_signed_by_another_key_or_of_another_kind() -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"producer.{UID}")])
    keys: list[Any] = [ec.generate_private_key(ec.SECP256R1()) for _count in range(2)]
    keys.append(rsa.generate_private_key(65537, 2048))
    for key, signer, text in ((keys[0], keys[1], "signature"), (keys[2], keys[2], "was not created by stream_inbound")):
        builder = x509.CertificateBuilder(name, name, key.public_key(), 7)
        builder = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=9999))
        certificate = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        assert text in refused(certificate)


@pytest.mark.filterwarnings("ignore:Parsed a")
def test_every_single_byte_counts() -> None:
    good = load(make_credentials(UID, "producer").certificate).public_bytes(serialization.Encoding.DER)
    for place in range(len(good)):
        body = base64.encodebytes(good[:place] + bytes([good[place] ^ 1 << place % 8]) + good[place + 1 :]).decode()
        assert refused(f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n")


def test_one_that_was_changed() -> None:
    lines = make_credentials(UID, "producer").certificate.splitlines()
    other = make_credentials(UID, "producer").certificate.splitlines()
    for number in range(1, len(lines) - 1):
        if lines[number] != other[number]:
            assert refused("\n".join([*lines[:number], other[number], *lines[number + 1 :]]))
    assert "damaged" in refused("\n".join([lines[0], *lines[2:]]))


def test_a_private_key_is_none_and_is_not_shown() -> None:
    made = make_credentials(UID, "producer")
    assert "private key" in refused(made.key)
    assert "private key" in refused(made.certificate + made.key)


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        [],
        "",
        "text",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nää\n-----END CERTIFICATE-----\n",
        "x" * 100_000,
    ],
)
def test_what_is_none(value: Any) -> None:
    assert refused(value)


def test_two_are_none() -> None:
    certificate = make_credentials(UID, "producer").certificate
    assert "one certificate" in refused(certificate + certificate)
