# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates and keys in options: one block in canonical form, and keys are never shown."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.pem import (
    MAX_PEM,
    check_certificate,
    check_private_key,
)


def sequence(size: int) -> bytes:
    """Return a DER value with the outer structure of a certificate."""
    content = os.urandom(size)
    if size < 128:
        return bytes([0x30, size]) + content
    return b"\x30\x82" + size.to_bytes(2, "big") + content


def pem(kind: str, der: bytes, end: str = "\n") -> str:
    """Return a PEM block."""
    text = base64.b64encode(der).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----"]) + end


DER = sequence(500)
GOOD = pem("CERTIFICATE", DER)
LINES = GOOD.splitlines()
KEY = pem("PRIVATE KEY", sequence(138))
# Changes that make a valid block invalid.
BROKEN: list[Callable[[str], str]] = [
    lambda text: "",
    lambda text: " " + text,
    lambda text: "\n" + text,
    lambda text: text + "\n",
    lambda text: text + " ",
    lambda text: text + text,
    lambda text: text + "evil",
    lambda text: "Subject: evil\n" + text,
    lambda text: text.replace("\n", "\r\n"),
    lambda text: text.replace("\n", "\r"),
    lambda text: text.replace("\n", ""),
    lambda text: text.replace("\n", "\n\n", 1),
    lambda text: text.replace("-----\n", "-----\nProc-Type: 4\n\n", 1),
    lambda text: text.replace("-----BEGIN", "----BEGIN"),
    lambda text: text.replace("-----END", "-----END X"),
    lambda text: text[: len(text) // 2],
    lambda text: text.replace("\n-----END", "=\n-----END"),
    lambda text: text[:60] + "\0" + text[61:],
    lambda text: text[:60] + "%" + text[61:],
    lambda text: text[:60] + "\n" + text[60:],
    lambda text: text[:60] + " " + text[61:],
    lambda text: text.replace("\n", "\u2028"),
    lambda text: "\ufeff" + text,
]


def test_certificates() -> None:
    assert check_certificate("certificate", GOOD) == GOOD == check_certificate("certificate", GOOD.rstrip("\n"))
    assert check_certificate("certificate", None) is None
    for size in (1, 45, 46, 47, 48, 127, 128, 12000):
        text = pem("CERTIFICATE", sequence(size))
        assert check_certificate("certificate", text) == text


@pytest.mark.parametrize("kind", ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"])
def test_keys(kind: str) -> None:
    text = pem(kind, sequence(138))
    assert check_private_key("key", text) == text == check_private_key("key", text[:-1])
    assert check_private_key("key", None) is None


@pytest.mark.parametrize("change", BROKEN)
def test_not_a_single_block(change: Callable[[str], str]) -> None:
    checks: list[tuple[str, str, Any]] = [("certificate", GOOD, check_certificate), ("key", KEY, check_private_key)]
    for option, good, check in checks:
        with pytest.raises(ValueRefused, match=f"^{option}: ") as error:
            check(option, change(good))
        assert KEY.splitlines()[1] not in str(error.value) and str(error.value).isprintable()


@pytest.mark.parametrize(
    "value",
    [
        *(5, True, [], {}, b"", GOOD.encode(), [GOOD], KEY, pem("CERTIFICATE REQUEST", DER), pem("X509 CRL", DER)),
        *(pem("TRUSTED CERTIFICATE", DER), pem("certificate", DER), pem("CERTIFICATE", sequence(MAX_PEM))),
        *(pem("CERTIFICATE", der) for der in (b"", b"0", DER[:-1], DER + b"x", b"1" + DER[1:], b"\x30\x80\0\0")),
    ],
    ids=lambda item: ascii(item)[:30],
)
def test_not_a_certificate(value: Any) -> None:
    with pytest.raises(ValueRefused, match=r"^peer_certificate: .*one certificate in PEM"):
        check_certificate("peer_certificate", value)


@pytest.mark.parametrize(
    "value",
    [
        *(GOOD, pem("PUBLIC KEY", DER), pem("DSA PRIVATE KEY", DER), pem("OPENSSH PRIVATE KEY", DER)),
        *(GOOD + KEY, KEY + GOOD, pem("EC PARAMETERS", sequence(5)) + KEY),
    ],
    ids=lambda item: ascii(item)[:30],
)
def test_not_a_key(value: str) -> None:
    with pytest.raises(ValueRefused, match=r"^key: .*one unencrypted private key in PEM format"):
        check_private_key("key", value)


@pytest.mark.parametrize(
    "value",
    [
        pem("ENCRYPTED PRIVATE KEY", DER),
        pem("EC PRIVATE KEY", DER).replace("-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0\n\n", 1),
    ],
)
def test_keys_with_a_passphrase(value: str) -> None:
    with pytest.raises(ValueRefused, match=r"^key: .*it is passphrase-protected"):
        check_private_key("key", value)


def test_other_encodings_of_the_same_value() -> None:
    """Unused bits must be zero, because decoding ignores them."""
    der = sequence(47)
    text = base64.b64encode(der).decode()
    assert text.endswith("=") and base64.b64decode(text) == der
    other = text[:-2] + chr(ord(text[-2]) + 1) + "="
    with pytest.raises(ValueRefused):
        check_certificate("certificate", GOOD.replace("\n".join(LINES[1:-1]), f"{other[:64]}\n{other[64:]}"))


@given(st.text(max_size=200))
def test_any_text(value: str) -> None:
    for check in (check_certificate, check_private_key):
        with pytest.raises(ValueRefused):
            check("option", value)
        with pytest.raises(ValueRefused):
            check("option", GOOD[:100] + value + GOOD[100:] if value else "")
