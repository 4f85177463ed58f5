# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The names by which clients may address the web server.

A web page of another host can have its own name resolve to the address of the gateway, so that the browser of somebody
who views that page takes the gateway's documents for its own (DNS rebinding). The request then contains that name.
"""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from ipaddress import ip_address
from typing import Iterable

_HOST = re.compile(r"(?:\[(?P<literal>[0-9a-f:.]+)(?:%[^\]]*)?\]|(?P<name>[^:\[\]]*))(?::[0-9]*)?", re.IGNORECASE)


class HostNames:
    """The names of a gateway.

    Args:
        names: Names in addition to ``localhost`` and those that the host has for itself.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        own = socket.gethostname()
        self._names = {_normalize(name) for name in ("localhost", own, own.partition(".")[0], *names)} - {""}
        # A name server that does not respond must not delay the start.
        threading.Thread(target=self._add_canonical, args=(own,), daemon=True).start()

    def _add_canonical(self, own: str) -> None:
        # The name that `hostname --fqdn` prints.
        with suppress(OSError, UnicodeError):
            for *_rest, canonical, _address in socket.getaddrinfo(own, None, flags=socket.AI_CANONNAME):
                if canonical:
                    self._names = self._names | {_normalize(canonical)}

    def match(self, host: str) -> bool:
        """Whether a ``Host`` header has one of the names, an IP address, or nothing."""
        found = _HOST.fullmatch(host.strip())
        if found is None:
            return False
        name = _normalize(found["literal"] or found["name"])
        return not name or name in self._names or _is_address(name)


def _normalize(name: str) -> str:
    name = name.lower()
    return name[:-1] if name.endswith(".") else name


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
