# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has happened to streams between two reports of a gateway."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.session_view import SessionView
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.gateway_report import Report

#: Problems that last, so that they may be repeated; and those of them whose end is reported.
LASTING, ENDING = ("down", "stalled", "expiring"), ("down", "stalled")


@dataclass(frozen=True)
class Limits:
    """When something is an event.

    Args:
        stall: Seconds without a byte, while connections are open, after which a stream is stalled. 0: never.
        expiring: Remaining seconds of its lifetime from which a stream is expiring. 0: never.
        repeat: Seconds after which a problem that lasts is reported again. 0: never.
    """

    stall: float = 300.0
    expiring: float = 600.0
    repeat: float = 0.0


@dataclass
class _Known:
    """What is known of a session from earlier reports.

    Attributes:
        view: The session in the last report.
        active: When its connections or bytes were first seen to differ from the report before, if they did.
        reported: When each of its problems was reported.
    """

    view: SessionView
    active: float | None = None
    reported: dict[str, float] = field(default_factory=dict)


class GatewayEvents:
    """The events of one gateway.

    Args:
        gateway: How it is called until it reports its name.
        limits: When something is an event.
    """

    def __init__(self, gateway: str, limits: Limits) -> None:
        self._gateway = gateway
        self._limits = limits
        # None until the first report.
        self._known: dict[tuple[str, str], _Known] | None = None
        self._unreachable: float | None = None

    def report(self, report: Report) -> list[dict[str, Any]]:
        """Return the events since the last report. The first one only has problems."""
        self._gateway = report.gateway or self._gateway
        events = list(self._reachable(report.time))
        before = self._known or {}
        now: dict[tuple[str, str], _Known] = {}
        for key, view in report.sessions.items():
            now[key] = _Known(view, self._active(before.get(key), view, report.time))
            events += self._changes(before.get(key), now[key], report.time)
        for key, known in before.items():
            if key not in now and "expired" not in known.reported:
                end = known.view.expires
                kind = "expired" if end is not None and end <= report.time else "released"
                events.append(self._event(kind, known.view, report.time))
        self._known = now
        return events

    def failure(self, reason: str, now: float) -> list[dict[str, Any]]:
        """Return the event that a gateway did not report. Nothing is concluded about its sessions."""
        if not self._is_due(self._unreachable, now):
            return []
        self._unreachable = now
        return [{"type": "unreachable", "gateway": self._gateway, "reason": reason, "time": round(now, 3)}]

    def _reachable(self, now: float) -> Iterator[dict[str, Any]]:
        if self._unreachable is not None:
            self._unreachable = None
            yield {"type": "reachable", "gateway": self._gateway, "time": round(now, 3)}

    def _active(self, before: _Known | None, view: SessionView, now: float) -> float | None:
        """Return when a session was last seen to change. Not every data server says when it transferred a byte."""
        if before is None:
            return None if self._known is None and view.last_byte is not None else now
        same = before.view.connections.get("open") and before.view.transferred == view.transferred
        return before.active if same else now

    def _changes(self, before: _Known | None, now: _Known, time: float) -> Iterator[dict[str, Any]]:
        """Yield the events of a session, and remember what was reported."""
        view = now.view
        reported = dict(before.reported) if before else {}
        if view.health == "busy":
            # An action is changing it; the next report shows the result.
            now.reported = reported
            return
        if before is not None and view.restarts > before.view.restarts:
            yield self._event("restarted", view, time)
        if self._known is not None and _serves(view) and (before is None or before.view.state != "streaming"):
            yield self._event("opened", view, time)
        problems = dict(self._problems(now, time))
        for kind, more in problems.items():
            if kind in LASTING and not self._is_due(reported.get(kind), time):
                now.reported[kind] = reported[kind]
            elif kind in LASTING or kind not in reported:
                now.reported[kind] = time
                yield self._event(kind, view, time, **more)
            else:
                now.reported[kind] = reported[kind]
        for kind in ENDING:
            if kind in reported and kind not in problems and "expired" not in problems:
                yield self._event("recovered", view, time, after=kind)

    def _problems(self, known: _Known, time: float) -> Iterator[tuple[str, dict[str, Any]]]:
        view, limits = known.view, self._limits
        if view.health == "expired":
            yield "expired", {}
            return
        if not view.is_healthy:
            yield "down", {}
        elif view.state == "streaming" and view.connections.get("open") and limits.stall:
            idle = time - max(view.last_byte or 0.0, known.active or 0.0)
            if idle >= limits.stall:
                yield "stalled", {"seconds": round(idle)}
        left = None if view.expires is None else view.expires - time
        if view.state == "streaming" and left is not None and 0 < left < limits.expiring:
            yield "expiring", {"seconds": round(left)}

    def _is_due(self, reported: float | None, now: float) -> bool:
        return reported is None or bool(self._limits.repeat and now - reported >= self._limits.repeat)

    def _event(self, kind: str, view: SessionView, time: float, **more: Any) -> dict[str, Any]:
        return {
            "type": kind,
            "stream": view.title,
            "uid": view.uid,
            "role": view.role,
            "gateway": self._gateway,
            "state": view.state,
            "health": view.health,
            "reason": view.reason,
            "owner": view.owner,
            "time": round(time, 3),
            **more,
        }


def _serves(view: SessionView) -> bool:
    return view.state == "streaming" and view.is_healthy
