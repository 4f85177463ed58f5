# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status as a document for programs, and for the page that displays it. It contains no secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.history import DIRECTIONS
from ansible_collections.scistream.gateway.plugins.module_utils._common.problems import PROBLEM
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_view import SessionView
from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.dealing import interleaved
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.legs_view import LegsView
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.status_view import StatusView
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_view import Side, StreamView
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.throughput import Throughput

#: Version of the form of the document.
DOCUMENT = 1
#: What is not part of the values of one side.
_NOT_SHOWN = ("uid", "name")


def status_document(status: StatusView, throughput: Throughput) -> dict[str, Any]:
    """Return a status as plain data.

    Args:
        status: The status.
        throughput: The samples of the run.
    """
    return {
        "document": DOCUMENT,
        "version": VERSION,
        "time": round(status.time, 3),
        "created": f"{datetime.fromtimestamp(status.time, timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
        "gateways": [
            {"name": one.name, "answered": one.answered, "sessions": one.sessions, "ports": dict(one.ports or {})}
            for one in status.gateways
        ],
        "totals": _totals(status),
        "problems": [
            {
                "level": one.problem.level,
                "subject": one.subject,
                "stream": one.stream,
                "gateway": one.gateway,
                "uid": one.problem.uid,
                "role": one.problem.role,
                "message": one.problem.message,
                "command": one.problem.command,
                "log": list(one.log),
            }
            for one in status.troubles
        ],
        "streams": [_sampled(one, status.time, throughput) for one in status.streams],
        "history": throughput.series(),
    }


def _sampled(stream: StreamView, now: float, throughput: Throughput) -> dict[str, Any]:
    """Return a stream with its samples. If it has many gateways, these are those of its legs."""
    document = {**_stream(stream, now), "samples": throughput.rates(stream.uid)}
    if not isinstance(stream, LegsView):
        return document
    legs = [_sampled(leg, now, throughput) for leg in stream.legs]
    return {
        **document,
        "listeners": interleaved([leg["listeners"] for leg in legs]),
        "targets": list(dict.fromkeys(target for leg in legs for target in leg["targets"])),
        "gateways": {role: stream.gateways_of(role) for role in ROLES},
        "sides": {},
        "legs": legs,
    }


def _totals(status: StatusView) -> dict[str, Any]:
    return {
        "streams": len(status.streams),
        "healthy": sum(stream.is_healthy and bool(stream.sides) for stream in status.streams),
        "problems": sum(one.problem.level == PROBLEM for one in status.troubles),
        "notices": sum(one.problem.level != PROBLEM for one in status.troubles),
        "open": sum((_counted(stream).connections.get("open") or 0) for stream in status.streams),
        "rates": {
            direction: sum(stream.rates[index] or 0 for stream in status.streams)
            for index, direction in enumerate(DIRECTIONS)
        },
    }


def _counted(stream: StreamView) -> SessionView:
    return stream.counted.session if stream.counted else SessionView("", "")


def _stream(stream: StreamView, now: float) -> dict[str, Any]:
    """Return a stream. Its times are those of the control node, those of its sides are those of the gateways."""
    counted = _counted(stream)
    producer, consumer = (stream.sides.get(role) for role in ROLES)
    last = producer or consumer
    silence, left, age = stream.silence(now), stream.left(now), stream.age(now)
    return {
        "uid": stream.uid,
        "name": stream.name,
        "state": stream.state,
        "health": stream.health,
        "healthy": stream.is_healthy,
        "reason": "; ".join(dict.fromkeys(one.reason for one in stream.sessions if one.reason)),
        "path": stream.path,
        "listeners": list(consumer.session.listeners) if consumer else [],
        "targets": list(last.targets) if last else [],
        "gateways": {role: side.gateway for role, side in stream.sides.items()},
        **{
            key: stream.both(lambda session, key=key: getattr(session, key))
            for key in ("owner", "encryption", "transport", "proxy", "runtime")
        },
        "connections": dict(counted.connections),
        "transferred": dict(counted.transferred),
        "rates": dict(zip(DIRECTIONS, stream.rates, strict=True)),
        "exact": counted.exact,
        "last_byte": None if silence is None else round(now - silence, 3),
        "restarts": sum(session.restarts for session in stream.sessions),
        "rate_limit": stream.rate_limit,
        "created": None if age is None else round(now - age, 3),
        "expires": None if left is None else round(now + left, 3),
        "sides": {role: _side(side) for role, side in stream.sides.items()},
    }


def _side(side: Side) -> Mapping[str, Any]:
    values = {key: value for key, value in asdict(side.session).items() if key not in _NOT_SHOWN}
    return {
        **values,
        "gateway": side.gateway,
        "targets": list(side.targets),
        "fingerprint": side.fingerprint,
        "healthy": side.session.is_healthy,
        "rates": dict(zip(DIRECTIONS, side.rates, strict=True)),
    }
