# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with a stream, from its sessions on both gateways and from how they reached their targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.dial import is_turned
from ansible_collections.scistream.gateway.plugins.module_utils._common.formatting import format_duration
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import (
    Results,
    Session,
    has_failed,
    session_of,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import (
    listed,
    readable,
    with_names,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import OTHER_ROLE, Stream

# Difference of clocks in seconds that certificates tolerate with certainty.
_MAX_SKEW = 300
_OPEN_AGAIN = "run stream_open again"
_HEALTHY = ("ok", "idle", "waiting", "busy", None)
_REPAIRS = {
    "down": f"{_OPEN_AGAIN}, which restarts it",
    "unfinished": _OPEN_AGAIN,
    "expired": _OPEN_AGAIN,
}


class Sides:
    """The two sides of a stream, as the gateways described them.

    Args:
        stream: The stream.
        answers: Answers of the gateways, with their sessions.
        contacted: Answers of the gateways that contacted their targets, by role.
    """

    def __init__(self, stream: Stream, answers: Results, contacted: Mapping[str, Results] | None = None) -> None:
        self.stream = stream
        self._answers = answers
        self._contacted = contacted or {}
        found = {role: session_of(self._answers, stream, role) for role in stream.gateways}
        self.sessions: dict[str, Session] = {role: session for role, session in found.items() if session}

    @property
    def encrypted(self) -> bool:
        """Whether connections between the gateways are encrypted."""
        return any(session.get("encryption") == "tls" for session in self.sessions.values())

    @property
    def is_turned(self) -> bool:
        """Whether the producer's gateway connects to the consumer's."""
        return any(map(is_turned, self.sessions.values()))

    @property
    def both_open(self) -> bool:
        """Whether both sides are streaming."""
        states = [session.get("state") for session in self.sessions.values()]
        return states == ["streaming", "streaming"]

    def session(self, role: str) -> Session:
        """Return the session of a role, empty if there is none."""
        return self.sessions.get(role) or {}

    def probe(self, role: str) -> Mapping[str, Any] | None:
        """Return what the gateway of a role found out when it contacted its targets, or None."""
        gateway = self.stream.gateways[role]
        session = session_of({gateway: self._answer(role)}, self.stream, role)
        return (session or {}).get("probe")

    def _answer(self, role: str) -> Mapping[str, Any]:
        """Return the answer of the gateway of a role that contacted its targets, empty if it did not."""
        answer = self._contacted.get(role, {}).get(self.stream.gateways[role]) or {}
        return answer.get("contacted") or {}

    def problems(self) -> list[str]:
        """Return what is wrong with the sessions."""
        found = []
        for role, gateway in self.stream.gateways.items():
            answer = self._answers.get(gateway)
            if answer is None:
                # It is not part of this run.
                continue
            if has_failed(answer):
                found.append(f"{gateway}: {with_names(answer.get('msg') or 'no answer', [self.stream])}")
            else:
                found += self._side_problems(role, gateway)
            found += self._refusal(role, gateway)
            found += _clock(gateway, self._answer(role), self.probe(role))
        return [*found, *self._pairing()]

    def _side_problems(self, role: str, gateway: str) -> Iterable[str]:
        session = self.sessions.get(role)
        if session is None:
            other = self.stream.gateways[OTHER_ROLE[role]]
            there = f", but {other} has" if self.sessions else ""
            yield f"{gateway} has no {role} session for it{there}: {_OPEN_AGAIN if there else 'run stream_open'}"
            return
        state, health = session.get("state"), session.get("health")
        if state in ("reserved", "announced"):
            awaited = "HELLO" if state == "reserved" else "UPDATE"
            yield f"{gateway}: its {role} session is {state} and waits for its {awaited}: {_OPEN_AGAIN}"
        elif health not in _HEALTHY:
            # The other reasons include the remedy.
            repair = f": {_REPAIRS[str(health)]}" if str(health) in _REPAIRS else ""
            yield f"{gateway}: {readable(str(session.get('reason') or health))}{repair}"

    def _refusal(self, role: str, gateway: str) -> Iterable[str]:
        """Return why a gateway did not contact the targets of a session."""
        contacted = self._answer(role)
        if not has_failed(contacted):
            return
        failed = contacted.get("failed_sessions")
        if failed is None:
            yield f"{gateway}: {readable(str(contacted.get('msg') or 'no answer'))}"
            return
        for item in failed:
            if (item.get("uid"), item.get("role")) == (self.stream.uid, role):
                yield f"{gateway}: {with_names(readable(str(item.get('msg'))), [self.stream])}"

    def _pairing(self) -> Iterable[str]:
        """Return why the two sides do not fit together."""
        if not self.both_open:
            return
        producer, consumer = self.session("producer"), self.session("consumer")
        again = "release the stream and open it again"
        addresses = set(producer.get("listeners") or [])
        if self.is_turned:
            dialled, waits = (list(session.get("peer_listeners") or []) for session in (producer, consumer))
            if dialled != waits:
                yield (
                    f"{self.stream.gateways['producer']} connects to {listed(dialled)}, but "
                    f"{self.stream.gateways['consumer']} waits at {listed(waits)}: {again}"
                )
        elif not self.stream.remote_listeners and not set(consumer.get("targets") or []) <= addresses:
            yield (
                f"{self.stream.gateways['consumer']} forwards to {listed(consumer.get('targets') or [])}, but "
                f"{self.stream.gateways['producer']} listens at {listed(sorted(addresses))}: {again}"
            )
        for role in ("producer", "consumer") if self.encrypted else ():
            own, known = self.session(role).get("certificate"), self.session(OTHER_ROLE[role]).get("peer_certificate")
            if own and known and own.split() != known.split():
                yield (
                    f"{self.stream.gateways[OTHER_ROLE[role]]} expects another certificate than the one of "
                    f"{self.stream.gateways[role]}: {again}"
                )


def contact_problem(sides: Sides, role: str, contact: Mapping[str, Any], is_probe: bool = False) -> str:
    """Describe why a gateway did not reach a target, and what to do.

    Args:
        sides: The stream.
        role: Role of the gateway.
        contact: What happened.
        is_probe: Whether the target is a listener of a probe.
    """
    gateway, producer = sides.stream.gateways[role], sides.stream.gateways["producer"]
    target, source = str(contact.get("target")), contact.get("source") or "its address"
    what = f"the application at {target}" if role == "producer" else f"{producer} at {target}"
    text = f"{gateway} does not reach {what}: {readable(str(contact.get('msg')))}. "
    kind = contact.get("problem")
    if role == "producer":
        return text + _application_advice(str(kind), target, gateway, str(source))
    if kind == "timeout":
        only = "; it may allow the ports of the stream only" if is_probe else ""
        return text + (
            f"A firewall drops connections from {source} to this port, or {producer} is down: allow TCP from {gateway} "
            f"to s2cs_port_range of {producer}{only}"
        )
    if kind == "closed":
        clients = [str(item) for item in sides.session("producer").get("clients") or []]
        allowed = f" only accepts connections from {listed(clients)}" if clients else " refuses connections"
        translated = " before any translation (NAT)" if f"{source}/32" in clients or f"{source}/128" in clients else ""
        return text + (
            f"{producer}{allowed}, and {gateway} connects from {source}{translated}: set consumer.address in the "
            f"description to the address that {producer} sees. If it is right, read the log of {producer}"
        )
    return text + {
        "refused": f"No data server listens there, or a firewall rejects it: run stream_status, and {_OPEN_AGAIN}",
        "silent": f"The data server on {producer} is stopped, paused or overloaded: run stream_status",
        "no_tls": f"Another program answers there: compare the address with the listeners of {producer}",
        "certificate": f"The sides were opened separately, or something answers instead of {producer}: release the "
        "stream and open it again",
    }.get(
        str(kind),
        f"There is no route, or a firewall rejects it: check routes, s2cs_listen of {producer} and s2cs_egress of "
        f"{gateway}",
    )


def _application_advice(kind: str, target: str, gateway: str, source: str) -> str:
    if kind == "refused":
        return "No application listens there: start it, or correct producer.listeners"
    if kind == "timeout":
        return f"Its host is down, or a firewall drops connections from {gateway} ({source}) to {target}"
    return f"There is no route, or a firewall rejects it: check producer.listeners, and the routes of {gateway}"


def _clock(gateway: str, answer: Mapping[str, Any], probe: Mapping[str, Any] | None) -> Iterable[str]:
    """Return whether the clock of a gateway differs from that of the control node."""
    between = answer.get("asked_between")
    if probe is None or not between or probe.get("time") is None:
        return
    begin, end = map(float, between)
    now = float(probe["time"])
    skew = now - end if now > end else now - begin if now < begin else 0.0
    if abs(skew) > _MAX_SKEW:
        direction = "ahead of" if skew > 0 else "behind"
        by = format_duration(abs(skew))
        yield f"the clock of {gateway} is {by} {direction} that of this machine: synchronize the clocks"
