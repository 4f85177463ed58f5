# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stream as the playbooks know it, once its description has been read."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError

ROLES = ("producer", "consumer")
OTHER = {"producer": "consumer", "consumer": "producer"}
#: The roles that each purpose opens. Identify only asks which stream is meant, release also if it is within reach.
PURPOSES: dict[str, tuple[str, ...]] = {
    "open": ROLES,
    "inbound": ("producer",),
    "outbound": ("consumer",),
    "identify": (),
    "release": (),
}

#: Never to be changed: a uid is made from it, and a second run finds its stream by that uid.
_NAMESPACE = uuid.UUID("5d0c2c39-0a0c-5f3c-9a3b-6f6f5f2c9c51")


class DescriptionError(ScistreamError):
    """A description of streams has mistakes; ``problems`` lists all of them, one sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


@dataclass(frozen=True)
class Peer:
    """The data server on the other side of a stream, as far as it matters on this one.

    Attributes:
        proxy: Which it is.
        half_close: Whether one direction of a connection goes on after the other has ended.
    """

    proxy: str
    half_close: bool

    @classmethod
    def of(cls, session: Mapping[str, Any]) -> Peer:
        """Return that of a session, or of a side in a ticket or reply."""
        half_close = session.get("half_close")
        return cls(str(session.get("proxy")), True if half_close is None else bool(half_close))

    def document(self) -> dict[str, Any]:
        """Return what tickets and replies say of it."""
        return {"proxy": self.proxy, "half_close": self.half_close}


@dataclass
class Stream:
    """One stream of the description. What is None was not given and is left to the gateway's policy.

    ``certificates`` are those of gateways that this run does not reach, by role, as a ticket or a reply brought them;
    ``ticket`` and ``reply`` are the fingerprints of those that this run was given, ``answers`` that of the ticket that
    the reply answers, and ``peer`` is what they say of the data server on the other side.
    """

    name: str = ""
    uid: str = ""
    gateways: dict[str, str] = field(default_factory=dict)
    producer_listeners: list[str] = field(default_factory=list)
    remote_listeners: list[str] = field(default_factory=list)
    consumer_address: list[str] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)
    num_conn: int = 1
    rate: str | None = None
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


def stream_uid(name: str, producer: str, consumer: str) -> str:
    """Return the uid of a stream that was given none: the same name and gateways make the same one."""
    return str(uuid.uuid5(_NAMESPACE, "\n".join((name, producer, consumer))))
