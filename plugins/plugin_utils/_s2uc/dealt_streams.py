# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The streams of a run, with the legs of those that have many gateways: what gateways have, and what is dealt anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import MIN_RATE, check_rate
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Results, Session
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.dealing import Leg, Member, deal, deal_listeners
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import listed
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import Plan, check_duration
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import (
    OMITTED,
    OTHER_ROLE,
    SURPLUS,
    Stream,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_legs import (
    MAX_LEGS,
    Found,
    existing_legs,
    holder_of,
    is_silent,
    leg_stream,
    leg_uids,
    legs_of,
)


@dataclass
class Dealt:
    """Streams with their legs.

    Attributes:
        streams: The streams, with the legs in place of those that have many gateways.
        notes: What the user should know, one sentence each.
        warnings: What the user should do something about, one sentence each.
        problems: Why streams cannot be dealt out, one sentence each.
        others: Sessions of legs on other gateways than those that the legs go through, as in Plan.releases.
    """

    streams: list[Stream] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)


def deal_streams(plan: Plan, answers: Results) -> Dealt:
    """Return the streams of a run with their legs.

    Args:
        plan: The plan of the run.
        answers: Answers of the gateways to s2cs_info.
    """
    dealt = Dealt()
    for stream in plan.streams:
        if not stream.deal:
            dealt.streams.append(stream)
        elif plan.purpose in ("open", "apply") and stream.state == "present":
            _Dealing(stream, plan.purpose == "apply", answers, dealt).deal()
        else:
            dealt.streams += existing_legs(stream, answers, dealt.others)
    return dealt


def dealt_plan(plan: Plan, dealt: Dealt, answers: Results, new_uid: Callable[[], str]) -> Plan:
    """Return the plan of a run with the legs of its streams.

    Args:
        plan: The plan.
        dealt: The streams, with legs.
        answers: Answers of the gateways to s2cs_info.
        new_uid: Returns the uid of a probe.

    Raises:
        DescriptionError: The legs cannot be measured in the time that is allowed.
    """
    if plan.probes:
        check_duration(plan.seconds, len(dealt.streams))
    probes = {stream.uid: plan.probes.get(stream.uid) or new_uid() for stream in dealt.streams} if plan.probes else {}
    # A run that makes the gateways match finds the others by itself.
    others = dealt.others if plan.purpose in ("release", "drop") else []
    # The uid of a stream with many gateways stands for its legs.
    uids = [one for uid in plan.uids for one in leg_uids([uid], answers) or [uid]]
    return replace(plan, streams=dealt.streams, releases=others, probes=probes, uids=uids)


class _Dealing:
    """The dealing of one stream that is to be open.

    Args:
        stream: The stream.
        applies: Whether the run makes the gateways match the description, rather than only opens streams.
        answers: Answers of the gateways to s2cs_info.
        dealt: To which the legs are added.
    """

    def __init__(self, stream: Stream, applies: bool, answers: Results, dealt: Dealt) -> None:
        self._stream = stream
        self._applies = applies
        self._answers = answers
        self._dealt = dealt
        self._there = legs_of(stream.uid, answers)
        self._silent = [
            name
            for role in ROLES
            for name in stream.members[role]
            if is_silent(answers, name) and self._weight(role, name)
        ]
        self._omits = stream.lost_members == "omit"
        # What is not there at all is dealt as if all gateways answered, and opened where they do.
        self._new = not self._there

    def deal(self) -> None:
        stream = self._stream
        members = {role: self._members(role) for role in ROLES}
        nobody = [role for role in ROLES if not any(self._answers_here(member) for member in members[role])]
        if nobody:
            self._nobody(nobody[0])
            return
        kept = [leg for number, sides in self._there.items() if (leg := self._kept(number, sides))]
        waiting = [leg for leg in kept if self._waits(leg)]
        legs = [leg for leg in kept if leg not in waiting]
        omitted = sum(leg.connections for leg in waiting)
        # Connections that are nowhere may be on gateways that do not answer.
        deals = not (self._omits and self._silent) or self._new
        before = {leg.number: leg.connections for leg in legs}
        total = max(0, stream.num_conn - omitted)
        legs = deal(legs, total, members, deals)
        if not self._applies and any(leg.connections < before.get(leg.number, 0) for leg in legs):
            self._problem(
                f"num_conn: {stream.num_conn} is less than the {sum(before.values()) + omitted} connections that are "
                "open: release it first, or apply the description with the playbook streams and -e replace=true"
            )
            return
        if max((leg.number for leg in legs), default=0) > MAX_LEGS:
            self._problem("it was dealt out too many times: release it, and open it again")
            return
        present = [leg for leg in legs if leg.connections]
        rate, least = check_rate(stream.rate), min((leg.connections for leg in present), default=0)
        if rate and least and rate * least // stream.num_conn < MIN_RATE:
            self._problem(
                f"rate: {stream.rate} is too low: it is divided among the legs by their numbers of connections, so it "
                f"must be at least {-(-MIN_RATE * stream.num_conn // least)} bits per second for num_conn "
                f"{stream.num_conn}"
            )
            return
        deal_listeners([*present, *waiting], stream.producer_listeners)
        self._note(present, members, before)
        for leg in sorted([*legs, *waiting], key=lambda leg: leg.number):
            self._add(leg, leg in waiting, before)

    def _add(self, leg: Leg, waits: bool, before: Mapping[int, int]) -> None:
        stream = self._stream
        lost = [name for name in leg.gateways.values() if is_silent(self._answers, name)]
        if not leg.connections:
            # It is released whole.
            gone = replace(leg, connections=before[leg.number])
            self._dealt.streams.append(leg_stream(stream, gone, stream.num_conn, SURPLUS))
        elif not waits and not lost:
            self._dealt.streams.append(leg_stream(stream, leg, stream.num_conn))
        elif self._applies:
            gateways = {role: leg.gateways.get(role, "") for role in ROLES}
            self._dealt.streams.append(leg_stream(stream, replace(leg, gateways=gateways), stream.num_conn, OMITTED))

    def _kept(self, number: int, sides: Found) -> Leg | None:
        """Return a leg that exists, without gateways that it can no longer have, or None if its size is unknown."""
        gateways: dict[str, str] = {}
        known: dict[str, Session] = {}
        for role in ROLES:
            here = {
                name: session
                for name, session in (sides.get(role) or {}).items()
                if name in self._stream.members[role] and self._weight(role, name)
            }
            holder = holder_of(here, sides.get(OTHER_ROLE[role]) or {})
            if holder is not None:
                gateways[role], known[role] = holder, here[holder]
        # Of what is left on other gateways, only the number of connections counts.
        some = known or {role: next(iter(found.values())) for role, found in sides.items() if found}
        sizes = [session.get("num_conn") for role in reversed(ROLES) if (session := some.get(role))]
        size = next((size for size in sizes if isinstance(size, int) and size > 0), None)
        if size is None:
            return None
        listeners = [str(item) for item in (known.get("producer") or {}).get("producer_listeners") or []]
        return Leg(number, min(size, 65535), gateways, listeners)

    def _waits(self, leg: Leg) -> bool:
        """Return whether a leg is omitted, because the gateway of its other side does not answer."""
        return self._omits and any(
            role not in leg.gateways and any(name in self._silent for name in self._stream.members[role])
            for role in ROLES
        )

    def _members(self, role: str) -> list[Member]:
        own = dict.fromkeys(self._stream.members[role], 0)
        for sides in self._there.values():
            for each in ROLES:
                for name, session in (sides.get(each) or {}).items():
                    if name in own and isinstance(session.get("num_conn"), int):
                        own[name] += session["num_conn"]
        names = [
            name
            for name in self._stream.members[role]
            if not is_silent(self._answers, name) or (self._omits and self._new)
        ]
        return [Member(name, self._weight(role, name), self._used(name, own[name])) for name in names]

    def _used(self, name: str, own: int) -> int:
        if self._stream.deal != "least_used":
            return 0
        ports = ((self._answers.get(name) or {}).get("gateway") or {}).get("ports")
        used = ports.get("used") if isinstance(ports, Mapping) else None
        return max(0, used - own) if isinstance(used, int) else 0

    def _weight(self, role: str, name: str) -> int:
        return (self._stream.weights.get(role) or {}).get(name, 1)

    def _answers_here(self, member: Member) -> bool:
        return bool(member.weight) and not is_silent(self._answers, member.name)

    def _nobody(self, role: str) -> None:
        """Note that no gateway of a side answers. Playbooks that go on with other streams leave this one as it is."""
        names = [name for name in self._stream.members[role] if self._weight(role, name)]
        if self._applies:
            # The comparison finds out that it does not answer.
            gateways = {each: self._stream.members[each][0] for each in ROLES} | {role: names[0]}
            self._dealt.streams.append(replace(self._stream, deal="", gateways=gateways))
            for number in self._there:
                leg = Leg(number, 1, dict.fromkeys(ROLES, names[0]))
                self._dealt.streams.append(leg_stream(self._stream, leg, self._stream.num_conn, OMITTED))
            return
        why = (self._answers.get(names[0]) or {}).get("msg") or "no answer"
        self._problem(f"{role}.gateways: none of {listed(names)} answers ({names[0]}: {why})")

    def _note(self, legs: Sequence[Leg], members: Mapping[str, Sequence[Member]], before: Mapping[int, int]) -> None:
        """Note which gateways take no part, and why."""
        stream, name = self._stream, self._stream.name
        for gateway in self._silent:
            effect = "its connections are omitted until it answers" if self._omits else "others take its part"
            why = str((self._answers.get(gateway) or {}).get("msg") or "no answer")
            self._dealt.warnings.append(f"stream {name}: {gateway} does not answer, so {effect} ({why})")
        for role in ROLES:
            idle = [
                member.name
                for member in members[role]
                if member.weight and not any(leg.gateways.get(role) == member.name for leg in legs)
            ]
            if idle:
                because = (
                    f"there are only {stream.num_conn}"
                    if stream.num_conn < sum(1 for member in members[role] if member.weight)
                    else "the open stream keeps those that it has"
                    if before
                    else "others have more room"
                )
                self._dealt.notes.append(f"{name}: {listed(idle, 8)} gets no connections, as {because}")
        if not self._applies:
            for number, sides in sorted(self._there.items()):
                kept = next((leg.gateways for leg in legs if leg.number == number), {})
                for role, found in sides.items():
                    self._dealt.warnings += [
                        f"stream {name}: {gateway} has a {role} side that is no longer used: apply the description "
                        "with the playbook streams to release it"
                        for gateway in found
                        if gateway != kept.get(role)
                    ]

    def _problem(self, text: str) -> None:
        self._dealt.problems.append(f'stream "{self._stream.name}": {text}')
