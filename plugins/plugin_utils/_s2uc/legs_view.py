# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams with many gateways as displayed by a status: their legs, and the sum of these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.history import DIRECTIONS
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES, check_uid
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_view import SessionView
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import listed, with_port_ranges
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import leg_uid, stream_of_leg
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_view import Side, StreamView

_MAX_DIGITS = 5


@dataclass(frozen=True)
class LegsView(StreamView):
    """A stream with many gateways.

    Attributes:
        legs: Its legs, in their order.
    """

    legs: Sequence[StreamView] = ()

    @property
    def parts(self) -> Sequence[StreamView]:
        return self.legs

    @property
    def counted(self) -> Side | None:
        """The sum of the counters of all legs. It has no samples."""
        sessions = [leg.counted.session for leg in self.legs if leg.counted]
        if not sessions:
            return None
        total = SessionView(
            uid=self.uid,
            role="",
            name=self.name,
            running=all(session.running for session in sessions),
            connections=_sums([session.connections for session in sessions]),
            transferred=_sums([session.transferred for session in sessions]),
            exact=all(session.exact for session in sessions),
        )
        return Side("", total)

    @property
    def rates(self) -> tuple[float | None, ...]:
        known = [
            [rate for leg in self.legs if (rate := leg.rates[index]) is not None] for index in range(len(DIRECTIONS))
        ]
        return tuple(sum(rates) if rates else None for rates in known)

    @property
    def rate_limit(self) -> int | None:
        limits = [leg.rate_limit for leg in self.legs]
        return None if None in limits else sum(limit or 0 for limit in limits)

    @property
    def state(self) -> str:
        return ", ".join(dict.fromkeys(leg.state for leg in self.legs))

    def both(self, value: Callable[[SessionView], Any], missing: str = "") -> str:
        texts = [text for leg in self.legs for text in leg.both(value, missing).split("/")]
        return "/".join(text for text in dict.fromkeys(texts) if text)

    @property
    def path(self) -> str:
        gateways = {role: self.gateways_of(role) for role in ROLES}
        shown = " -> ".join(listed(gateways[role]) for role in reversed(ROLES) if gateways[role])
        return f"{len(self.legs)} leg{'' if len(self.legs) == 1 else 's'}: {shown}"

    def gateways_of(self, role: str) -> list[str]:
        """Return the gateways of one side, in the order of the legs."""
        return list(dict.fromkeys(leg.sides[role].gateway for leg in self.legs if role in leg.sides))


def leg_path(leg: StreamView) -> str:
    """Return who connects to whom in a leg, with ranges of ports."""
    sides = [leg.sides[role] for role in reversed(ROLES) if role in leg.sides]
    parts = [f"{with_port_ranges(side.session.listeners) or '?'} ({side.gateway})" for side in sides]
    return " -> ".join([*parts, listed(sides[-1].targets, 2) or "not known yet"])


def _sums(counts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sum of numbers by key. What one of them does not know is unknown."""
    found: dict[str, Any] = {}
    for each in counts:
        for key, value in each.items():
            before = found.get(key, 0)
            found[key] = None if value is None or before is None else before + value
    return found


def with_legs(views: Iterable[StreamView]) -> list[StreamView]:
    """Return streams, those that are legs of others as one stream each.

    Gateways may return anything as a label, so a session only counts as a leg if its uid is that of this leg.
    """
    found: list[StreamView] = []
    legs: dict[str, list[tuple[int, StreamView]]] = {}
    for view in views:
        uid, number = _leg(view)
        if uid:
            legs.setdefault(uid, []).append((number, view))
        else:
            found.append(view)
    for uid, numbered in legs.items():
        parts = [view for _number, view in sorted(numbered, key=lambda item: item[0])]
        sides = {f"{view.uid} {role}": side for view in parts for role, side in view.sides.items()}
        found.append(LegsView(uid, stream_of_leg(parts[0].name), sides, parts[0].complete, parts))
    return found


def _leg(view: StreamView) -> tuple[str, int]:
    """Return the uid of the stream that a leg belongs to, and the number of the leg."""
    uid = next((side.leg_of for side in view.sides.values() if side.leg_of), "")
    digits = view.name.rpartition("/")[2]
    try:
        if digits.isascii() and digits.isdecimal() and len(digits) <= _MAX_DIGITS:
            number, uid = int(digits), check_uid(uid)
            return (uid, number) if leg_uid(uid, number) == view.uid else ("", 0)
    except ValueRefused:
        pass
    return "", 0
