# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sessions as displayed by tables, the status page and metrics.

Sessions are read from the result of s2cs_info. Labels are user input, so all texts are shortened and control characters
are removed here. Each output format escapes them in addition.
"""

from __future__ import annotations

from calendar import timegm
from dataclasses import dataclass, field
from time import strptime
from typing import Any, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.dial import DEFAULT_DIAL
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import printable
from ansible_collections.scistream.gateway.plugins.module_utils._common.x509_der import parse

_TLS = ("sending", "receiving", "suite", "reason")
_MAX_TEXT = 120
_LISTS = ("listeners", "targets", "clients", "peer_listeners")
_TEXTS = ("uid", "role", "state", "owner", "encryption", "transport", "proxy", "runtime", "pending")
#: Values of health that do not indicate a problem.
HEALTHY = ("ok", "idle", "waiting", "busy")


@dataclass(frozen=True)
class SessionView:
    """A session.

    Args:
        uid: UUID of the stream.
        role: Role of the session.
        name: Name of the stream from the labels. Empty if it has none.
        state: State, such as ``streaming``.
        health: Health as returned by s2cs_info.
        reason: Explanation of a problem, or empty.
        running: Whether the data server is running and responding.
        owner: Owner of the session.
        encryption: Encryption between the gateways.
        transport: Transport protocol.
        proxy: Proxy of the data server.
        runtime: Runtime of the data server.
        listeners: Addresses of the listeners.
        targets: Targets.
        clients: Networks that may connect. Empty if all may.
        connections: Numbers of connections by kind. None if unknown.
        transferred: Bytes by direction. Empty if unknown.
        last_byte: Time of the last transfer.
        exact: Whether the counters are exact. Otherwise, they are lower bounds.
        restarts: Number of restarts of the data server.
        since: Time of the first start of the data server.
        created: Time of the request.
        expires: Time when the session expires, or None.
        pending: Action in progress, or empty.
        rate_limit: Limit of each direction in bits per second, or None.
        certificates: Expiry times of the certificates: ``own`` and ``peer``.
        tls: Whether the kernel encrypts, by direction, the cipher suite, and why. Empty if unknown.
        with_one_key: Bytes of the busier direction of a connection that one key has encrypted.
        rtt: Longer round trip of the latest connection's legs in milliseconds, or None if it is not known.
        paths: Number of paths of the latest connection, 0 for ordinary TCP, or None without Multipath TCP.
        dial: Role whose gateway connects to the other one.
        peer_listeners: Where the consumer's gateway waits for the producer's, if that connects to it.
        waiting: Number of connections between the gateways that wait for an application. None if unknown.
        without: Those of the listeners for which none is waiting.
        without_since: When the first of them lost its last one, or None.
        dial_error: Why, or empty.
    """

    uid: str
    role: str
    name: str = ""
    state: str = ""
    health: str = "unknown"
    reason: str = ""
    running: bool = False
    owner: str = ""
    encryption: str = ""
    transport: str = ""
    proxy: str = ""
    runtime: str = ""
    listeners: Sequence[str] = ()
    targets: Sequence[str] = ()
    clients: Sequence[str] = ()
    connections: Mapping[str, int | None] = field(default_factory=dict)
    transferred: Mapping[str, int] = field(default_factory=dict)
    last_byte: float | None = None
    exact: bool = True
    restarts: int = 0
    since: float | None = None
    created: float | None = None
    expires: float | None = None
    pending: str = ""
    rate_limit: int | None = None
    certificates: Mapping[str, float] = field(default_factory=dict)
    tls: Mapping[str, Any] = field(default_factory=dict)
    with_one_key: int = 0
    paths: int | None = None
    rtt: float | None = None
    dial: str = DEFAULT_DIAL
    peer_listeners: Sequence[str] = ()
    waiting: int | None = None
    without: Sequence[str] = ()
    without_since: float | None = None
    dial_error: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Identifies the session on its gateway."""
        return self.uid, self.role

    @property
    def title(self) -> str:
        """Name of the stream, or its UUID."""
        return self.name or self.uid

    @property
    def is_healthy(self) -> bool:
        """Whether the session has no problem."""
        return self.health in HEALTHY and (self.running or self.state != "streaming")


def session_views(info: Mapping[str, Any]) -> list[SessionView]:
    """Return the sessions in a result of s2cs_info."""
    return [session_view(session) for session in info.get("sessions") or []]


def session_view(session: Mapping[str, Any]) -> SessionView:
    """Return a session of a result of s2cs_info."""
    counters = session.get("counters") or {}
    texts = {key: _text(session.get(key)) for key in _TEXTS}
    lists = {key: [_text(item) for item in session.get(key) or []] for key in _LISTS}
    found: dict[str, Any] = {**texts, **lists}
    return SessionView(
        **found,
        name=_text((session.get("labels") or {}).get("stream")),
        health=_text(session.get("health")) or "unknown",
        reason=printable(session.get("reason") or ""),
        running=session.get("running") is True,
        connections=dict(counters.get("connections") or {}),
        transferred=dict(counters.get("bytes") or {}),
        last_byte=counters.get("last_byte"),
        exact=counters.get("exact", True) is True,
        restarts=counters.get("restarts") or 0,
        since=counters.get("since"),
        created=parse_time(session.get("created")),
        expires=parse_time(session.get("expires")),
        rate_limit=session.get("rate"),
        certificates=_certificates(session),
        tls=_tls(session.get("tls")),
        with_one_key=_number(session.get("tls"), "with_one_key") or 0,
        paths=_number(session.get("multipath"), "paths"),
        rtt=_longest(session.get("path")),
        dial=_text(session.get("dial")) or DEFAULT_DIAL,
        **_dialled(session.get("dialled")),
    )


def _dialled(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        return {}
    without, since = found.get("without"), found.get("since")
    when = float(since) if isinstance(since, (int, float)) and not isinstance(since, bool) else None
    return {
        "waiting": _number(found, "waiting"),
        "without": [_text(item) for item in without] if isinstance(without, list) else [],
        "without_since": when if without else None,
        "dial_error": printable(found.get("error") or ""),
    }


def _tls(found: Any) -> dict[str, str | None]:
    if not isinstance(found, dict):
        return {}
    return {key: None if found.get(key) is None else printable(found[key]) for key in _TLS}


def _number(found: Any, key: str) -> int | None:
    value = found.get(key) if isinstance(found, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _longest(found: Any) -> float | None:
    """Return the longer round trip of the legs of a connection."""
    legs = [leg.get("rtt") for leg in found.values() if isinstance(leg, dict)] if isinstance(found, dict) else []
    known = [rtt for rtt in legs if isinstance(rtt, (int, float)) and not isinstance(rtt, bool) and 0 < rtt < 1e6]
    return max(known, default=None)


def parse_time(text: Any) -> float | None:
    """Return a time in a result of s2cs_info in seconds since the epoch."""
    try:
        return float(timegm(strptime(text, "%Y-%m-%dT%H:%M:%SZ")))
    except (TypeError, ValueError):
        return None


def _certificates(session: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for side, key in (("own", "certificate"), ("peer", "peer_certificate")):
        text = session.get(key)
        if text:
            # An invalid certificate is reported by the data server.
            try:
                found[side] = parse(text).ends
            except ValueError:
                continue
    return found


def _text(value: Any) -> str:
    text = "" if value is None else printable(value).strip()
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…"
