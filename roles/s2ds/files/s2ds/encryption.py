# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a connection is encrypted: in each direction by OpenSSL or by the kernel, and with which suite.

A worker tells the dispatcher by a number in the memory that they share.
"""

from __future__ import annotations

from tls_keys import SUITES

KERNEL, USER_SPACE = "kernel", "user space"
SUITE_BITS, NUMBER_SHIFT = 3, 8
SEALED, OPENED = 1, 2
UNKNOWN = ("sending", "receiving", "suite")  # before the first connection


class Encryption:
    __slots__ = ("opened", "sealed", "suite")

    def __init__(self, sealed: bool, opened: bool, suite: str) -> None:
        """The kernel encrypts, the kernel decrypts."""
        self.sealed = sealed
        self.opened = opened
        self.suite = suite

    def by_kernel(self, sealed: bool, opened: bool) -> Encryption:
        return Encryption(sealed, opened, self.suite)

    def packed(self, number: int) -> int:
        """Return this as a number, which is the larger the later the connection with this number is."""
        names = [suite.name for suite in SUITES]
        suite = names.index(self.suite) + 1 if self.suite in names else 0
        return number << NUMBER_SHIFT | suite << 2 | (OPENED if self.opened else 0) | (SEALED if self.sealed else 0)

    def document(self) -> dict[str, str | None]:
        return {
            "sending": KERNEL if self.sealed else USER_SPACE,
            "receiving": KERNEL if self.opened else USER_SPACE,
            "suite": self.suite or None,
        }


def latest(packed: list[int]) -> Encryption | None:
    """Return how the latest connection is encrypted, or None if there has not been any."""
    value = max(packed)
    if not value:
        return None
    suite = value >> 2 & ((1 << SUITE_BITS) - 1)
    return Encryption(bool(value & SEALED), bool(value & OPENED), SUITES[suite - 1].name if suite else "")
