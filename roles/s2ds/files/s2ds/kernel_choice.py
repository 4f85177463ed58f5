# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the kernel or OpenSSL encrypts, and whether the kernel or OpenSSL decrypts."""

from __future__ import annotations

import socket

import kernel_tls
from config import AUTO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from config import Config
    from log import Log


class Choice:
    __slots__ = ("directions", "reason")

    def __init__(self, sealing: bool, opening: bool, reason: str) -> None:
        self.directions = (sealing, opening)
        self.reason = reason


def choose(config: Config, log: Log) -> Choice:
    if config.tls is None:
        return Choice(False, False, "not encrypted")
    if config.kernel_tls is False:
        return Choice(False, False, "kernel_tls is false")
    refusal = unavailable()
    if refusal:
        return Choice(False, False, refusal)
    if config.kernel_tls is True:
        return Choice(True, True, "kernel_tls is true")
    return Choice(False, False, f"kernel_tls is {AUTO}")


def unavailable() -> str:
    """Return why the kernel does not have TLS, or an empty string if it has it."""
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            with socket.create_connection(listener.getsockname(), timeout=5) as sock:
                kernel_tls.attach(sock)
        except FileNotFoundError:
            return "the kernel has no TLS, or its module tls is not loaded"
        except OSError as error:
            return f"the kernel refuses TLS: {error.strerror or error}"
    return ""
