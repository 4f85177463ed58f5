# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restricting OpenSSL to one cipher suite of TLS 1.3, which Python cannot do before version 3.15.

OpenSSL takes it from its configuration, once, when a process begins to use it.
"""

from __future__ import annotations

import os
import sys

from config import AUTO
from validation import ConfigError

VARIABLE = "OPENSSL_CONF"
SUITES = {
    "aes-128-gcm": "TLS_AES_128_GCM_SHA256",
    "aes-256-gcm": "TLS_AES_256_GCM_SHA384",
    "chacha20-poly1305": "TLS_CHACHA20_POLY1305_SHA256",
}
CONFIGURATION = """\
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = tls
[tls]
Ciphersuites = {}
"""
# Python's modules that use OpenSSL.
USERS = ("_hashlib", "_ssl")


def restrict(cipher: str) -> None:
    """Have OpenSSL offer and accept one cipher. Nothing changes if this process uses OpenSSL already.

    Raises:
        ConfigError: OpenSSL does not do that.
    """
    if cipher == AUTO or any(name in sys.modules for name in USERS):
        return
    suite = SUITES[cipher]
    before = os.environ.get(VARIABLE)
    descriptor = os.memfd_create("openssl.cnf")
    try:
        os.write(descriptor, CONFIGURATION.format(suite).encode())
        os.environ[VARIABLE] = f"/proc/self/fd/{descriptor}"
        import ssl

        ciphers = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).get_ciphers()
    finally:
        os.close(descriptor)
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before
    found = {item["name"] for item in ciphers if item["name"] in SUITES.values() or item["protocol"] == "TLSv1.3"}
    if found != {suite}:
        raise ConfigError(f"s2ds.json: cipher: OpenSSL does not restrict itself to {cipher!r}: use {AUTO!r}")
