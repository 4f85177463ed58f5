# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A session: one role of one stream on one gateway."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from ipaddress import ip_network
from typing import Any, Container

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint, parse_endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.dial import DEFAULT_DIAL
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import StateError
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec, Dial

RESERVED, ANNOUNCED, STREAMING, EXPIRED = "reserved", "announced", "streaming", "expired"
# Maximum size of a session in the store in bytes.
MAX_DOCUMENT = 128 << 10
STATES = (RESERVED, ANNOUNCED, STREAMING, EXPIRED)

# Fields that the modules return. The hash of the secret is not among them.
_RESULT = (
    *("uid", "role", "state", "proxy", "runtime", "encryption", "transport", "num_conn", "rate", "listeners"),
    *("producer_listeners", "targets", "resolved", "clients", "egress", "certificate", "peer_certificate"),
    *("labels", "owner", "created", "lifetime", "expires", "pending", "half_close", "rtt"),
    *("dial", "peer_listeners", "peer_clients", "peer_egress"),
)
# Fields that are only stored if they do not have their default.
_NEWER: dict[str, Any] = {
    "for_probe": False,
    "dial": DEFAULT_DIAL,
    "peer_listeners": [],
    "peer_clients": [],
    "peer_egress": None,
    "rtt": None,
}
# Fields that cannot be changed by another request for the same session.
_FIXED = ["num_conn", "proxy", "runtime", "encryption", "transport", "dial"]
# Fields that another request for the same session can change without interrupting connections.
_CHANGEABLE = ["rate", "hello_timeout", "lifetime", "labels", "rtt"]


@dataclass(frozen=True)
class Session:
    """A session as stored in its row. Times are in seconds since the epoch, certificates in PEM.

    The private key is not stored here. Only the data server has it.

    Attributes:
        pending: The action that is in progress, or that was killed if no process holds the lock. Otherwise empty.
        expires: Time by which the next message must be received. While streaming, the end of the lifetime.
        targets: Targets as requested, possibly with host names.
        resolved: The targets with the IP addresses to which they were resolved at the time of the UPDATE.
        half_close: Whether one direction of a connection stays open after the other has ended (proxy setting).
        for_probe: Whether it is streaming for a probe, and not for an application.
        rtt: Round trip between the gateways in milliseconds, or None if the request did not say.
        dial: Role whose gateway connects to the other one.
        peer_listeners: If the producer's gateway connects to the consumer's, where the latter waits for it, in the
            order of the connections.
        peer_clients: Networks from which it may connect there.
        peer_egress: Source address of these connections.
    """

    uid: str
    role: str
    proxy: str
    runtime: str
    encryption: str
    num_conn: int
    rate: int | None
    hello_timeout: int
    labels: dict[str, str]
    owner: str
    secret_hash: str
    created: float
    expires: float | None
    transport: str = "tcp"
    egress: str | None = None
    state: str = RESERVED
    pending: str = ""
    listeners: list[str] = field(default_factory=list)
    producer_listeners: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    resolved: list[str] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)
    lifetime: int | None = None
    certificate: str | None = None
    peer_certificate: str | None = None
    update_timeout: int | None = None
    half_close: bool = True
    for_probe: bool = False
    rtt: float | None = None
    dial: str = DEFAULT_DIAL
    peer_listeners: list[str] = field(default_factory=list)
    peer_clients: list[str] = field(default_factory=list)
    peer_egress: str | None = None

    @property
    def name(self) -> str:
        """Name of the session's data server on this gateway."""
        return session_name(self.uid, self.role)

    @property
    def is_expired(self) -> bool:
        """Whether the next message was not received in time, or the lifetime has ended."""
        return self.expires is not None and time.time() > self.expires

    @property
    def end(self) -> float | None:
        """End of the lifetime, or None if it is not limited."""
        return None if self.lifetime is None else self.created + self.lifetime

    @property
    def is_turned(self) -> bool:
        """Whether the producer's gateway connects to the consumer's."""
        return self.dial != DEFAULT_DIAL

    @property
    def num_listeners(self) -> int:
        """Number of its listeners for applications or, on the producer's side, for the other gateway."""
        return 0 if self.is_turned and self.role == "producer" else self.num_conn

    @property
    def own_endpoints(self) -> list[Endpoint]:
        """All addresses at which this gateway listens for it."""
        waits = self.is_turned and self.role == "consumer"
        return [
            parse_endpoint("listeners", item) for item in [*self.listeners, *(self.peer_listeners if waits else ())]
        ]

    def with_deadline(self) -> Session:
        """Return this session with a deadline for its next message, starting now."""
        if self.state not in (RESERVED, ANNOUNCED):
            return self.replace(expires=self.end)
        seconds = self.update_timeout if self.state == ANNOUNCED and self.update_timeout else self.hello_timeout
        awaited = time.time() + seconds
        return self.replace(expires=awaited if self.end is None else min(awaited, self.end))

    def updated(self, other: Session, specified: Container[str]) -> Session:
        """Return this session with the changes of another request for it, and a new deadline.

        Args:
            other: The session that the other request would create.
            specified: Options that the request specifies. The others are not changed.
        """
        return self.replace(**{key: getattr(other, key) for key in _CHANGEABLE if key in specified}).with_deadline()

    def replace(self, **values: Any) -> Session:
        """Return a copy of this session with other values."""
        return replace(self, **values)

    def differences(self, other: Session, specified: Container[str]) -> list[str]:
        """Return readable differences to another request for the same session that cannot be changed.

        Args:
            other: The session that the other request would create.
            specified: Options that the request specifies. The others are not compared.
        """
        return [
            f"{key} is {json.dumps(getattr(self, key))}, requested {json.dumps(getattr(other, key))}"
            for key in _FIXED
            if key in specified and getattr(self, key) != getattr(other, key)
        ]

    @property
    def own_clients(self) -> list[str]:
        """Clients of a consumer's session for a probe: only its gateway, from the addresses of its listeners."""
        hosts = dict.fromkeys(parse_endpoint("listeners", item).host for item in self.listeners)
        return [str(ip_network(host)) for host in hosts]

    def spec(self, key: str | None = None) -> DataServerSpec:
        """Return the specification of this session's data server.

        Args:
            key: The private key of its certificate, if it is new.
        """
        return DataServerSpec(
            name=self.name,
            listeners=[parse_endpoint("listeners", item) for item in self.listeners],
            targets=[parse_endpoint("targets", item) for item in self.resolved],
            clients=self.clients,
            egress=self.egress,
            rate=self.rate,
            role=self.role,
            encryption=self.encryption,
            transport=self.transport,
            certificate=self.certificate,
            key=key,
            peer_certificate=self.peer_certificate,
            dial=self._dial(),
        )

    def _dial(self) -> Dial | None:
        """Return how the producer's gateway connects to the consumer's, or None if it does not."""
        if not self.is_turned:
            return None
        peers = [parse_endpoint("peer_listeners", item) for item in self.peer_listeners]
        if self.role == "consumer":
            return Dial("waits", peers, self.peer_clients, open=self.state == STREAMING)
        return Dial("dials", peers, source=self.peer_egress)

    def require_state(self, *states: str) -> None:
        """Check that this session has one of the given states and has not expired.

        Raises:
            StateError: It has another state or has expired.
        """
        self.require_not_expired()
        if self.state in states:
            return
        advice = "send HELLO first (s2cs_hello)" if self.state == RESERVED else "release it first (s2cs_release)"
        raise StateError(
            f"uid: session {self.uid} ({self.role}) is {self.state} but must be {' or '.join(states)}: {advice}"
        )

    def require_not_expired(self) -> None:
        """Check that this session has not expired.

        Raises:
            StateError: It has expired.
        """
        if self.is_expired:
            raise StateError(
                f"uid: session {self.uid} ({self.role}) {self.why_expired()}; request it again with s2cs_request"
            )

    def why_expired(self) -> str:
        """Return when and why this session expired."""
        why = f"its lifetime of {self.lifetime} s has ended"
        if self.state == RESERVED and self.expires != self.end:
            why = f"no HELLO was received within {self.hello_timeout} s"
        if self.state == ANNOUNCED and self.expires != self.end:
            why = f"no UPDATE was received within {self.update_timeout or self.hello_timeout} s of its HELLO"
        return f"expired at {timestamp(self.expires)} because {why}"

    def to_result(self) -> dict[str, Any]:
        """Return the session as the modules return it."""
        document = {key: getattr(self, key) for key in _RESULT}
        document["state"] = EXPIRED if self.is_expired else self.state
        document["created"] = timestamp(self.created)
        document["expires"] = timestamp(self.expires)
        document["ends"] = timestamp(self.end)
        return document

    def to_json(self) -> str:
        """Return the session as it is stored."""
        # Earlier versions of the collection do not know these fields.
        document = {key: value for key, value in vars(self).items() if key not in _NEWER or value != _NEWER[key]}
        return json.dumps(document, sort_keys=True)

    def require_storable(self, tolerance: int = 0) -> str:
        """Check that this session is not too large to be stored, and return it as it is stored.

        Every ``info`` reads and returns all sessions, so that a large one would hold up all users.

        Args:
            tolerance: Number of bytes by which the maximum may be exceeded.

        Raises:
            StateError: It is too large.
        """
        text = self.to_json()
        if len(text) > MAX_DOCUMENT + tolerance:
            sizes = {name: len(json.dumps(value)) for name, value in vars(self).items()}
            largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
            shown = ", ".join(f"{name} {sizes[name]}" for name in largest)
            raise StateError(
                f"uid: session {self.uid} ({self.role}) would take {len(text)} bytes in the session store, but at most "
                f"{MAX_DOCUMENT} are allowed (largest: {shown}): use fewer or shorter values, or several streams"
            )
        return text


def session_name(uid: str, role: str) -> str:
    """Return the name of the data server of a session."""
    return f"{role}-{uid}"


def timestamp(seconds: float | None) -> str | None:
    """Return a time as ISO 8601 in UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def hash_secret(secret: str) -> str:
    """Return the salted hash of a secret for the store. Secrets are long, so a slow hash is not required."""
    salt = os.urandom(16).hex()
    return f"{salt}${hashlib.sha256((salt + secret).encode()).hexdigest()}"


def secret_matches(stored: str, secret: str) -> bool:
    """Compare a secret with a stored hash in constant time."""
    salt, _separator, digest = stored.partition("$")
    return hmac.compare_digest(hashlib.sha256((salt + secret).encode()).hexdigest(), digest)


def format_endpoints(items: list[Endpoint]) -> list[str]:
    """Return endpoints as text."""
    return [str(item) for item in items]
