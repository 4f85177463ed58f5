# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams as displayed by a status: both sides of each, from the answers of all gateways to s2cs_info.

Gateways of other facilities may answer anything, so an answer of another form is an error of that gateway only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.dial import DEFAULT_DIAL
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import printable
from ansible_collections.scistream.gateway.plugins.module_utils._common.history import DIRECTIONS
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_view import SessionView, session_view
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import (
    fingerprint_of,
    listed,
    targets_with_addresses,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import LEG_LABEL

#: State of a described stream of which no gateway has a session.
NOT_OPEN = "not open"
_MAX_LOG_LINES = 5


class MalformedAnswerError(Exception):
    """A gateway returned an answer of an unknown form."""


@dataclass(frozen=True)
class Side:
    """One side of a stream.

    Attributes:
        gateway: Name of the gateway in the inventory.
        session: The session.
        targets: Its targets, host names with the addresses they resolved to.
        samples: Times, each with the bytes that were transferred in each direction until then.
        log: Why its data server is not running, or its last lines.
        fingerprint: Fingerprint of its certificate, empty if it has none.
        peer_fingerprint: Fingerprint of the certificate of the other gateway.
        leg_of: Uid of the stream with many gateways of which it claims to be a leg, else empty.
    """

    gateway: str
    session: SessionView
    targets: Sequence[str] = ()
    samples: Sequence[tuple[float, ...]] = ()
    log: Sequence[str] = ()
    fingerprint: str = ""
    peer_fingerprint: str = ""
    leg_of: str = ""

    def clock(self, now: float) -> float:
        """Return the time on the gateway when it was queried, whose clock may differ from that of the control node.

        Args:
            now: The time on the control node, which is returned if that of the gateway is not known.
        """
        return self.samples[-1][0] if self.samples else now

    @property
    def rates(self) -> tuple[float | None, ...]:
        """The rate of each direction during the samples in bytes per second, None if it is unknown."""
        if len(self.samples) >= 2 and self.samples[-1][0] > self.samples[0][0]:
            seconds = self.samples[-1][0] - self.samples[0][0]
            return tuple(
                max(0.0, new - old) / seconds
                for old, new in zip(self.samples[0][1:], self.samples[-1][1:], strict=True)
            )
        # Sessions without open connections are not sampled repeatedly.
        return (0.0 if self.samples and self.session.connections.get("open") == 0 else None,) * len(DIRECTIONS)


@dataclass(frozen=True)
class StreamView:
    """A stream.

    Attributes:
        uid: UUID.
        name: Name, or the UUID if it has none.
        sides: The sides that the gateways of this run have, by role.
        complete: Whether all gateways of the run answered, so that there are no others.
    """

    uid: str
    name: str
    sides: Mapping[str, Side] = field(default_factory=dict)
    complete: bool = True

    @property
    def parts(self) -> Sequence[StreamView]:
        """The streams with one gateway on each side of which it consists."""
        return (self,)

    @property
    def sessions(self) -> list[SessionView]:
        """The sessions of both sides, as far as they are known."""
        return [side.session for side in self.sides.values()]

    @property
    def counted(self) -> Side | None:
        """The side whose counters are displayed: that of the consumer, unless only the other one has any."""
        sides = [self.sides[role] for role in ("consumer", "producer") if role in self.sides]
        found = [side for side in sides if side.session.transferred]
        return next((side for side in found if side.session.running), found[0] if found else None)

    @property
    def rates(self) -> tuple[float | None, ...]:
        """The rate of each direction in bytes per second."""
        return self.counted.rates if self.counted else (None,) * len(DIRECTIONS)

    @property
    def is_healthy(self) -> bool:
        """Whether no side has a problem."""
        return all(session.is_healthy for session in self.sessions)

    @property
    def state(self) -> str:
        """The state of both sides."""
        other = "-" if self.complete else "?"
        if not self.sides:
            return NOT_OPEN if self.complete else other
        return self.both(lambda session: session.state, other)

    @property
    def health(self) -> str:
        """The health of both sides."""
        return self.both(lambda session: session.health) or "-"

    @property
    def created(self) -> float | None:
        """When it was requested."""
        return min((time for session in self.sessions if (time := session.created) is not None), default=None)

    @property
    def rate_limit(self) -> int | None:
        """Its limit in each direction in bits per second, None if it has none."""
        return min((session.rate_limit for session in self.sessions if session.rate_limit), default=None)

    def age(self, now: float) -> float | None:
        """Return the seconds since it was requested, None if that is unknown."""
        sides = [side for side in self.sides.values() if side.session.created is not None]
        return max((side.clock(now) - (side.session.created or 0) for side in sides), default=None)

    def left(self, now: float) -> float | None:
        """Return the seconds until the first of its sides expires, None if none of them does."""
        sides = [side for side in self.sides.values() if side.session.expires is not None]
        return min(((side.session.expires or 0) - side.clock(now) for side in sides), default=None)

    def silence(self, now: float) -> float | None:
        """Return the seconds since the last transfer, None if there was none."""
        sides = [side for side in self.sides.values() if side.session.last_byte is not None]
        return min((side.clock(now) - (side.session.last_byte or 0) for side in sides), default=None)

    def both(self, value: Any, missing: str = "") -> str:
        """Return a value of both sides, the producer's first if they differ.

        Args:
            value: Returns the value of a session.
            missing: Value of a side that is not known. If omitted, only the other one is shown.
        """
        values = [str(value(self.sides[role].session)) if role in self.sides else missing for role in ROLES]
        shown = [text for text in dict.fromkeys(values) if text]
        return "/".join(shown)

    @property
    def path(self) -> str:
        """Who connects to whom, from the consumer to the producer."""
        parts = []
        consumer, producer = self.sides.get("consumer"), self.sides.get("producer")
        if self.is_turned:
            return self._turned_path()
        if consumer:
            parts.append(f"{listed(consumer.session.listeners) or '?'} ({consumer.gateway})")
        if producer:
            parts.append(f"{listed(producer.session.listeners) or '?'} ({producer.gateway})")
        last = producer or consumer
        if last:
            parts.append(listed(last.targets) or "not known yet")
        return " -> ".join(parts)

    @property
    def is_turned(self) -> bool:
        """Whether the producer's gateway connects to the consumer's."""
        return any(session.dial != DEFAULT_DIAL for session in self.sessions)

    def _turned_path(self) -> str:
        """Who connects to whom, if both ends of the path connect to the consumer's gateway."""
        consumer, producer = self.sides.get("consumer"), self.sides.get("producer")
        peers = listed(next((one.peer_listeners for one in self.sessions if one.peer_listeners), ())) or "?"
        first = f"{listed(consumer.session.listeners) or '?'} ({consumer.gateway}, {peers})" if consumer else peers
        if not producer:
            return first
        return f"{first} <- {producer.gateway} -> {listed(producer.targets) or 'not known yet'}"


def read_sides(gateway: str, sessions: Iterable[Mapping[str, Any]]) -> list[Side]:
    """Return the sessions of a gateway.

    Raises:
        MalformedAnswerError: They are of an unknown form.
    """
    try:
        return [_side(gateway, session) for session in sessions]
    except (TypeError, ValueError, KeyError, AttributeError, IndexError):
        raise MalformedAnswerError from None


def _side(gateway: str, session: Mapping[str, Any]) -> Side:
    samples = [(float(one["time"]), *(int(one[key]) for key in DIRECTIONS)) for one in session.get("samples") or []]
    view = session_view(session)
    # Refused here rather than where these are displayed.
    numbers = [*view.connections.values(), *view.transferred.values(), view.last_byte, view.restarts, view.rate_limit]
    if view.role not in ROLES or not all(isinstance(number, (int, float, type(None))) for number in numbers):
        raise ValueError
    return Side(
        gateway=gateway,
        session=view,
        targets=[printable(target) for target in targets_with_addresses(session)],
        samples=samples,
        log=[printable(line) for line in list(session.get("log") or [])[-_MAX_LOG_LINES:]],
        fingerprint=_fingerprint(session.get("certificate")),
        peer_fingerprint=_fingerprint(session.get("peer_certificate")),
        leg_of=printable((session.get("labels") or {}).get(LEG_LABEL) or ""),
    )


def _fingerprint(certificate: Any) -> str:
    return fingerprint_of(certificate) if certificate else ""
