# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The legs of streams with many gateways: streams with one gateway on each side, from what the gateways have.

Gateways of other facilities may answer anything. The uids of legs are derived here, so a gateway cannot make other
sessions legs of a stream.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_rate
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import (
    Results,
    Session,
    has_failed,
    session_key,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.dealing import Leg
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import (
    LEG_LABEL,
    OTHER_ROLE,
    Stream,
    leg_name,
    leg_uid,
)

#: Highest number of a leg.
MAX_LEGS = 512
#: The sessions of one leg: by role, those of each gateway.
Found = dict[str, dict[str, Session]]


def legs_of(uid: str, answers: Results) -> dict[int, Found]:
    """Return the sessions of the legs of a stream that have not expired, by number.

    Args:
        uid: Uid of the stream.
        answers: Answers of the gateways to s2cs_info.
    """
    numbers = {leg_uid(uid, number): number for number in range(1, MAX_LEGS + 1)}
    found: dict[int, Found] = {}
    for gateway, answer in answers.items():
        # An answer of an unknown form is an error of its gateway, which reports show.
        with suppress(TypeError, KeyError, AttributeError):
            for session in (item for kind in ("orphans", "unreadable", "sessions") for item in answer.get(kind) or ()):
                own, role = session_key(session)
                if own in numbers and role in ROLES and session.get("state") != "expired":
                    found.setdefault(numbers[own], {}).setdefault(role, {})[gateway] = session
    return found


def leg_uids(uids: Iterable[Any], answers: Results) -> list[str]:
    """Return the uids of the legs of streams that gateways have.

    Args:
        uids: Uids of streams. Others are ignored.
        answers: Answers of the gateways to s2cs_info.
    """
    found = []
    for given in uids:
        try:
            uid = str(uuid.UUID(str(given)))
        except ValueError:
            continue
        found += [leg_uid(uid, number) for number in sorted(legs_of(uid, answers))]
    return found


def existing_legs(stream: Stream, answers: Results, others: list[dict[str, Any]]) -> list[Stream]:
    """Return the legs that gateways have, or the stream itself if there are none, in order to find nothing.

    Legs go through gateways that are described, which get their secrets. What others have is added to ``others``.
    """
    found = legs_of(stream.uid, answers)
    first = {role: (stream.members.get(role) or [""])[0] for role in ROLES}
    silent = [name for names in stream.members.values() for name in names if is_silent(answers, name)]
    if not found:
        # What gateways have that do not answer is unknown.
        gateways = dict.fromkeys(ROLES, silent[0]) if silent else first
        return [replace(stream, deal="", gateways=gateways)]
    legs = []
    for number, sides in sorted(found.items()):
        gateways = {}
        for role in ROLES:
            members, there = stream.members.get(role) or (), sides.get(role) or {}
            gateways[role] = (
                holder_of({name: there[name] for name in there if name in members}, sides.get(OTHER_ROLE[role]) or {})
                or ""
            )
            others += [
                {"gateway": name, "uid": leg_uid(stream.uid, number), "role": role, "described": name in members}
                for name in there
                if name != gateways[role]
            ]
        legs.append(leg_stream(stream, Leg(number, 1, gateways), stream.num_conn))
    return legs


def is_silent(answers: Results, gateway: str) -> bool:
    """Return whether a gateway did not return its sessions."""
    answer = answers.get(gateway) or {}
    return has_failed(answer) or "sessions" not in answer


def holder_of(sessions: Mapping[str, Session], others: Mapping[str, Session]) -> str | None:
    """Return the gateway that has one side of a leg.

    Several have one if another gateway took it, or if two runs worked on it at once. An open one that fits the other
    side counts, and of several the one that was opened last.

    Args:
        sessions: Sessions of the side, by gateway.
        others: Sessions of the other side.
    """

    def rank(name: str) -> tuple[bool, bool, str]:
        own = sessions[name]
        fits = any(
            _texts(one.get("listeners")) & _texts(other.get("targets"))
            or _texts(one.get("peer_listeners")) & _texts(other.get("peer_listeners"))
            for session in others.values()
            for one, other in ((own, session), (session, own))
        )
        return own.get("state") == "streaming", fits, str(own.get("created"))

    return max(sessions, key=rank, default=None)


def _texts(value: Any) -> set[str]:
    return {str(item) for item in value} if isinstance(value, (list, tuple)) else set()


def leg_stream(stream: Stream, leg: Leg, num_conn: int, state: str = "") -> Stream:
    """Return a leg as a stream of its own."""
    name, uid = leg_name(stream.name, leg.number), leg_uid(stream.uid, leg.number)
    rate = check_rate(stream.rate)
    return replace(
        stream,
        name=name,
        uid=uid,
        gateways=dict(leg.gateways),
        num_conn=leg.connections,
        producer_listeners=list(leg.listeners),
        rate=None if rate is None else str(max(1, rate * leg.connections // num_conn)),
        labels={**stream.labels, "stream": name, LEG_LABEL: stream.uid},
        state=state or stream.state,
        leg_of=stream.uid,
        deal="",
        members={},
        weights={},
    )
