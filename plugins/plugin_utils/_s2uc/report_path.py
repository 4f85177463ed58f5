# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the gateways of a stream carry over the round trip between them, and what limits it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.formatting import format_rate
from ansible_collections.scistream.gateway.plugins.module_utils._common.path_capacity import WINDOW, slower
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import readable
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import OTHER_ROLE, Stream

_NUMBERS = ("rtt", "sending", "receiving")
_TEXTS = ("sending_limit", "receiving_limit")


def path_capacity(stream: Stream, sessions: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """Return what each connection of a stream carries, and a note if that is less than what is wanted.

    Args:
        stream: The stream.
        sessions: Its sessions by role, as far as they are known.
    """
    known = {role: found for role, session in sessions.items() if (found := _usable(session.get("carries")))}
    rates: dict[str, tuple[int, str, str]] = {}
    for role in ("consumer", "producer"):
        sender = OTHER_ROLE[role]
        limited = slower(known.get(sender), known.get(role))
        if limited:
            rate, limit, by_sender = limited
            rates[role] = rate, limit, stream.gateways[sender if by_sender else role]
    if not rates:
        return
    rtt = max(found["rtt"] for found in known.values())
    parts = [
        f"{format_rate(rate / 8)} to the {role} ({readable(limit, 64)} of {gateway})"
        for role, (rate, limit, gateway) in rates.items()
    ]
    yield f"round trip {rtt:g} ms: one connection carries about {', '.join(parts)}"
    yield from _too_little(stream, sessions, known, rates)


def _too_little(
    stream: Stream,
    sessions: Mapping[str, Mapping[str, Any]],
    known: Mapping[str, Mapping[str, Any]],
    rates: Mapping[str, tuple[int, str, str]],
) -> Iterable[str]:
    rate = next((session["rate"] for session in sessions.values() if _is_number(session.get("rate"))), None)
    links = [found["link"] for found in known.values() if _is_number(found.get("link"))]
    wanted = rate or min(links, default=0)
    least, limit, gateway = min(rates.values())
    if least * stream.num_conn >= wanted:
        return
    number = -(-int(wanted) // max(1, least))
    what = "the rate of the stream" if rate else "the speed of the link"
    remedy = f"see s2cs_tuning of {gateway}, or divide the data among at least {number} connections"
    if limit == WINDOW:
        remedy = f"divide the data among at least {number} connections"
    yield f"Note: {what} is {format_rate(wanted / 8)}. To use it, {remedy}."


def _usable(found: Any) -> Mapping[str, Any] | None:
    """Return what a gateway says that it carries, if it is complete."""
    if not isinstance(found, Mapping) or not all(_is_number(found.get(key)) for key in _NUMBERS):
        return None
    return found if all(isinstance(found.get(key), str) for key in _TEXTS) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e18
