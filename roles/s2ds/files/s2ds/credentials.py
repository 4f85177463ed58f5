# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The credentials of the encrypted leg, as text.

The dispatcher reads them when it starts and reloads, and sends them to the workers. So the credentials that were
checked are used even if the files change meanwhile.
"""

from __future__ import annotations

PARTS = ("certificate", "key", "peer")


class CredentialError(Exception):
    """The certificate, the key or the peer's certificate is invalid."""

    def __init__(self, part: str, why: str) -> None:
        super().__init__(why)
        self.part = part


class Credentials:
    __slots__ = ("certificate", "key", "peer", "side")

    def __init__(self, side: str, certificate: str, key: str, peer: str) -> None:
        self.side = side
        self.certificate = certificate
        self.key = key
        self.peer = peer

    def message(self) -> dict[str, str]:
        """Return the arguments to create these credentials again."""
        return {name: getattr(self, name) for name in self.__slots__}
