# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading and checking the credential files of a configuration.

OpenSSL is only loaded by the processes that need it: the workers, and one for each check. In the dispatcher, it would
be a large part of the memory of an idle session, unless many share it.
"""

from __future__ import annotations

import json
import sys

import separate
from config import AUTO, NAME
from credentials import PARTS, CredentialError, Credentials
from validation import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from config import Config, TlsFiles

MAX_SIZE = 65536


def read(config: Config, meanwhile: Callable[[], object] = lambda: None) -> Credentials | None:
    """Return the credentials of a configuration, or None if it has none.

    If another process checks them, the function is called meanwhile.

    Raises:
        ConfigError: They cannot be used.
    """
    files = config.tls
    if files is None:
        return None
    try:
        credentials = Credentials(files.side, *(_read(files, part) for part in PARTS))
        if "ssl" in sys.modules:
            found = _objection(config.cipher, credentials)
        else:
            text = separate.run(lambda: json.dumps(_objection(config.cipher, credentials)).encode(), meanwhile)
            found = json.loads(text)
        if found and not found[0]:
            raise ConfigError(found[1])
        if found:
            raise CredentialError(*found)
    except CredentialError as error:
        path = json.dumps(getattr(files, error.part))
        raise ConfigError(f"{NAME}: tls.{error.part}: {path} {error}") from None
    except OSError as error:
        raise ConfigError(f"{NAME}: tls: {error.strerror or error}") from None
    return credentials


def _read(files: TlsFiles, part: str) -> str:
    try:
        with open(getattr(files, part), "rb") as file:
            text = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise CredentialError(part, f"cannot be read: {error.strerror}") from None
    if len(text) > MAX_SIZE:
        raise CredentialError(part, f"is larger than {MAX_SIZE} bytes")
    try:
        return text.decode("ascii")
    except ValueError:
        raise CredentialError(part, "is not PEM") from None


def _objection(cipher: str, credentials: Credentials) -> list[str]:
    """Return which part cannot be used, and why. The list is empty if all of them can be used."""
    if cipher != AUTO:
        from tls_suite import restrict

        try:
            restrict(cipher)
        except ConfigError as error:
            return ["", str(error)]
    from tls_context import TlsContext

    try:
        TlsContext(credentials, buffers=False)
    except CredentialError as error:
        return [error.part, str(error)]
    return []
