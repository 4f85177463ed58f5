# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The PEM format of certificates and keys. Gateways accept only its canonical form, without any other text.

The data server checks whether a certificate can be used and whether a key matches it.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused

# An RSA key of 16384 bits fits.
MAX_PEM = 16384

#: One certificate as people and programs write it, with any line length and line endings.
LOOSE_CERTIFICATE = re.compile(
    r"\s*-----BEGIN CERTIFICATE-----\s(?P<body>[A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*", re.ASCII
)
#: One private key, unencrypted, in the same way.
LOOSE_KEY = re.compile(
    r"-----BEGIN ((?:EC |RSA )?PRIVATE KEY)-----\s+(?P<body>[A-Za-z0-9+/=\s]+)-----END \1-----", re.ASCII
)
_BODY = r"(?P<body>(?:[A-Za-z0-9+/]{64}\n)*[A-Za-z0-9+/]{1,64}={0,2}\n)"
_CERTIFICATE = re.compile(rf"-----BEGIN CERTIFICATE-----\n{_BODY}-----END CERTIFICATE-----\n?", re.ASCII)
_KEY = re.compile(rf"-----BEGIN (?P<kind>(?:EC |RSA )?PRIVATE KEY)-----\n{_BODY}-----END (?P=kind)-----\n?", re.ASCII)
_FORM = "one block with lines of 64 characters that end with a line feed, and nothing else"


def decode_key(text: str) -> bytes:
    """Return the content of a private key in PKCS #8 format, or nothing if it is something else."""
    match = LOOSE_KEY.fullmatch(text.strip())
    if match is None or match.group(1) != "PRIVATE KEY":
        return b""
    try:
        return b64decode("".join(match.group("body").split()), validate=True)
    except binascii.Error:
        return b""


def check_certificate(option: str, value: Any) -> str | None:
    """Return a certificate in PEM, or None if the value is None.

    Args:
        option: Name of the option, for the message.
        value: The value of the option.

    Raises:
        ValueRefused: The value is not exactly one certificate. The message does not contain it.
    """
    return _check(option, value, _CERTIFICATE, f"must be one certificate in PEM format: {_FORM}")


def check_private_key(option: str, value: Any) -> str | None:
    """Return a private key in PEM, or None if the value is None.

    Args:
        option: Name of the option, for the message.
        value: The value of the option.

    Raises:
        ValueRefused: The value is not exactly one unencrypted private key. The message does not contain it.
    """
    if isinstance(value, str) and "ENCRYPTED" in value[:MAX_PEM]:
        raise ValueRefused(option, "(hidden)", "it is passphrase-protected")
    return _check(option, value, _KEY, f"must be one unencrypted private key in PEM format: {_FORM}")


def _check(option: str, value: Any, shape: re.Pattern[str], allowed: str) -> str | None:
    if value is None:
        return None
    match = shape.fullmatch(value) if isinstance(value, str) and len(value) <= MAX_PEM else None
    # Certificates are not shown either, because the user may have confused them with the key.
    if match is None or not _is_whole(match.group("body")):
        raise ValueRefused(option, "(hidden)", f"{allowed}; at most {MAX_PEM} characters")
    text: str = match.group()
    return text if text.endswith("\n") else text + "\n"


def _is_whole(body: str) -> bool:
    """Tell whether a PEM body is one complete DER value in canonical base64."""
    text = body.replace("\n", "")
    try:
        der = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    if b64encode(der).decode() != text or len(der) < 2 or der[0] != 0x30:
        return False
    size, start = der[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(der[2:start], "big")
    return len(der) == start + size
