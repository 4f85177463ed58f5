# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks of the values in a configuration. Errors name the key and the value."""

from __future__ import annotations

import json
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


class ConfigError(Exception):
    pass


class Network:
    """A network. Membership is one mask and one comparison."""

    __slots__ = ("_mask", "_value", "family")

    def __init__(self, text: Any, key: str) -> None:
        if not isinstance(text, str):
            raise bad(key, text, "must be a network such as 192.0.2.0/24")
        host, slash, length = text.partition("/")
        self.family = family(host, key)
        bits = 32 if self.family == socket.AF_INET else 128
        if slash and not (length.isascii() and length.isdigit() and int(length) <= bits):
            raise bad(key, text, f"prefix length must be 0 to {bits}")
        prefix = int(length) if slash else bits
        self._mask = ((1 << prefix) - 1) << (bits - prefix)
        self._value = number(host)
        if self._value & ~self._mask:
            raise bad(key, text, "has bits set beyond its prefix length")

    def holds(self, kind: int, value: int) -> bool:
        return kind == self.family and value & self._mask == self._value


def family(address: str, key: str) -> int:
    """Return the family of an IP address. Names are not resolved, as they could change while a stream is open."""
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.inet_pton(kind, address)
    except (OSError, ValueError):
        raise bad(key, address, "is not an IP address") from None
    return kind


def number(address: str) -> int:
    """Return an address as an integer, without a zone (fe80::1%eth0)."""
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    return int.from_bytes(socket.inet_pton(kind, address.partition("%")[0]), "big")


def bad(key: str, value: Any, why: str) -> ConfigError:
    return ConfigError(f"{key}: {json.dumps(value)} {why}" if key else f"{json.dumps(value)} {why}")


class Keys:
    """The values of an object, each of which is checked when it is taken. Unknown keys are refused."""

    def __init__(self, data: Any, path: str, checks: dict[str, Callable[[Any, str], Any]]) -> None:
        if not isinstance(data, dict):
            raise bad(path, data, "must be an object")
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


def integer(low: int, high: int) -> Callable[[Any, str], int]:
    def check(value: Any, key: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise bad(key, value, f"must be an integer from {low} to {high}")
        return value

    return check


def within(low: float, high: float) -> Callable[[Any, str], float]:
    def check(value: Any, key: str) -> float:
        # The comparison also refuses NaN.
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
            raise bad(key, value, f"must be a number from {low:g} to {high:g}")
        return value

    return check


def optional(check: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    return lambda value, key: None if value is None else check(value, key)


def ip_address(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise bad(key, value, "must be an IP address")
    family(value, key)
    return value


def pair(value: Any, key: str, what: str) -> list[Any]:
    if not isinstance(value, list) or len(value) != 2:
        raise bad(key, value, f"must be {what}")
    return value
