# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a status shows: the selected streams of all gateways, and what is wrong, each with a command."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import printable
from ansible_collections.scistream.gateway.plugins.module_utils._common.problems import (
    NOTICE,
    PROBLEM,
    Problem,
    gateway_problems,
    session_problems,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Results, has_failed
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.legs_view import with_legs
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.messages import roles_at
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import OTHER_ROLE, Stream
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_commands import ControlNodeCommands
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_legs import leg_uids
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_view import (
    MalformedAnswerError,
    Side,
    StreamView,
    read_sides,
)

_MALFORMED = "its answer has an unknown form: upgrade it with the playbook scistream.gateway.gateway"


@dataclass(frozen=True)
class GatewayView:
    """A gateway of the run.

    Attributes:
        name: Its name in the inventory.
        answered: Whether it returned its sessions, in a known form.
        sessions: Number of selected sessions.
        ports: Numbers of its ports: ``used`` and ``total``, empty if unknown.
    """

    name: str
    answered: bool
    sessions: int = 0
    ports: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Trouble:
    """A problem of a stream or of a gateway.

    Attributes:
        gateway: Gateway that has it, empty if it concerns both sides of a stream.
        stream: Name of the stream, empty if it concerns a gateway.
        problem: The problem, with a command for the control node.
        log: Last lines of the log of the data server, if it is not running.
    """

    gateway: str
    stream: str
    problem: Problem
    log: Sequence[str] = ()

    @property
    def subject(self) -> str:
        """What has the problem."""
        if not self.stream:
            return self.gateway
        where = ", ".join(filter(None, (self.problem.role, self.gateway)))
        return f"{self.stream} ({where})" if where else self.stream


@dataclass(frozen=True)
class StatusView:
    """The status of all gateways at one time.

    Attributes:
        time: When it was determined.
        streams: The selected streams, by name.
        gateways: The gateways of the run.
        troubles: The problems, worst first.
        selected: Whether the streams were selected, rather than all streams of the gateways.
    """

    time: float
    streams: Sequence[StreamView]
    gateways: Sequence[GatewayView]
    troubles: Sequence[Trouble]
    selected: bool = False

    def troubled(self, level: str | None = None) -> set[str]:
        """Return the uids of streams with problems of a level. If omitted, of any level."""
        uids = {trouble.problem.uid for trouble in self.troubles if level in (None, trouble.problem.level)}
        return {stream.uid for stream in self.streams if uids & {part.uid for part in stream.parts}}


def view_status(results: Results, uids: Sequence[str], streams: Sequence[Stream], now: float) -> StatusView:
    """Return the status of the selected streams. Without uids and streams, all streams are selected.

    Args:
        results: Answers of the gateways to s2cs_info.
        uids: Uids of selected streams.
        streams: Selected streams.
        now: The current time.
    """
    wanted = {*(str(uid).lower() for uid in uids), *(stream.uid for stream in streams)}
    wanted.update(leg_uids([*uids, *(stream.uid for stream in streams if stream.deal)], results))
    gateways, troubles = [], []
    sides: dict[str, dict[str, Side]] = {}
    for name, answer in results.items():
        try:
            view, found, own = _gateway(name, answer, wanted, now)
        except MalformedAnswerError:
            view, found = GatewayView(name, False), []
            own = [Trouble(name, "", Problem(PROBLEM, _MALFORMED, ControlNodeCommands(name).configure(name)))]
        else:
            own += [] if view.answered else [Trouble(name, "", _silence(name, answer))]
        gateways.append(view)
        troubles += own
        for side in found:
            both = sides.setdefault(side.session.uid, {})
            other = both.get(side.session.role)
            if other is not None and side.leg_of:
                side, old = sorted((side, other), key=lambda one: one.session.created or 0, reverse=True)
                troubles.append(_unused(old))
            both[side.session.role] = side
    names = {stream.uid: stream.name for stream in streams}
    complete = all(gateway.answered for gateway in gateways)
    views = [
        StreamView(uid, names.get(uid) or next(iter(both.values())).session.title, both, complete)
        for uid, both in sides.items()
    ]
    there = {*sides, *(side.leg_of for both in sides.values() for side in both.values())}
    views += [StreamView(one.uid, one.name, complete=complete) for one in streams if one.uid not in there]
    for stream in views:
        troubles += _stream(stream, now)
    answers = {gateway.name: results[gateway.name] for gateway in gateways if gateway.answered}
    troubles += _incomplete(views, streams, answers)
    return StatusView(
        time=now,
        streams=sorted(with_legs(views), key=lambda stream: (_natural(stream.name), stream.uid)),
        gateways=gateways,
        troubles=sorted(troubles, key=lambda trouble: trouble.problem.level != PROBLEM),
        selected=bool(wanted),
    )


def _unused(side: Side) -> Trouble:
    """Return that a gateway still has a side of a leg that another one has taken."""
    session, commands = side.session, ControlNodeCommands(side.gateway)
    message = "this side is no longer used, as another gateway has taken it"
    problem = Problem(NOTICE, message, commands.apply(), session.uid, session.role)
    return Trouble(side.gateway, session.title, problem)


def _silence(name: str, answer: Mapping[str, Any]) -> Problem:
    """Return why a gateway did not return its sessions."""
    commands = ControlNodeCommands(name)
    message = printable(answer.get("msg") or "no answer")
    return Problem(PROBLEM, message, commands.contact() if answer.get("lost") else commands.query())


def _gateway(
    name: str, answer: Mapping[str, Any], wanted: set[str], now: float
) -> tuple[GatewayView, list[Side], list[Trouble]]:
    """Return a gateway, its selected sessions, and its own problems.

    Raises:
        MalformedAnswerError: Its answer is of an unknown form.
    """
    failed = has_failed(answer) or "sessions" not in answer
    try:
        problems = list(gateway_problems(answer, ControlNodeCommands(name), name))
        ports = dict((answer.get("gateway") or {}).get("ports") or {})
        sessions = [] if failed else [one for one in answer["sessions"] if not wanted or one["uid"] in wanted]
    except (TypeError, ValueError, KeyError, AttributeError):
        raise MalformedAnswerError from None
    sides = read_sides(name, sessions)
    # Of sessions without a row, only the uid is known.
    own = [
        Trouble(name, f"uid {problem.uid}" if problem.uid else "", problem)
        for problem in problems
        if not wanted or not problem.uid or problem.uid in wanted
    ]
    return GatewayView(name, not failed, len(sides), None if failed else ports), sides, own


def _stream(stream: StreamView, now: float) -> Iterator[Trouble]:
    """Yield the problems of both sides, those that both have once."""
    found: dict[tuple[str, str, str], list[Trouble]] = {}
    for role in ROLES:
        side = stream.sides.get(role)
        if side is None:
            continue
        session = side.session
        for problem in session_problems(session, side.clock(now), ControlNodeCommands(side.gateway)):
            is_dead = not session.running and session.state == "streaming"
            # The reason may end with the last lines.
            log = [line for line in side.log if is_dead and line not in problem.message]
            trouble = Trouble(side.gateway, stream.name, problem, log)
            found.setdefault((problem.level, problem.message, problem.command), []).append(trouble)
    for same in found.values():
        first = same[0]
        yield first if len(same) == 1 else replace(first, gateway="", problem=replace(first.problem, role=""))


def _incomplete(views: Sequence[StreamView], streams: Sequence[Stream], answered: Results) -> Iterator[Trouble]:
    """Yield streams of which gateways that answered should have a side, but do not."""
    described = {stream.uid: stream for stream in streams}
    listens, leaves = _addresses(answered, "listen", "producer"), _addresses(answered, "egress", "consumer")
    for view in views:
        if not view.sides and view.complete and described[view.uid].state != "absent":
            message = "it is not open: no gateway of this run has a session for it"
            yield Trouble("", view.name, Problem(PROBLEM, message, ControlNodeCommands("").open, view.uid, ""))
        if len(view.sides) != 1:
            continue
        ((role, side),) = view.sides.items()
        other = OTHER_ROLE[role]
        if view.uid in described:
            stream = described[view.uid]
            gateway = next((name for name in answered if other in roles_at(stream, name, "identify")), None)
        elif role == "consumer":
            gateway = listens.get(_host((*side.session.targets, "")[0]))
        else:
            gateway = leaves.get(side.session.clients[0].partition("/")[0]) if len(side.session.clients) == 1 else None
        if gateway is not None and side.session.state == "streaming":
            message = f"{gateway} has no session for the {other} side"
            problem = Problem(PROBLEM, message, ControlNodeCommands(gateway).open, view.uid, "")
            yield Trouble("", view.name, problem)


def _addresses(answered: Results, key: str, role: str) -> dict[str, str]:
    """Return the gateways by their addresses, as far as these are unique."""
    found: dict[str, list[str]] = {}
    for name, answer in answered.items():
        addresses = (answer.get("gateway") or {}).get(key)
        if isinstance(addresses, Mapping) and addresses.get(role):
            found.setdefault(str(addresses[role]), []).append(name)
    return {address: names[0] for address, names in found.items() if len(names) == 1}


def _host(endpoint: str) -> str:
    return endpoint.rpartition(":")[0].strip("[]")


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts scan-2 before scan-10."""
    return [(int(part) if part.isdecimal() else 0, part.lower()) for part in re.split(r"(\d{1,9})", name)]
