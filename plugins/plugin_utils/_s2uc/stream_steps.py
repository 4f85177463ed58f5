# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps that make gateways match the description of streams, from the answers of the gateways to s2cs_info."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import (
    Results,
    Session,
    has_failed,
    session_key,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import readable
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import (
    GONE,
    LEG_LABEL,
    OMITTED,
    SET_LABEL,
    SURPLUS,
    Stream,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_differences import (
    UNOPENED_STATES,
    Differences,
    change,
    differences,
    resolves_names,
)

#: What is done with a stream. Steps with one of the first group change something, those of the second one do not.
OPEN, CHANGE, REPAIR, REPLACE, RELEASE = "open", "change", "repair", "replace", "release"
UNCHANGED, KEPT, UNOPENED, UNREACHABLE, REFUSED, CONTESTED = (
    *("unchanged", "kept", "unopened", "unreachable", "refused", "contested"),
)
ACTIONS = (OPEN, CHANGE, REPAIR, REPLACE, RELEASE)
#: Steps with which the messages that open streams are sent.
SENT = (OPEN, CHANGE, REPAIR, REPLACE)
#: The label by which the sessions of a description are found, and the one with the name of the stream.
NAME_LABEL = "stream"


#: Gateway, uid and role of a session.
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Step:
    """What is to be done with one stream.

    Attributes:
        name: Name of the stream.
        uid: Its uid.
        action: One of the constants of this module.
        why: Reasons, one phrase each.
        releases: Sessions to release first, each with ``gateway``, ``uid`` and ``role``, and whether it is
            ``described``. Gateways only get the secrets of described ones.
        decides: Role whose listeners are reserved first. The run that does this opens the stream. Empty if both sides
            exist.
        renewed: Whether the messages are sent although nothing differs, because they resolve host names.
        waits: Whether another run may still be opening the stream, or giving it up.
        again: Whether this run and one with another key have already been in each other's way.
        origin: Action of an earlier round that this step completes, empty if there was none.
        yielded: Whether another run with the same key was the first to reserve its listeners in an earlier round.
        leg_of: Uid of the stream with many gateways of which this is a leg, else empty.
    """

    name: str
    uid: str
    action: str
    why: list[str] = field(default_factory=list)
    releases: list[dict[str, Any]] = field(default_factory=list)
    decides: str = ""
    renewed: bool = False
    waits: bool = False
    again: bool = False
    origin: str = ""
    yielded: bool = False
    leg_of: str = ""

    @property
    def sends(self) -> bool:
        """Whether the messages that open streams are sent."""
        return self.action in SENT or self.renewed

    @property
    def acts(self) -> bool:
        """Whether anything is sent to a gateway."""
        return self.sends or self.action == RELEASE

    def document(self) -> dict[str, Any]:
        """Return the step as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Wishes:
    """What a description says about all streams together.

    Attributes:
        stream_set: Name of the description, empty if it has none.
        prune: Whether to release streams of the set that are not described.
        replace: Whether to release and open streams that cannot be changed in place.
        patient: Whether to leave streams alone that another run may be opening.
    """

    stream_set: str = ""
    prune: bool = False
    replace: bool = False
    patient: bool = True


def plan_steps(streams: Sequence[Stream], answers: Results, wishes: Wishes, now: datetime) -> list[Step]:
    """Return one step for each stream, in the order of the description, then those of the set that it lacks.

    Args:
        streams: Described streams.
        answers: Answers of the gateways of the run to s2cs_info.
        wishes: What applies to all streams.
        now: The current time.
    """
    there = _Existing(answers, wishes.stream_set)
    steps = [_Comparison(stream, there, wishes, now).step() for stream in streams]
    steps = [_of_leg(step, stream, there, wishes) for step, stream in zip(steps, streams, strict=True)]
    return [*steps, *_undescribed(streams, there, wishes)] if wishes.stream_set and wishes.prune else steps


def left_in_set(streams: Sequence[Stream], answers: Results, wishes: Wishes) -> list[Step]:
    """Return the steps that release what the set of a description has but the description lacks, if it does not prune.

    Args:
        streams: Described streams.
        answers: Answers of the gateways of the run to s2cs_info.
        wishes: What applies to all streams.
    """
    if not wishes.stream_set or wishes.prune:
        return []
    return list(_undescribed(streams, _Existing(answers, wishes.stream_set), wishes))


class _Existing:
    """The sessions of all gateways.

    Attributes:
        silent: Gateways that did not answer. The report of the run has the reasons.
        policies: Policies of the gateways.
        sessions: Sessions that have not expired. S2CS releases expired ones by itself.
        unreadable: Sessions that S2CS cannot read.
        in_set: Sessions of the streams of the set, by name and uid. Sessions without the label do not belong to it,
            whatever other gateways claim about their uid.
    """

    def __init__(self, answers: Results, stream_set: str) -> None:
        self.silent = {gateway for gateway, answer in answers.items() if has_failed(answer) or "sessions" not in answer}
        self.policies = {gateway: answer.get("gateway") or {} for gateway, answer in answers.items()}
        self.sessions: dict[Key, Session] = {}
        self.unreadable: dict[Key, Session] = {}
        self.in_set: dict[tuple[str, str], list[Key]] = {}
        self._by_uid: dict[str, list[Key]] = {}
        orphans: dict[Key, Session] = {}
        for gateway, answer in answers.items():
            if gateway in self.silent:
                continue
            for name, found in (
                ("sessions", self.sessions),
                ("unreadable", self.unreadable),
                ("orphans", orphans),
            ):
                items = [item for item in answer.get(name) or [] if item.get("state") != "expired"]
                found.update({(gateway, *session_key(item)): item for item in items})
        for key in {**self.sessions, **self.unreadable, **orphans}:
            self._by_uid.setdefault(key[1], []).append(key)
        for key, session in self.sessions.items():
            labels = session.get("labels") or {}
            if stream_set and labels.get(SET_LABEL) == stream_set:
                name = " ".join(readable(str(labels.get(NAME_LABEL) or key[1]), 64).split())
                self.in_set.setdefault((name, key[1]), []).append(key)

    def session(self, stream: Stream, role: str) -> Session | None:
        """Return a session that has not expired."""
        return self.sessions.get((stream.gateways[role], stream.uid, role))

    def of(self, uid: str) -> list[Key]:
        """Return the sessions of a stream on all gateways, whether or not they can be read."""
        return self._by_uid.get(uid, [])

    def is_new(self, key: Key) -> bool:
        """Return whether another run may be opening a session."""
        return (self.sessions.get(key) or {}).get("state") in UNOPENED_STATES

    def cut(self, keys: Iterable[Key]) -> list[str]:
        """Return how many open connections a release of sessions cuts. Both sides of a stream have the same ones."""
        counters = [(self.sessions.get(key) or {}).get("counters") or {} for key in keys]
        number = max(((item.get("connections") or {}).get("open") or 0 for item in counters), default=0)
        return [f"this cuts {number} open connection{'' if number == 1 else 's'}"] if number else []


def _of_leg(step: Step, stream: Stream, there: _Existing, wishes: Wishes) -> Step:
    """Return the step of a leg, with the release of what gateways have that it no longer goes through.

    What another run may be opening is left alone. If two runs deal a leg to different gateways at the same time, the
    next run releases what is not used.
    """
    if not stream.leg_of:
        return step
    step = replace(step, leg_of=stream.leg_of)
    others = [key for key in there.of(stream.uid) if key[0] != stream.gateways[key[2]] and not there.is_new(key)]
    if (
        not others
        or not wishes.patient
        or step.action not in (OPEN, CHANGE, REPAIR, UNCHANGED)
        or stream.state == OMITTED
    ):
        return step
    why = [f"{gateway} has a {role} side that is no longer used" for gateway, _uid, role in others]
    action = REPAIR if step.action == UNCHANGED else step.action
    return replace(step, action=action, why=[*step.why, *why, *there.cut(others)], releases=_sessions(others, stream))


class _Comparison:
    """The comparison of one stream with the gateways."""

    def __init__(self, stream: Stream, there: _Existing, wishes: Wishes, now: datetime) -> None:
        self._stream = stream
        self._there = there
        self._wishes = wishes
        self._now = now
        self._sessions = {role: there.session(stream, role) for role in ROLES}

    def step(self) -> Step:
        stream, there = self._stream, self._there
        if stream.state != "absent" and stream.job and stream.job.get("error"):
            return self._make(REFUSED, [str(stream.job["error"])])
        silent = sorted({gateway for gateway in stream.gateways.values() if gateway in there.silent})
        if stream.state == OMITTED:
            return self._make(UNCHANGED)
        if stream.state in GONE and (there.of(stream.uid) or not silent):
            return self._absent()
        if silent:
            return self._make(UNREACHABLE, [f"{gateway} does not answer" for gateway in silent])
        unreadable = [role for role in ROLES if self._key(role) in there.unreadable]
        moved = self._moved()
        if unreadable:
            return self._replace([f"the session store cannot read its {role} side" for role in unreadable])
        if not any(self._sessions.values()):
            if moved:
                return self._replace(self._moves(moved), moved)
            number = f" ({stream.num_conn})" if stream.leg_of else ""
            return self._make(OPEN, [f"{stream.gateways['producer']} -> {stream.gateways['consumer']}{number}"])
        policies = {role: there.policies[stream.gateways[role]] for role in ROLES}
        return self._judge(differences(stream, self._sessions, policies, self._now))

    def _absent(self) -> Step:
        keys = self._there.of(self._stream.uid)
        surplus = self._stream.state == SURPLUS
        why = ["it has fewer connections" if surplus else "its state is absent", *self._there.cut(keys)]
        if not keys:
            return self._make(UNCHANGED)
        return Step(self._stream.name, self._stream.uid, RELEASE, why, _sessions(keys, self._stream))

    def _judge(self, found: Differences) -> Step:
        if found.unopened and self._wishes.patient:
            return self._make(UNOPENED, found.unopened)
        if found.fixed:
            return self._replace(found.fixed)
        if found.drift or found.unopened:
            why = [*found.drift, *found.unopened, *found.changes]
            return self._make(REPAIR, why, unopened=bool(found.unopened))
        if found.changes:
            return self._make(CHANGE, found.changes)
        return self._make(UNCHANGED, renewed=resolves_names(self._stream))

    def _make(self, action: str, why: Iterable[str] = (), renewed: bool = False, unopened: bool = False) -> Step:
        missing = [role for role in ROLES if self._sessions[role] is None]
        decides = missing[0] if missing and action in SENT else ""
        waits = action == UNOPENED or (action == REPAIR and unopened)
        return Step(
            self._stream.name, self._stream.uid, action, list(why), decides=decides, renewed=renewed, waits=waits
        )

    def _replace(self, why: Sequence[str], moved: Sequence[Key] = ()) -> Step:
        """Return the step of a stream that cannot be changed in place."""
        stream = self._stream
        keys = [*self._there.of(stream.uid), *moved]
        if not self._wishes.replace:
            return self._make(KEPT, why)
        why = [*why, *self._there.cut(keys)]
        return Step(stream.name, stream.uid, REPLACE, why, _sessions(keys, stream), ROLES[0])

    def _moved(self) -> list[Key]:
        """Return the sessions of the set that have the name of the stream and another uid."""
        return [
            key
            for (name, uid), keys in self._there.in_set.items()
            if name == self._stream.name and uid != self._stream.uid
            for key in keys
        ]

    def _moves(self, moved: Sequence[Key]) -> list[str]:
        before = {role: gateway for gateway, _uid, role in moved}
        return [
            change(f"{role}.gateway", before[role], self._stream.gateways[role])
            for role in ROLES
            if before.get(role) not in (None, self._stream.gateways[role])
        ] or ["its uid is different"]

    def _key(self, role: str) -> Key:
        return self._stream.gateways[role], self._stream.uid, role


def _undescribed(streams: Sequence[Stream], there: _Existing, wishes: Wishes) -> Iterable[Step]:
    """Return a step for each stream that has the name of the set, but is not described.

    A described stream that is still on other gateways is not pruned, but replaced.
    """
    described = {stream.uid for stream in streams}
    elsewhere = {stream.name for stream in streams if stream.state not in GONE and not there.of(stream.uid)}
    why = f"it is not in the stream set {wishes.stream_set}"
    seen: set[str] = set()
    for (name, uid), keys in sorted(there.in_set.items(), key=lambda item: _order(item[0][0])):
        # Both sides of a stream have the same name, unless something else than this collection opened them.
        if uid not in described and uid not in seen and name not in elsewhere:
            labels = there.sessions[keys[0]].get("labels") or {}
            leg_of = readable(str(labels.get(LEG_LABEL) or ""), 64)
            yield Step(name, uid, RELEASE, [why, *there.cut(keys)], _sessions(keys, None), leg_of=leg_of)
            seen.add(uid)


def _order(name: str) -> list[tuple[bool, int, str]]:
    """Return the key by which names are sorted as people do, with numbers in them by their values."""
    parts = re.split(r"([0-9]+)", name[:64])
    # Every second part is a number.
    keys = [(index % 2 == 1, part) for index, part in enumerate(parts) if part]
    return [(number, int(part) if number else 0, part) for number, part in keys]


def _sessions(keys: Iterable[Key], stream: Stream | None) -> list[dict[str, Any]]:
    return [
        {
            "gateway": gateway,
            "uid": uid,
            "role": role,
            "described": stream is not None and uid == stream.uid and stream.gateways.get(role) == gateway,
        }
        for gateway, uid, role in keys
    ]
