# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading s2ds.json strictly: unknown keys and invalid values are refused, naming the key and the value."""

from __future__ import annotations

import json
import re

from listener_settings import Listener, listeners_of, networks_of
from validation import ConfigError, Keys, Network, bad, family, integer, ip_address, number, optional, pair, within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from dial_settings import Dials, Waits

NAME = "s2ds.json"

MIB = 1 << 20
AUTO = "auto"
# Well below the limit of AES-GCM, which is 390 GB (RFC 8446, 5.5).
KEY_UPDATE = 64 << 30
SIDES = ("accept", "connect")
CIPHERS = (AUTO, "aes-128-gcm", "aes-256-gcm", "chacha20-poly1305")
CONGESTION = re.compile(r"[a-z][a-z0-9_-]{0,14}", re.ASCII)


class TlsFiles:
    """The encrypted leg, and the files with the credentials."""

    __slots__ = ("certificate", "key", "peer", "side")

    def __init__(self, side: str, certificate: str, key: str, peer: str) -> None:
        self.side = side
        self.certificate = certificate
        self.key = key
        self.peer = peer


class Config:
    __slots__ = (
        "accept_congestion",
        "allow",
        "cipher",
        "connect_congestion",
        "connect_timeout",
        "dial",
        "dials",
        "kernel_tls",
        "key_update",
        "listeners",
        "max_connections",
        "multipath",
        "pipe_size",
        "port_range",
        "rate",
        "source",
        "tls",
        "waits",
        "workers",
    )

    def __init__(self, data: Any) -> None:
        values = Keys(data, "", CHECKS)
        self.listeners: list[Listener] = values.take("listeners")
        self.port_range: tuple[int, int] | None = values.take("port_range", None)
        self.allow: list[Network] = values.take("allow", [])
        self.source: str | None = values.take("source", None)
        self.rate: float | None = values.take("rate", None)
        self.pipe_size: int = values.take("pipe_size", MIB)
        self.workers: int = values.take("workers", 0)
        self.max_connections: int = values.take("max_connections", 1024)
        self.connect_timeout: float = values.take("connect_timeout", 10)
        self.kernel_tls: bool | str = values.take("kernel_tls", AUTO)
        self.cipher: str = values.take("cipher", AUTO)
        self.multipath: str | None = values.take("multipath", None)
        self.key_update: int | None = values.take("key_update", KEY_UPDATE)
        congestion: tuple[str | None, str | None] = values.take("congestion", (None, None))
        self.accept_congestion, self.connect_congestion = congestion
        self.tls: TlsFiles | None = values.take("tls", None)
        waits_or_dials: tuple[Waits | None, Dials | None] = values.take("dial", (None, None))
        self.waits, self.dials = waits_or_dials
        self.dial: Waits | Dials | None = self.waits or self.dials
        self._agree()

    def _agree(self) -> None:
        if self.dial is not None:
            if self.kernel_tls is True:
                raise bad("kernel_tls", True, f'must be false or "{AUTO}" with dial')
            self.dial.agree(self.listeners, self.source, self.tls.side if self.tls else None)
        if not self.listeners and self.dials is None:
            raise bad("listeners", [], "must be a list of at least one listener")
        if self.multipath and self.tls and self.kernel_tls is True:
            raise bad("kernel_tls", True, f'must be false or "{AUTO}" with multipath')
        if self.source is None:
            return
        for index, listener in enumerate(self.listeners):
            if listener.target and family(listener.target[0], "") != family(self.source, ""):
                key = f"listeners[{index}].target"
                raise bad(key, list(listener.target), f"is not of the address family of source {self.source!r}")


def allows(networks: list[Network], kind: int, address: str) -> bool:
    """Determine whether an address is in one of the networks. Without networks, all are."""
    if not networks:
        return True
    value = number(address)
    return any(network.holds(kind, value) for network in networks)


def load(name: str = NAME) -> Config:
    try:
        with open(name, "rb") as file:
            text = file.read().decode()
        data = json.loads(text, object_pairs_hook=_unique)
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{name}: not JSON: {error}") from None
    try:
        return Config(data)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        keys = [key for key, _value in pairs]
        raise ConfigError(f"{NAME}: {next(key for key in keys if keys.count(key) > 1)}: given twice")
    return data


def _range(value: Any, key: str) -> tuple[int, int]:
    low, high = (integer(1, 65535)(port, key) for port in pair(value, key, "[first port, last port]"))
    if low > high:
        raise bad(key, value, "must not begin after its end")
    return low, high


def _congestion(value: Any, key: str) -> tuple[str | None, str | None]:
    values = Keys(value, key, CONGESTION_CHECKS)
    return values.take("accept", None), values.take("connect", None)


def _algorithm(value: Any, key: str) -> str:
    if not isinstance(value, str) or not CONGESTION.fullmatch(value):
        raise bad(key, value, "must be the name of a TCP congestion control such as cubic")
    return value


def _tls(value: Any, key: str) -> TlsFiles:
    values = Keys(value, key, TLS_CHECKS)
    return TlsFiles(*(values.take(name) for name in TLS_CHECKS))


def _side(value: Any, key: str) -> str:
    if value not in SIDES:
        raise bad(key, value, f"must be one of {', '.join(SIDES)}")
    return str(value)


def _kernel_tls(value: Any, key: str) -> bool | str:
    if value is not True and value is not False and value != AUTO:
        raise bad(key, value, f'must be true, false or "{AUTO}"')
    return value if isinstance(value, bool) else AUTO


def _cipher(value: Any, key: str) -> str:
    if value not in CIPHERS:
        raise bad(key, value, f"must be one of {', '.join(CIPHERS)}")
    return str(value)


def _dial(value: Any, key: str) -> tuple[Waits | None, Dials | None]:
    if value is None:
        return None, None
    # Imported here, because most sessions do without it.
    from dial_settings import read

    return read(value, key)


def _path(value: Any, key: str) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise bad(key, value, "must be the path of a file")
    return value


CONGESTION_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "accept": optional(_algorithm),
    "connect": optional(_algorithm),
}
# In the order of the arguments of TlsFiles.
TLS_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "side": _side,
    "certificate": _path,
    "key": _path,
    "peer": _path,
}
CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "listeners": listeners_of,
    "port_range": optional(_range),
    "allow": networks_of,
    "source": optional(ip_address),
    "rate": optional(within(1000, 1e15)),
    "pipe_size": integer(4096, 64 * MIB),
    "workers": integer(0, 64),
    "max_connections": integer(1, 65536),
    "connect_timeout": within(0.1, 3600),
    "congestion": _congestion,
    "kernel_tls": _kernel_tls,
    "cipher": _cipher,
    "multipath": optional(_side),
    "key_update": optional(integer(MIB, 256 << 30)),
    "tls": optional(_tls),
    "dial": _dial,
}
