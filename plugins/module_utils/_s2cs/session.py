# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A session: one role of one stream on one gateway, its states, and how it is shown."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from datetime import datetime, timezone
from typing import Any, Container

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint, parse_endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES, RUNTIMES
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import StateError
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec

RESERVED, ANNOUNCED, STREAMING, EXPIRED = "reserved", "announced", "streaming", "expired"
STATES = (RESERVED, ANNOUNCED, STREAMING, EXPIRED)

# What of a session anyone may see who may see the session; the secret's hash is not among it.
_SHOWN = (
    *("uid", "role", "state", "proxy", "runtime", "encryption", "transport", "num_conn", "rate", "listeners"),
    *("producer_listeners", "targets", "resolved", "clients", "egress", "certificate", "peer_certificate"),
    *("labels", "owner", "created", "lifetime", "expires", "pending", "half_close"),
)
# What a request fixes: another request for the same session must agree in these.
_FIXED = ["num_conn", "proxy", "runtime", "encryption", "transport"]
# What another request for the same session changes, without cutting a connection.
_CHANGEABLE = ["rate", "hello_timeout", "lifetime", "labels"]


@dataclass(frozen=True)
class Session:
    """A row of the store. Times are seconds since the epoch; endpoints and networks are texts, certificates PEM texts.

    No key is here: the private key of the certificate is with the data server only.
    ``pending`` names the action that is under way; found at rest, it tells that its process died in the middle.
    ``expires`` is when the next message must have come, and once it streams the end of its life.
    ``half_close`` is a setting of its proxy: whether one direction of a connection outlives the other.
    ``resolved`` are the targets with host names replaced by what they meant at the UPDATE.
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

    @property
    def name(self) -> str:
        """Name of the session's data server on this gateway."""
        return session_name(self.uid, self.role)

    @property
    def is_expired(self) -> bool:
        """Whether no HELLO came in time, or its life is over."""
        return self.expires is not None and time.time() > self.expires

    @property
    def end(self) -> float | None:
        """When its life is over, if that is limited."""
        return None if self.lifetime is None else self.created + self.lifetime

    def with_deadline(self) -> Session:
        """Return this session as it is when its next message is awaited from now on."""
        if self.state not in (RESERVED, ANNOUNCED):
            return self.replace(expires=self.end)
        seconds = self.update_timeout if self.state == ANNOUNCED and self.update_timeout else self.hello_timeout
        awaited = time.time() + seconds
        return self.replace(expires=awaited if self.end is None else min(awaited, self.end))

    def updated(self, other: Session, specified: Container[str]) -> Session:
        """Return this session with what another request for it changes.

        Args:
            other: The session as the other request would make it.
            specified: The options that the request named; what it leaves to the policy stays.
        """
        return self.replace(**{key: getattr(other, key) for key in _CHANGEABLE if key in specified}).with_deadline()

    def replace(self, **values: Any) -> Session:
        """Return this session with other values."""
        return replace(self, **values)

    def differences(self, other: Session, specified: Container[str]) -> list[str]:
        """Return what another request for the same session asks for differently and cannot be changed, readable.

        Args:
            other: The session as the other request would make it.
            specified: The options that the request named; where it leaves the choice to the policy, any value will do.
        """
        return [
            f"{key} is {json.dumps(getattr(self, key))}, requested {json.dumps(getattr(other, key))}"
            for key in _FIXED
            if key in specified and getattr(self, key) != getattr(other, key)
        ]

    def spec(self, key: str | None = None) -> DataServerSpec:
        """Return the specification of this session's data server.

        Args:
            key: The private key of its certificate, where that is new; no session ever holds one.
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
        )

    def require(self, *states: str) -> None:
        """Refuse an action that makes no sense in the state of this session."""
        self.require_alive()
        if self.state in states:
            return
        advice = "send HELLO first (s2cs_hello)" if self.state == RESERVED else "release it first (s2cs_release)"
        raise StateError(
            f"uid: session {self.uid} ({self.role}) is {self.state} but must be {' or '.join(states)}: {advice}"
        )

    def require_alive(self) -> None:
        """Refuse an action on a session that has expired."""
        if self.is_expired:
            why = f"its lifetime of {self.lifetime} s has ended"
            if self.state == RESERVED and self.expires != self.end:
                why = f"no HELLO was received within {self.hello_timeout} s"
            if self.state == ANNOUNCED and self.expires != self.end:
                why = f"no UPDATE was received within {self.update_timeout or self.hello_timeout} s of its HELLO"
            raise StateError(
                f"uid: session {self.uid} ({self.role}) expired at {timestamp(self.expires)} because {why}; "
                "request it again with s2cs_request"
            )

    def to_result(self) -> dict[str, Any]:
        """Return the session as the modules show it."""
        document = {key: getattr(self, key) for key in _SHOWN}
        document["state"] = EXPIRED if self.is_expired else self.state
        document["created"] = timestamp(self.created)
        document["expires"] = timestamp(self.expires)
        document["ends"] = timestamp(self.end)
        return document

    def to_json(self) -> str:
        """Return the session for the store."""
        return json.dumps(asdict(self), sort_keys=True)


def session_name(uid: str, role: str) -> str:
    """Return the name of the data server of a session."""
    return f"{role}-{uid}"


def from_json(text: Any) -> Session:
    """Return a session from the store.

    Raises:
        ValueError: It is none that this version of the collection wrote.
    """
    try:
        document = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    known = {item.name: item for item in fields(Session)}
    unknown = sorted(set(document) - set(known))
    if unknown:
        raise ValueError(f"it has fields unknown to this version of the collection: {', '.join(unknown)}")
    for name, item in known.items():
        needed = item.default is MISSING and item.default_factory is MISSING
        if name in document and not _has_type(document[name], str(item.type)):
            raise ValueError(f"its field {name} is not of the type {item.type}")
        if name not in document and needed:
            raise ValueError(f"its field {name} is missing")
    session = Session(**document)
    if session.state not in STATES or session.role not in ROLES:
        raise ValueError("it has an unknown state or role")
    for name, value, here in (("proxy", session.proxy, PROXIES), ("runtime", session.runtime, RUNTIMES)):
        if value not in here:
            raise ValueError(f"it has a {name} unknown to this version of the collection: {value}")
    try:
        session.spec()
        session.to_result()
    except (ScistreamError, ValueError, OverflowError, OSError) as error:
        raise ValueError(f"it has an invalid field: {error}") from None
    return session


def _has_type(value: Any, kind: str) -> bool:
    """Tell whether a value of JSON is of a type as the fields of a session are annotated."""
    if kind.endswith(" | None"):
        return value is None or _has_type(value, kind[: -len(" | None")])
    if kind == "list[str]":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind == "dict[str, str]":
        return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    if kind == "str":
        return isinstance(value, str)
    if isinstance(value, bool):
        return kind == "bool"
    return isinstance(value, int) if kind == "int" else kind == "float" and isinstance(value, (int, float))


def timestamp(seconds: float | None) -> str | None:
    """Return a time as ISO 8601 in UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def hash_secret(secret: str) -> str:
    """Return the salted hash under which a secret is stored (it has 256 bits or so: no slow hash is needed)."""
    salt = secrets.token_hex(16)
    return f"{salt}${hashlib.sha256((salt + secret).encode()).hexdigest()}"


def secret_matches(stored: str, secret: str) -> bool:
    """Compare a secret with a stored hash in constant time."""
    salt, _separator, digest = stored.partition("$")
    return hmac.compare_digest(hashlib.sha256((salt + secret).encode()).hexdigest(), digest)


def format_endpoints(items: list[Endpoint]) -> list[str]:
    """Return endpoints as texts."""
    return [str(item) for item in items]
