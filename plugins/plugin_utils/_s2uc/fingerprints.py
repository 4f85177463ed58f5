# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fingerprints of certificates, without the package cryptography: most runs need nothing else of a certificate."""

from __future__ import annotations

import hashlib
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._common.pem import LOOSE_CERTIFICATE, MAX_PEM
from ansible_collections.scistream.gateway.plugins.module_utils._common.x509_der import decode, parse

_UNREADABLE = "cannot be read: it was damaged or modified"


class CertificateError(ScistreamError):
    """Invalid or unexpected certificate. The message begins with a verb, to be used after "the certificate"."""


def fingerprint(value: Any) -> str:
    """Return the first 96 bits of the SHA-256 fingerprint of a certificate, for comparison by people.

    Raises:
        CertificateError: The value is not a certificate.
    """
    pem = one_certificate(value)
    try:
        parse(pem)
        return group_digest(hashlib.sha256(decode(pem)).hexdigest())
    except ValueError:
        raise unreadable() from None


def group_digest(digest: str) -> str:
    """Return the first 96 bits of a hexadecimal digest in groups of four digits."""
    return "-".join(digest[index : index + 4] for index in range(0, 24, 4))


def one_certificate(value: Any) -> str:
    """Return a text that has the form of one certificate. Its content may be anything.

    Raises:
        CertificateError: The value is something else.
    """
    if isinstance(value, str) and "PRIVATE KEY" in value:
        raise CertificateError("holds a private key, which must never leave its gateway: release the stream")
    if not isinstance(value, str) or len(value) > MAX_PEM or not LOOSE_CERTIFICATE.fullmatch(value):
        raise CertificateError("is not exactly one certificate in PEM format")
    return value


def unreadable() -> CertificateError:
    """Return the error of a certificate whose content is none."""
    return CertificateError(_UNREADABLE)
