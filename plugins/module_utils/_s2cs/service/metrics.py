# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Metrics in the text format of Prometheus.

The format is simple enough to write without prometheus_client. Importing that library would more than double the memory
of a process (22 MB instead of 9 MB), and not all distributions of gateways provide it.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Iterator, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.session_view import (
    SessionView,
    session_views,
)

#: Content type of the format.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

Labels = Mapping[str, str]
# Yields additional labels and values of a session.
_Values = Callable[[SessionView, float], "Iterable[tuple[Labels, float]]"]


def render(info: Mapping[str, Any] | None, now: float) -> str:
    """Return the metrics of a gateway.

    Args:
        info: The result of s2cs_info, or None if S2CS did not respond.
        now: The current time.
    """
    lines = list(_family("scistream_up", "gauge", "Whether S2CS responds.", [({}, info is not None)]))
    if info is not None:
        lines += _gateway(info)
        sessions = session_views(info)
        for name, kind, text, values in _SESSION:
            samples = [
                ({"uid": session.uid, "role": session.role, **labels}, value)
                for session in sessions
                for labels, value in values(session, now)
            ]
            lines += _family(f"scistream_session_{name}", kind, text, samples)
    return "\n".join(lines) + "\n"


def _family(name: str, kind: str, text: str, samples: Iterable[tuple[Labels, float | None]]) -> Iterator[str]:
    known = [(labels, value) for labels, value in samples if value is not None]
    if known:
        yield f"# HELP {name} {text}"
        yield f"# TYPE {name} {kind}"
    for labels, value in known:
        inside = ",".join(f'{key}="{item.translate(_ESCAPES)}"' for key, item in labels.items())
        yield f"{name}{{{inside}}} {_number(value)}" if inside else f"{name} {_number(value)}"


def _number(value: float) -> str:
    # The exponents of floats would drop digits of large counters.
    return str(int(value)) if isinstance(value, int) or value.is_integer() else repr(value)


def _gateway(info: Mapping[str, Any]) -> Iterator[str]:
    gateway = info.get("gateway") or {}
    versions, ports, limits = (gateway.get(key) or {} for key in ("versions", "ports", "limits"))
    owner = limits.get("owner") or {}
    about = {
        "gateway": str(gateway.get("name") or ""),
        "version": str(versions.get("collection") or ""),
        "python_version": str(versions.get("python") or ""),
        "supervisor": str(gateway.get("supervisor") or ""),
    }
    states: dict[tuple[str, str], int] = {}
    for session in session_views(info):
        states[session.role, session.state] = states.get((session.role, session.state), 0) + 1
    for name, text, samples in (
        ("info", "Version of S2CS and settings of the gateway.", [(about, 1)]),
        ("sessions", "Sessions by role and state.", [({"role": r, "state": s}, n) for (r, s), n in states.items()]),
        ("ports", "Ports of all listener addresses.", [({}, ports.get("total"))]),
        ("ports_used", "Ports in use by sessions.", [({}, ports.get("used"))]),
        ("ports_free", "Ports not in use by sessions.", [({}, ports.get("free"))]),
        ("sessions_limit", "Maximum number of sessions.", [({}, limits.get("sessions"))]),
        ("owner_sessions_limit", "Maximum number of sessions of one owner.", [({}, owner.get("sessions"))]),
        ("session_connections_limit", "Maximum number of connections of one session.", [({}, limits.get("num_conn"))]),
        (
            "owner_connections_limit",
            "Maximum number of connections of all sessions of one owner.",
            [({}, owner.get("num_conn"))],
        ),
        ("session_lifetime_limit_seconds", "Maximum lifetime of a session.", [({}, limits.get("lifetime"))]),
        ("policy_problems", "Errors in the policy.", [({}, len(info.get("policy_problems") or []))]),
        (
            "unreadable_sessions",
            "Sessions that cannot be read by this version of S2CS.",
            [({}, len(info.get("unreadable") or []))],
        ),
        ("orphans", "Data servers without a session.", [({}, len(info.get("orphans") or []))]),
    ):
        yield from _family(f"scistream_gateway_{name}", "gauge", text, samples)


def _info(session: SessionView, _now: float) -> Iterable[tuple[Labels, float]]:
    keys = ("proxy", "runtime", "encryption", "transport", "owner")
    return [({"stream": session.name, **{key: getattr(session, key) for key in keys}}, 1)]


def _transferred(session: SessionView, _now: float) -> Iterable[tuple[Labels, float]]:
    return [({"direction": direction}, count) for direction, count in session.transferred.items()]


def _connections(kind: str) -> _Values:
    def values(session: SessionView, _now: float) -> Iterable[tuple[Labels, float]]:
        return _one(session.connections.get(kind))

    return values


def _of(name: str) -> _Values:
    """Return a function that yields an attribute of a session, if it is known."""

    def values(session: SessionView, _now: float) -> Iterable[tuple[Labels, float]]:
        return _one(getattr(session, name))

    return values


def _counted(name: str) -> _Values:
    """Return a function that yields an attribute of the counters of a session, if they are known."""

    def values(session: SessionView, _now: float) -> Iterable[tuple[Labels, float]]:
        return _one(getattr(session, name) if session.transferred else None)

    return values


def _one(value: float | None) -> Iterable[tuple[Labels, float]]:
    return [] if value is None else [({}, value)]


def _idle(session: SessionView, now: float) -> Iterable[tuple[Labels, float]]:
    return _one(None if session.last_byte is None else max(0.0, round(now - session.last_byte, 3)))


def _limit(session: SessionView, _now: float) -> Iterable[tuple[Labels, float]]:
    return _one(None if session.rate_limit is None else session.rate_limit / 8)


_SESSION: tuple[tuple[str, str, str, _Values], ...] = (
    ("info", "gauge", "Name of the stream and settings of the session.", _info),
    ("state", "gauge", "State of the session: 1 for the current one.", lambda one, _now: [({"state": one.state}, 1)]),
    (
        "health",
        "gauge",
        "Health of the session in one word: 1 for the current one. ok, waiting and busy indicate no problem.",
        lambda one, _now: [({"health": one.health}, 1)],
    ),
    ("running", "gauge", "Whether the data server is running and responding.", _of("running")),
    ("bytes_total", "counter", "Bytes transferred, without the overhead of TLS.", _transferred),
    ("connections_open", "gauge", "Open connections.", _connections("open")),
    ("connections_total", "counter", "Accepted connections.", _connections("total")),
    ("connections_refused_total", "counter", "Refused connections.", _connections("refused")),
    (
        "connections_failed_total",
        "counter",
        "Connections whose target could not be reached.",
        _connections("failed"),
    ),
    (
        "connections_waiting",
        "gauge",
        "Connections of the producer gateway that wait for applications. Absent unless it connects to the other one.",
        _of("waiting"),
    ),
    ("last_byte_timestamp_seconds", "gauge", "Time of the last transfer, since the epoch.", _of("last_byte")),
    ("idle_seconds", "gauge", "Time since the last transfer.", _idle),
    ("counters_exact", "gauge", "Whether bytes and connections are exact, or lower bounds.", _counted("exact")),
    ("restarts_total", "counter", "Restarts of the data server.", _counted("restarts")),
    ("created_timestamp_seconds", "gauge", "Time when the session was requested, since the epoch.", _of("created")),
    (
        "expiry_timestamp_seconds",
        "gauge",
        "Time when the session expires, since the epoch. Absent if it does not.",
        _of("expires"),
    ),
    (
        "certificate_expiry_timestamp_seconds",
        "gauge",
        "Time when the certificate of this gateway (own) or the other gateway (peer) expires, since the epoch.",
        lambda one, _now: [({"certificate": side}, end) for side, end in one.certificates.items()],
    ),
    ("rate_limit_bytes_per_second", "gauge", "Limit of each direction. Absent if there is none.", _limit),
)
