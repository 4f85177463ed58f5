# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams as the playbooks use them, read from descriptions."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.dial import DEFAULT_DIAL
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.path_capacity import check_rtt, show_rtt
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import (
    MAX_HELLO_TIMEOUT,
    MAX_LIFETIME,
    MAX_NUM_CONN,
    ROLES,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_number, whole_number

OTHER_ROLE = {"producer": "consumer", "consumer": "producer"}
#: Roles that each purpose opens. ``identify`` only determines uids, ``release`` also requires one of the gateways.
PURPOSES: dict[str, tuple[str, ...]] = {
    "open": ROLES,
    "apply": ROLES,
    "inbound": ("producer",),
    "outbound": ("consumer",),
    "hello": ("producer",),
    "identify": (),
    "release": (),
}

#: What happens to connections of gateways that do not answer, if a stream has many: others take them, or none does.
LOST_MEMBERS = ("replace", "omit")
#: The keys of a producer that specify a batch job, and what they contain.
JOB_KEYS: Mapping[str, tuple[str, ...]] = {
    "slurm": ("job", "host", "port", "user", "networks"),
    "command": ("template", "job", "host", "port", "networks"),
}
#: Label of all sessions of a description with its name.
SET_LABEL = "stream_set"
#: Label of a leg with the uid of its stream, and the state of one that is left alone, as its gateway does not answer.
LEG_LABEL, OMITTED = "leg_of", "omitted"
#: State of a leg that is to be released, as its stream has fewer connections now, and all states of what is released.
SURPLUS = "surplus"
GONE = ("absent", SURPLUS)
#: Must never change, because uids are derived from it, by which later runs find a stream.
_NAMESPACE = uuid.UUID("5d0c2c39-0a0c-5f3c-9a3b-6f6f5f2c9c51")

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)
_SPAN = re.compile(r"([0-9]{1,9})([smhdw]?)", re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


class DescriptionError(ScistreamError):
    """A description of streams has errors. ``problems`` lists all of them, one sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


@dataclass(frozen=True)
class Peer:
    """Properties of the data server on the other side of a stream.

    Attributes:
        proxy: Name of the proxy.
        half_close: Whether one direction of a connection stays open after the other has ended.
    """

    proxy: str
    half_close: bool

    @classmethod
    def of(cls, session: Mapping[str, Any]) -> Peer:
        """Return the properties in a session, or in a side of a ticket or reply."""
        half_close = session.get("half_close")
        return cls(str(session.get("proxy")), True if half_close is None else bool(half_close))

    def document(self) -> dict[str, Any]:
        """Return the properties for a ticket or reply."""
        return {"proxy": self.proxy, "half_close": self.half_close}


@dataclass
class Stream:
    """One stream of a description. For attributes that are None, the policy of the gateway applies.

    Attributes:
        ports: Ports of the listeners of each gateway, by role. If omitted, the gateway selects them.
        certificates: Certificates of gateways that are not part of this run, by role, from a ticket or reply.
        ticket: Fingerprint of the specified ticket.
        reply: Fingerprint of the specified reply.
        state: ``present`` or ``absent``, for the playbook streams. For legs also SURPLUS or OMITTED.
        waits_for_hello: Whether its producer application announces itself, instead of this run.
        job: Batch job in which its producer application runs, which determines where it listens. If it cannot be used,
            ``error`` is the reason.
        answers: Fingerprint of the ticket to which the reply belongs.
        probe: Options of the REQ of each side, by role, that the stream it probes has. Only probes have any.
        deal: How connections are dealt out over gateways. Empty unless a side has several gateways, or may have them.
        members: Those gateways, by role.
        weights: Their weights, by role. If omitted, 1.
        lost_members: What happens to the connections of those that do not answer: one of LOST_MEMBERS.
        leg_of: Uid of the stream with many gateways of which this is a leg, else empty.
        peer: Properties of the data server on the other side, from the ticket or reply.
        dial: Role whose gateway connects to the other one.
        producer_address: Networks from which the producer's gateway connects, if it does.
        peer_listeners: Where the consumer's gateway then waits for it, from the reply.
    """

    name: str = ""
    uid: str = ""
    gateways: dict[str, str] = field(default_factory=dict)
    producer_listeners: list[str] = field(default_factory=list)
    remote_listeners: list[str] = field(default_factory=list)
    consumer_address: list[str] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)
    ports: dict[str, list[int]] = field(default_factory=dict)
    num_conn: int = 1
    rate: str | None = None
    rtt: str | None = None
    proxy: str | None = None
    runtime: str | None = None
    encryption: str = "tls"
    transport: str | None = None
    hello_timeout: int | None = None
    lifetime: int | None = None
    labels: dict[str, str] = field(default_factory=dict)
    certificates: dict[str, str] = field(default_factory=dict)
    ticket: str | None = None
    reply: str | None = None
    answers: str | None = None
    peer: Peer | None = None
    probe: dict[str, dict[str, Any]] = field(default_factory=dict)
    state: str = "present"
    deal: str = ""
    members: dict[str, list[str]] = field(default_factory=dict)
    weights: dict[str, dict[str, int]] = field(default_factory=dict)
    lost_members: str = "replace"
    leg_of: str = ""
    waits_for_hello: bool = False
    job: dict[str, Any] | None = None
    dial: str = DEFAULT_DIAL
    producer_address: list[str] = field(default_factory=list)
    peer_listeners: list[str] = field(default_factory=list)

    @property
    def has_reply(self) -> bool:
        """Whether its ticket has a reply, without which the producer's side knows too little of the other one."""
        return self.encryption == "tls" or self.is_turned

    @property
    def is_turned(self) -> bool:
        """Whether the producer's gateway connects to the consumer's."""
        return self.dial != DEFAULT_DIAL

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Stream:
        """Create a stream from plain data."""
        peer = document.get("peer")
        return cls(**{**document, "peer": None if peer is None else Peer(**peer)})

    def document(self) -> dict[str, Any]:
        """Return the stream as plain data for the next task of a run.

        Ansible processes each value, so defaults are omitted.
        """
        given = {name: value for name, value in vars(self).items() if value != _DEFAULTS[name]}
        return given if self.peer is None else {**given, "peer": asdict(self.peer)}


_DEFAULTS = vars(Stream())


def stream_uid(name: str, producer: str, consumer: str) -> str:
    """Derive the uid of a stream from its name and its gateways."""
    return str(uuid.uuid5(_NAMESPACE, "\n".join((name, producer, consumer))))


def leg_uid(uid: str, number: int) -> str:
    """Derive the uid of a leg of a stream with many gateways. It does not depend on the gateways, which may change."""
    return str(uuid.uuid5(uuid.UUID(uid), str(number)))


def leg_name(name: str, number: int) -> str:
    """Return the name of a leg. No stream has such a name."""
    return f"{name}/{number}"


def stream_of_leg(name: str) -> str:
    """Return the name of the stream that a leg belongs to."""
    return name.rpartition("/")[0] or name


def check_num_conn(option: str, value: Any) -> int:
    """Validate a number of connections, and return it."""
    return check_number(option, whole_number(value, 9), 1, MAX_NUM_CONN)


def check_hello_timeout(option: str, value: Any) -> int:
    """Validate the number of seconds that a session waits for its HELLO, and return it."""
    return check_number(option, whole_number(value, 9), 1, MAX_HELLO_TIMEOUT)


def check_lifetime(option: str, value: Any) -> int:
    """Validate a time span in seconds or with a unit, and return it in seconds."""
    match = _SPAN.fullmatch(str(value)) if isinstance(value, (str, int)) and not isinstance(value, bool) else None
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if not 1 <= seconds <= MAX_LIFETIME:
        raise ValueRefused(option, value, "must be seconds, or a number with s, m, h, d or w such as 12h or 7d")
    return seconds


def check_round_trip(option: str, value: Any) -> str | None:
    """Validate a round trip such as 100ms, and return it in milliseconds."""
    rtt = check_rtt(option, value)
    return None if rtt is None else show_rtt(rtt)


def check_name(option: str, value: Any) -> str:
    """Validate the name of a stream, which is also used in file names, and return it."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueRefused(
            option,
            value,
            "must be 1 to 63 letters, digits, dots, dashes and underscores, a letter or digit at each end",
        )
    return value
