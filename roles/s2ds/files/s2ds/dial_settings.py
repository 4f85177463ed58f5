# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The part of s2ds.json about who dials, where the producer's gateway connects to the consumer's.

The consumer's gateway "waits": it has a listener for its peer beside each listener for applications. The producer's
gateway "dials": it has no listener at all.
"""

from __future__ import annotations

from listener_settings import Listener, listeners_of, networks_of, target_of
from validation import Keys, Network, bad, family, integer, ip_address, optional, pair, within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

WAITS, DIALS = "waits", "dials"
POOL = 2
HEARTBEAT = 15
PAUSE = (0.5, 30)


class DialLeg:
    """Where to connect to, and where to forward what arrives there."""

    __slots__ = ("peer", "target")

    def __init__(self, peer: tuple[str, int], target: tuple[str, int]) -> None:
        self.peer = peer
        self.target = target


class Waits:
    role = WAITS

    def __init__(self, values: Keys) -> None:
        self.listeners: list[Listener] = values.take("listeners")
        self.allow: list[Network] = values.take("allow", [])
        self.open: bool = values.take("open")
        self.heartbeat: float = values.take("heartbeat", HEARTBEAT)

    def agree(self, listeners: list[Listener], source: str | None, side: str | None) -> None:
        if len(self.listeners) != len(listeners):
            raise bad("dial.listeners", len(self.listeners), f"must be {len(listeners)}, one for each listener")
        for index, listener in enumerate(listeners):
            if listener.target is not None:
                raise bad(f"listeners[{index}].target", list(listener.target), "must be null with dial")
        _check_side(side, "connect", self.role)


class Dials:
    role = DIALS

    def __init__(self, values: Keys) -> None:
        self.legs: list[DialLeg] = values.take("legs")
        self.source: str | None = values.take("source", None)
        self.pool: int = values.take("pool", POOL)
        self.heartbeat: float = values.take("heartbeat", HEARTBEAT)
        self.pause: tuple[float, float] = values.take("pause", PAUSE)

    def agree(self, listeners: list[Listener], source: str | None, side: str | None) -> None:
        if listeners:
            raise bad("listeners", len(listeners), "must be empty if dial.role is dials")
        _check_side(side, "accept", self.role)
        for index, leg in enumerate(self.legs):
            for key, address, from_ in (("peer", leg.peer, self.source), ("target", leg.target, source)):
                if from_ is not None and family(address[0], "") != family(from_, ""):
                    key = f"dial.legs[{index}].{key}"
                    raise bad(key, list(address), f"is not of the address family of source {from_!r}")


def read(value: Any, key: str) -> tuple[Waits | None, Dials | None]:
    """Return what this gateway has to do: one of both."""
    role = value.get("role") if isinstance(value, dict) else None
    if role not in (WAITS, DIALS):
        raise bad(key, value, f'must be an object whose role is "{WAITS}" or "{DIALS}"')
    if role == WAITS:
        return Waits(Keys(value, key, WAITS_CHECKS)), None
    return None, Dials(Keys(value, key, DIALS_CHECKS))


def _check_side(side: str | None, wanted: str, role: str) -> None:
    """Check that each gateway has the end of TLS that its certificate is for."""
    if side not in (None, wanted):
        raise bad("tls.side", side, f"must be {wanted} if dial.role is {role}")


def _anything(value: Any, _key: str) -> Any:
    return value


def _flag(value: Any, key: str) -> bool:
    if not isinstance(value, bool):
        raise bad(key, value, "must be true or false")
    return value


def _legs(value: Any, key: str) -> list[DialLeg]:
    if not isinstance(value, list):
        raise bad(key, value, "must be a list")
    legs = []
    for index, item in enumerate(value):
        values = Keys(item, f"{key}[{index}]", LEG_CHECKS)
        legs.append(DialLeg(values.take("peer"), values.take("target")))
    return legs


def _pause(value: Any, key: str) -> tuple[float, float]:
    low, high = (within(0.01, 3600)(item, key) for item in pair(value, key, "[first pause, longest pause]"))
    if low > high:
        raise bad(key, value, "must not begin after its end")
    return low, high


LEG_CHECKS: dict[str, Callable[[Any, str], Any]] = {"peer": target_of, "target": target_of}
WAITS_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "role": _anything,
    "listeners": listeners_of,
    "allow": networks_of,
    "open": _flag,
    "heartbeat": within(0.05, 600),
}
DIALS_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "role": _anything,
    "legs": _legs,
    "source": optional(ip_address),
    "pool": integer(1, 64),
    "heartbeat": within(0.05, 600),
    "pause": _pause,
}
