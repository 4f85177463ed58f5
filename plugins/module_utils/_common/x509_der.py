# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading the names, the validity and the issuer of a certificate. Nothing is verified here.

The standard library shows that of a peer in a connection only, and ahead of one something has to be output to the user.
"""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.pem import LOOSE_CERTIFICATE

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", re.ASCII)

_TIME = re.compile(r"((?:[0-9]{2}){1,2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})Z", re.ASCII)
_SHORT_YEAR = 2
# Usual certificates have a few thousand characters.
_MAX_LENGTH = 1 << 16

_SEQUENCE, _OCTETS, _OID, _UTC_TIME = 0x30, 0x04, 0x06, 0x17
_VERSION, _EXTENSIONS, _DNS_NAME = 0xA0, 0xA3, 0x82
_SUBJECT_ALT_NAME, _COMMON_NAME = b"\x55\x1d\x11", b"\x55\x04\x03"


@dataclass(frozen=True)
class Certificate:
    """A certificate.

    Args:
        names: Its DNS names, or the common name of its subject if there are none.
        begins: Start of its validity, in seconds since the epoch.
        ends: End of its validity.
        issued_by_itself: Whether its subject and issuer are equal.
    """

    names: Sequence[str]
    begins: float
    ends: float
    issued_by_itself: bool


def parse(pem: str) -> Certificate:
    """Parse a certificate.

    Args:
        pem: Exactly one certificate in PEM format.

    Raises:
        ValueError: It is something else.
    """
    der = decode(pem)
    try:
        return _read(der)
    except (ValueError, IndexError, OverflowError):
        raise ValueError("it cannot be read") from None


def decode(pem: str) -> bytes:
    """Return the content of a certificate, which may be anything.

    Args:
        pem: Exactly one certificate in PEM format.

    Raises:
        ValueError: It is something else.
    """
    if len(pem) > _MAX_LENGTH:
        raise ValueError(f"it is longer than {_MAX_LENGTH} characters")
    match = LOOSE_CERTIFICATE.fullmatch(pem)
    if match is None:
        raise ValueError("it is not exactly one certificate in PEM format")
    try:
        return b64decode("".join(match.group("body").split()), validate=True)
    except ValueError:
        raise ValueError("it cannot be read") from None


def _read(der: bytes) -> Certificate:
    ((_tag, whole),) = _values(der)
    fields = _values(_values(whole)[0][1])
    if fields[0][0] == _VERSION:
        del fields[0]
    issuer, validity, subject = (content for _tag, content in fields[2:5])
    begins, ends = (_time(tag, content) for tag, content in _values(validity)[:2])
    names = [name for tag, content in fields[5:] if tag == _EXTENSIONS for name in _dns_names(content)]
    found = [name for name in names or _common_names(subject) if _NAME.fullmatch(name)]
    return Certificate(found, begins, ends, issuer == subject)


def _values(data: bytes) -> list[tuple[int, bytes]]:
    """Return a sequence of DER values, each with its tag."""
    found = []
    at = 0
    while at < len(data):
        tag, size, start = data[at], data[at + 1], at + 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(data[at + 2 : start], "big")
        at = start + size
        if at > len(data):
            raise ValueError("it is truncated")
        found.append((tag, data[start:at]))
    return found


def _time(tag: int, content: bytes) -> float:
    match = _TIME.fullmatch(content.decode("ascii"))
    if match is None or (tag == _UTC_TIME) != (len(match.group(1)) == _SHORT_YEAR):
        raise ValueError("it has an unknown time")
    year, month, day, hour, minute, second = map(int, match.groups())
    if tag == _UTC_TIME:
        year += 2000 if year < 50 else 1900
    return datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc).timestamp()


def _dns_names(content: bytes) -> list[str]:
    for _tag, extension in _values(_values(content)[0][1]):
        fields = _values(extension)
        if fields[0] == (_OID, _SUBJECT_ALT_NAME):
            # The optional flag "critical" may precede the value.
            (content,) = (value for tag, value in fields[1:] if tag == _OCTETS)
            names = _values(_values(content)[0][1])
            return [name.decode("ascii") for tag, name in names if tag == _DNS_NAME]
    return []


def _common_names(subject: bytes) -> list[str]:
    parts = [
        _values(part) for _tag, relative in _values(subject) for tag, part in _values(relative) if tag == _SEQUENCE
    ]
    return [part[1][1].decode("utf-8") for part in parts if part[0] == (_OID, _COMMON_NAME)]
