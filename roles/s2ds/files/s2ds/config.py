# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""s2ds.json: read strictly. What is not understood is refused, naming the key and its value."""

from __future__ import annotations

import json
import re
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

NAME = "s2ds.json"

MIB = 1 << 20
CONGESTION = re.compile(r"[a-z][a-z0-9_-]{0,14}", re.ASCII)


class ConfigError(Exception):
    pass


class Network:
    """An address range; membership is one mask and one comparison."""

    __slots__ = ("_mask", "_value", "family")

    def __init__(self, text: Any, key: str) -> None:
        if not isinstance(text, str):
            raise _bad(key, text, "must be a network such as 192.0.2.0/24")
        host, slash, length = text.partition("/")
        self.family = family(host, key)
        bits = 32 if self.family == socket.AF_INET else 128
        if slash and not (length.isascii() and length.isdigit() and int(length) <= bits):
            raise _bad(key, text, f"prefix length must be 0 to {bits}")
        prefix = int(length) if slash else bits
        self._mask = ((1 << prefix) - 1) << (bits - prefix)
        self._value = number(host)
        if self._value & ~self._mask:
            raise _bad(key, text, "has bits set beyond its prefix length")

    def holds(self, kind: int, value: int) -> bool:
        return kind == self.family and value & self._mask == self._value


class Listener:
    __slots__ = ("address", "port", "target")

    def __init__(self, address: str, port: int, target: tuple[str, int] | None) -> None:
        self.address = address
        self.port = port
        self.target = target


class Config:
    __slots__ = (
        "accept_congestion",
        "allow",
        "connect_congestion",
        "connect_timeout",
        "listeners",
        "max_connections",
        "pipe_size",
        "port_range",
        "rate",
        "source",
        "workers",
    )

    def __init__(self, data: Any) -> None:
        values = _Keys(data, "", CHECKS)
        self.listeners: list[Listener] = values.take("listeners")
        self.port_range: tuple[int, int] | None = values.take("port_range", None)
        self.allow: list[Network] = values.take("allow", [])
        self.source: str | None = values.take("source", None)
        self.rate: float | None = values.take("rate", None)
        self.pipe_size: int = values.take("pipe_size", MIB)
        self.workers: int = values.take("workers", 0)
        self.max_connections: int = values.take("max_connections", 1024)
        self.connect_timeout: float = values.take("connect_timeout", 10)
        congestion: tuple[str | None, str | None] = values.take("congestion", (None, None))
        self.accept_congestion, self.connect_congestion = congestion
        self._agree()

    def _agree(self) -> None:
        if self.source is None:
            return
        for index, listener in enumerate(self.listeners):
            if listener.target and family(listener.target[0], "") != family(self.source, ""):
                key = f"listeners[{index}].target"
                raise _bad(key, list(listener.target), f"is not of the address family of source {self.source!r}")

    def allows(self, kind: int, address: str) -> bool:
        if not self.allow:
            return True
        value = number(address)
        return any(network.holds(kind, value) for network in self.allow)


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


def family(address: str, key: str) -> int:
    """The family of an IP address. Names are not looked up: what they mean could change under a stream."""
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.inet_pton(kind, address)
    except (OSError, ValueError):
        raise _bad(key, address, "is not an IP address") from None
    return kind


def number(address: str) -> int:
    """The value of an address; an interface after it (fe80::1%eth0) does not count."""
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    return int.from_bytes(socket.inet_pton(kind, address.partition("%")[0]), "big")


def _bad(key: str, value: Any, why: str) -> ConfigError:
    return ConfigError(f"{key}: {json.dumps(value)} {why}" if key else f"{json.dumps(value)} {why}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        keys = [key for key, _value in pairs]
        raise ConfigError(f"{NAME}: {next(key for key in keys if keys.count(key) > 1)}: given twice")
    return data


class _Keys:
    """The values of one object, each taken with its check; keys that have none are refused."""

    def __init__(self, data: Any, path: str, checks: dict[str, Callable[[Any, str], Any]]) -> None:
        if not isinstance(data, dict):
            raise _bad(path, data, "must be an object")
        for key in data:
            if key not in checks:
                raise ConfigError(f"{path}{'.' if path else ''}{key}: unknown key (known: {', '.join(checks)})")
        self._data = data
        self._path = path + "." if path else ""
        self._checks = checks

    def take(self, key: str, *default: Any) -> Any:
        if key not in self._data:
            if default:
                return default[0]
            raise ConfigError(f"{self._path}{key}: missing")
        return self._checks[key](self._data[key], self._path + key)


def _integer(low: int, high: int) -> Callable[[Any, str], int]:
    def check(value: Any, key: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _bad(key, value, f"must be an integer from {low} to {high}")
        return value

    return check


def _number(low: float, high: float) -> Callable[[Any, str], float]:
    def check(value: Any, key: str) -> float:
        # The comparison refuses NaN, too.
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
            raise _bad(key, value, f"must be a number from {low:g} to {high:g}")
        return value

    return check


def _optional(check: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    return lambda value, key: None if value is None else check(value, key)


def _address(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise _bad(key, value, "must be an IP address")
    family(value, key)
    return value


def _pair(value: Any, key: str, what: str) -> list[Any]:
    if not isinstance(value, list) or len(value) != 2:
        raise _bad(key, value, f"must be {what}")
    return value


def _target(value: Any, key: str) -> tuple[str, int]:
    address, port = _pair(value, key, "[address, port]")
    return _address(address, key), _integer(1, 65535)(port, key)


def _range(value: Any, key: str) -> tuple[int, int]:
    low, high = (_integer(1, 65535)(port, key) for port in _pair(value, key, "[first port, last port]"))
    if low > high:
        raise _bad(key, value, "must not begin after its end")
    return low, high


def _networks(value: Any, key: str) -> list[Network]:
    if not isinstance(value, list):
        raise _bad(key, value, "must be a list of networks")
    return [Network(text, f"{key}[{index}]") for index, text in enumerate(value)]


def _listeners(value: Any, key: str) -> list[Listener]:
    if not isinstance(value, list) or not value:
        raise _bad(key, value, "must be a list of at least one listener")
    listeners: list[Listener] = []
    for index, item in enumerate(value):
        values = _Keys(item, f"{key}[{index}]", LISTENER_CHECKS)
        listener = Listener(values.take("address"), values.take("port"), values.take("target", None))
        if listener.port and any(
            (other.address, other.port) == (listener.address, listener.port) for other in listeners
        ):
            raise _bad(f"{key}[{index}]", f"{listener.address}:{listener.port}", "is given twice")
        listeners.append(listener)
    return listeners


def _congestion(value: Any, key: str) -> tuple[str | None, str | None]:
    values = _Keys(value, key, CONGESTION_CHECKS)
    return values.take("accept", None), values.take("connect", None)


def _algorithm(value: Any, key: str) -> str:
    if not isinstance(value, str) or not CONGESTION.fullmatch(value):
        raise _bad(key, value, "must be the name of a TCP congestion control such as cubic")
    return value


LISTENER_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "address": _address,
    "port": _integer(0, 65535),
    "target": _optional(_target),
}
CONGESTION_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "accept": _optional(_algorithm),
    "connect": _optional(_algorithm),
}
CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "listeners": _listeners,
    "port_range": _optional(_range),
    "allow": _networks,
    "source": _optional(_address),
    "rate": _optional(_number(1000, 1e15)),
    "pipe_size": _integer(4096, 64 * MIB),
    "workers": _integer(0, 64),
    "max_connections": _integer(1, 65536),
    "connect_timeout": _number(0.1, 3600),
    "congestion": _congestion,
}
