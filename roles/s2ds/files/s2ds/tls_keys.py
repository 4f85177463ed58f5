# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys of TLS 1.3 (RFC 8446, 7.3), in the form that the kernel takes (linux/tls.h)."""

from __future__ import annotations

import struct

VERSION = 0x0304
NONCE_SIZE = 12
SEQUENCE_SIZE = 8
# What a record adds to its content: a header, the type of the content, and a tag.
RECORD_OVERHEAD = 5 + 1 + 16


class Suite:
    """A cipher suite, with its number in the kernel's interface and the sizes of its key and salt."""

    __slots__ = ("hash", "key", "name", "number", "salt")

    def __init__(self, name: str, number: int, key: int, hash_name: str, salt: int) -> None:
        self.name = name
        self.number = number
        self.key = key
        self.hash = hash_name
        self.salt = salt

    def info_size(self) -> int:
        """Return the size of the kernel's structure."""
        return 4 + NONCE_SIZE + self.key + SEQUENCE_SIZE


SUITES = (
    Suite("TLS_AES_128_GCM_SHA256", 51, 16, "sha256", 4),
    Suite("TLS_AES_256_GCM_SHA384", 52, 32, "sha384", 4),
    Suite("TLS_CHACHA20_POLY1305_SHA256", 54, 32, "sha256", 0),
)


def suite_named(name: str) -> Suite | None:
    return next((suite for suite in SUITES if suite.name == name), None)


class TrafficKeys:
    """The keys of one direction, from its traffic secret."""

    __slots__ = ("_secret", "suite")

    def __init__(self, suite: Suite, secret: bytes) -> None:
        self.suite = suite
        self._secret = secret

    def info(self) -> bytes:
        """Return the kernel's structure for the first record."""
        suite = self.suite
        key, nonce = self._expand("key", suite.key), self._expand("iv", NONCE_SIZE)
        head = struct.pack("=HH", VERSION, suite.number)
        return head + nonce[suite.salt :] + key + nonce[: suite.salt] + bytes(SEQUENCE_SIZE)

    def renew(self) -> None:
        """Continue with the next secret, as a KeyUpdate announces it."""
        self._secret = self._expand("traffic upd", len(self._secret))

    def _expand(self, label: str, size: int) -> bytes:
        """HKDF-Expand-Label with an empty context."""
        # Imported here, because it loads OpenSSL, which takes memory that sessions without encryption save.
        import hmac

        name = b"tls13 " + label.encode()
        info = struct.pack("!HB", size, len(name)) + name + b"\0"
        result = block = b""
        number = 0
        while len(result) < size:
            number += 1
            block = hmac.new(self._secret, block + info + bytes([number]), self.suite.hash).digest()
            result += block
        return result[:size]
