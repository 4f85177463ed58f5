# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts of s2ds.json that describe listeners, and who may connect to them."""

from __future__ import annotations

from validation import Keys, Network, bad, integer, ip_address, optional, pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


class Listener:
    __slots__ = ("address", "port", "target")

    def __init__(self, address: str, port: int, target: tuple[str, int] | None) -> None:
        self.address = address
        self.port = port
        self.target = target


def target_of(value: Any, key: str) -> tuple[str, int]:
    address, port = pair(value, key, "[address, port]")
    return ip_address(address, key), integer(1, 65535)(port, key)


def networks_of(value: Any, key: str) -> list[Network]:
    if not isinstance(value, list):
        raise bad(key, value, "must be a list of networks")
    return [Network(text, f"{key}[{index}]") for index, text in enumerate(value)]


def listeners_of(value: Any, key: str) -> list[Listener]:
    if not isinstance(value, list):
        raise bad(key, value, "must be a list of listeners")
    listeners: list[Listener] = []
    for index, item in enumerate(value):
        values = Keys(item, f"{key}[{index}]", LISTENER_CHECKS)
        listener = Listener(values.take("address"), values.take("port"), values.take("target", None))
        if listener.port and any(
            (other.address, other.port) == (listener.address, listener.port) for other in listeners
        ):
            raise bad(f"{key}[{index}]", f"{listener.address}:{listener.port}", "is given twice")
        listeners.append(listener)
    return listeners


LISTENER_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "address": ip_address,
    "port": integer(0, 65535),
    "target": optional(target_of),
}
