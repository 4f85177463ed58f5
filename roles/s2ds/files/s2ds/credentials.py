# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The credentials of the encrypted leg, as texts: read and checked before any of them is used.

The dispatcher reads them at its start and at a reload, the workers get them from it. So what was checked is
what is used, even where the files change meanwhile.
"""

from __future__ import annotations

import json

from checks import ConfigError
from config import NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from config import Config, TlsFiles

LONGEST = 65536
PARTS = ("certificate", "key", "peer")


class CredentialError(Exception):
    """One of the three is not what it should be."""

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
        """What Credentials(**message) makes again."""
        return {name: getattr(self, name) for name in self.__slots__}


def read(config: Config) -> Credentials | None:
    """The credentials that a configuration names, if it names any; ConfigError where they are of no use."""
    files = config.tls
    if files is None:
        return None
    # Only here: a session without encryption does without OpenSSL and its memory.
    from tls_context import TlsContext

    try:
        credentials = Credentials(files.side, *(_read(files, part) for part in PARTS))
        TlsContext(credentials)
    except CredentialError as error:
        path = json.dumps(getattr(files, error.part))
        raise ConfigError(f"{NAME}: tls.{error.part}: {path} {error}") from None
    except OSError as error:
        raise ConfigError(f"{NAME}: tls: {error.strerror or error}") from None
    return credentials


def _read(files: TlsFiles, part: str) -> str:
    try:
        with open(getattr(files, part), "rb") as file:
            text = file.read(LONGEST + 1)
    except OSError as error:
        raise CredentialError(part, f"cannot be read: {error.strerror}") from None
    if len(text) > LONGEST:
        raise CredentialError(part, f"is larger than {LONGEST} bytes")
    try:
        return text.decode("ascii")
    except ValueError:
        raise CredentialError(part, "is not PEM") from None
