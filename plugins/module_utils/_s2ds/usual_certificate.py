# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recognizing certificates and keys as the stream playbooks create them (see ``_s2uc/certificate.py``).

They are the same but for their numbers, names, times and keys. What OpenSSL would find out about each of them is known,
and takes it longer than everything else that a HELLO does. Anything else is left to OpenSSL.
"""

from __future__ import annotations

import re

_ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
# A common name of 45 characters, which is also the only alternative name.
_NAME = rb"(?:producer|consumer)\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_SUBJECT = bytes.fromhex("30383136303406035504030c2d")
_P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_BASIC_CONSTRAINTS = bytes.fromhex("a37e307c300c0603551d130101ff04023000")
_ALTERNATIVE_NAME = bytes.fromhex("30380603551d110431302f822d")
_KEY_USAGE = bytes.fromhex("30130603551d25040c300a06082b060105050703")
_KEY_IDENTIFIER = bytes.fromhex("301d0603551d0e04160414")
# Purposes: of a server and of a client.
_PURPOSES = {"producer": b"\x01", "consumer": b"\x02"}
_CERTIFICATE = re.compile(
    b"".join(
        (
            rb"\x30\x82(?P<all>..)\x30\x82(?P<signed>..)(?P<content>\xa0\x03\x02\x01\x02",
            rb"\x02(?P<size>[\x10-\x14])(?P<number>[\x01-\x7f].{15,19})",
            re.escape(_ECDSA_SHA256),
            re.escape(_SUBJECT) + rb"(?P<name>" + _NAME + rb")",
            rb"\x30\x1e(?:\x17\x0d[0-9]{12}Z){2}",
            re.escape(_SUBJECT) + rb"(?P=name)",
            re.escape(_P256) + rb"(?P<point>.{64})",
            re.escape(_BASIC_CONSTRAINTS),
            re.escape(_ALTERNATIVE_NAME) + rb"(?P=name)",
            re.escape(_KEY_USAGE) + rb"(?P<purpose>[\x01\x02])",
            re.escape(_KEY_IDENTIFIER) + rb".{20})",
            re.escape(_ECDSA_SHA256),
            rb"\x03(?P<length>[\x40-\x4b])\x00(?P<signature>\x30.+)",
        )
    ),
    re.DOTALL,
)
# In PKCS #8, with its public key.
_KEY = re.compile(
    re.escape(bytes.fromhex("308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420"))
    + rb".{32}"
    + re.escape(bytes.fromhex("a14403420004"))
    + rb"(?P<point>.{64})",
    re.DOTALL,
)


def is_usual_pair(certificate: bytes, key: bytes, role: str) -> bool:
    """Return whether a certificate and a key have the form of those that the stream playbooks create together.

    As when OpenSSL loads them, the public key that is part of the key is compared.

    Args:
        certificate: The certificate.
        key: The key.
        role: Role of the session that uses them.
    """
    match = _KEY.fullmatch(key)
    return match is not None and is_usual(certificate, role) and match.group("point") == _point(certificate)


def _point(certificate: bytes) -> bytes:
    match = _CERTIFICATE.fullmatch(certificate)
    return match.group("point") if match else b""


def is_usual(der: bytes, role: str | None = None) -> bool:
    """Return whether a certificate has the form of those that the stream playbooks create.

    Its times, and whether a key belongs to it, are not verified.

    Args:
        der: The certificate.
        role: Role of the session that presents it. If None, it may be for either role.
    """
    match = _CERTIFICATE.fullmatch(der)
    return (
        match is not None
        and int.from_bytes(match.group("all"), "big") == len(der) - 4
        and int.from_bytes(match.group("signed"), "big") == len(match.group("content"))
        and match.group("size")[0] == len(match.group("number"))
        and match.group("length")[0] == len(match.group("signature")) + 1
        and (role is None or match.group("purpose") == _PURPOSES[role])
    )
