# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prometheus' text format of what s2cs_info tells.

Written here and not by prometheus_client: importing that takes more memory than a whole idle service may have beside
its server (22 MB against 9 MB), not all gateways' distributions package it, and the format is lines of text.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Iterator, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.view import View, views

#: What a scraper is told that it gets.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

Labels = Mapping[str, str]
# Labels beside those of the session, and a value.
_Values = Callable[[View, float], "Iterable[tuple[Labels, float]]"]


def render(info: Mapping[str, Any] | None, now: float) -> str:
    """Return all metrics of a gateway.

    Args:
        info: The result of s2cs_info. None says that nobody could tell.
        now: The time.
    """
    lines = list(_family("scistream_up", "gauge", "Whether S2CS answered.", [({}, info is not None)]))
    if info is not None:
        lines += _gateway(info)
        sessions = views(info)
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
    # A large counter keeps all of its digits.
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
    for session in views(info):
        states[session.role, session.state] = states.get((session.role, session.state), 0) + 1
    for name, text, samples in (
        ("info", "Version of S2CS and settings of the gateway.", [(about, 1)]),
        ("sessions", "Sessions by role and state.", [({"role": r, "state": s}, n) for (r, s), n in states.items()]),
        ("ports", "Ports of all listener addresses.", [({}, ports.get("total"))]),
        ("ports_used", "Ports that sessions use.", [({}, ports.get("used"))]),
        ("ports_free", "Ports that no session uses.", [({}, ports.get("free"))]),
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
            "Sessions that this version of S2CS cannot read.",
            [({}, len(info.get("unreadable") or []))],
        ),
        ("orphans", "Data servers without a session.", [({}, len(info.get("orphans") or []))]),
    ):
        yield from _family(f"scistream_gateway_{name}", "gauge", text, samples)


def _info(session: View, _now: float) -> Iterable[tuple[Labels, float]]:
    keys = ("proxy", "runtime", "encryption", "transport", "owner")
    return [({"stream": session.name, **{key: getattr(session, key) for key in keys}}, 1)]


def _moved(session: View, _now: float) -> Iterable[tuple[Labels, float]]:
    return [({"direction": direction}, count) for direction, count in session.moved.items()]


def _connections(kind: str) -> _Values:
    def values(session: View, _now: float) -> Iterable[tuple[Labels, float]]:
        return _one(session.connections.get(kind))

    return values


def _of(name: str) -> _Values:
    """Return what takes a number of a session, where that is known."""

    def values(session: View, _now: float) -> Iterable[tuple[Labels, float]]:
        return _one(getattr(session, name))

    return values


def _counted(name: str) -> _Values:
    """Return what takes a number that means something only if anything was counted."""

    def values(session: View, _now: float) -> Iterable[tuple[Labels, float]]:
        return _one(getattr(session, name) if session.moved else None)

    return values


def _one(value: float | None) -> Iterable[tuple[Labels, float]]:
    return [] if value is None else [({}, value)]


def _silent(session: View, now: float) -> Iterable[tuple[Labels, float]]:
    return _one(None if session.last_byte is None else max(0.0, round(now - session.last_byte, 3)))


def _limit(session: View, _now: float) -> Iterable[tuple[Labels, float]]:
    return _one(None if session.rate_limit is None else session.rate_limit / 8)


_SESSION: tuple[tuple[str, str, str, _Values], ...] = (
    ("info", "gauge", "Name of the stream, and how it is carried.", _info),
    ("state", "gauge", "State of the session: 1 for the current one.", lambda one, _now: [({"state": one.state}, 1)]),
    (
        "health",
        "gauge",
        "Health of the session in one word: 1 for the current one. Well are ok, waiting and busy.",
        lambda one, _now: [({"health": one.health}, 1)],
    ),
    ("running", "gauge", "Whether the data server is running and responding.", _of("running")),
    ("bytes_total", "counter", "Bytes transferred, without the overhead of TLS.", _moved),
    ("connections_open", "gauge", "Connections that are open.", _connections("open")),
    ("connections_total", "counter", "Connections that were accepted.", _connections("total")),
    ("connections_refused_total", "counter", "Connections of clients that are not allowed.", _connections("refused")),
    (
        "connections_failed_total",
        "counter",
        "Connections whose target could not be reached.",
        _connections("failed"),
    ),
    ("last_byte_timestamp_seconds", "gauge", "Time of the last transfer, since the epoch.", _of("last_byte")),
    ("idle_seconds", "gauge", "Time since the last transfer.", _silent),
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
        "Time when the certificate of this gateway (own) or of the other one (peer) expires, since the epoch.",
        lambda one, _now: [({"certificate": side}, end) for side, end in one.certificates.items()],
    ),
    ("rate_limit_bytes_per_second", "gauge", "Limit of each direction. Absent if there is none.", _limit),
)
