# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reports of a gateway, from ``s2cs info --json`` or from the document of its status page, in the same form.

Gateways belong to others, so nothing in a report is used unchecked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, printable
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_view import SessionView, session_view

#: Maximum size of a report in bytes.
MAX_BYTES = 16 << 20
_MAX_SESSIONS = 20_000
_TEXTS = ("uid", "role", "name", "state", "health", "reason", "owner", "proxy")
_COUNTED = ("connections", "transferred")
_TIMES = ("last_byte", "expires", "created", "since")


class ReportError(ScistreamError):
    """A gateway did not report, or its report cannot be used."""


@dataclass(frozen=True)
class Report:
    """What a gateway reported.

    Args:
        gateway: Its name.
        time: When, by the clock of the gateway if it says so.
        sessions: Its sessions by uid and role.
    """

    gateway: str
    time: float
    sessions: Mapping[tuple[str, str], SessionView]


def read_report(text: bytes, name: str, received: float) -> Report:
    """Return the report of a gateway.

    Args:
        text: The report.
        name: Name of the gateway. If empty, the one that it reports.
        received: When it was received.

    Raises:
        ReportError: It cannot be used.
    """
    if len(text) > MAX_BYTES:
        raise ReportError(f"it is longer than {MAX_BYTES >> 20} MiB")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ReportError(f"it is not JSON: {printable(text[:60].decode('utf-8', 'replace'))}") from None
    if not isinstance(found, Mapping):
        raise ReportError("it is not a JSON object")
    problem = found.get("msg") or "the gateway failed" if found.get("failed") else found.get("error")
    if problem:
        raise ReportError(printable(problem))
    gateway, sessions = found.get("gateway"), found.get("sessions")
    if not isinstance(gateway, Mapping) or not isinstance(sessions, list) or len(sessions) > _MAX_SESSIONS:
        raise ReportError("it is neither the output of s2cs info --json nor the status.json of a gateway")
    views = [_checked(_view(item)) for item in sessions]
    time = _number(found.get("time"))
    return Report(
        name or printable(gateway.get("name") or ""),
        received if time is None else time,
        {view.key: view for view in views if view.uid and view.role},
    )


def _view(item: Any) -> SessionView:
    """Return a session. Those of the status page have another form than those of s2cs_info."""
    if not isinstance(item, Mapping):
        raise ReportError("one of its sessions is not a JSON object")
    try:
        if "healthy" not in item:
            return session_view(item)
        known = (*_TEXTS, *_COUNTED, *_TIMES, "running", "restarts")
        return SessionView(**{key: item[key] for key in known if item.get(key) is not None})
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        raise ReportError("one of its sessions is not in a known form") from None


def _checked(view: SessionView) -> SessionView:
    values: dict[str, Any] = {key: printable(getattr(view, key)) for key in _TEXTS}
    for key in _COUNTED:
        counted = getattr(view, key)
        values[key] = dict(counted) if isinstance(counted, Mapping) and all(map(_is_count, counted.values())) else {}
    for key in _TIMES:
        values[key] = _number(getattr(view, key))
    restarts = view.restarts if _is_count(view.restarts) else 0
    return replace(view, **values, running=view.running is True, restarts=restarts or 0)


def _is_count(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        # JSON has numbers of any size.
        return None
    return number if math.isfinite(number) else None
