# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status page and the document that it displays.

The role installs the page as a single file that includes its style sheet and its script. Its content security policy
only allows these two, by their hashes. The script fetches the document and inserts all texts as text.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.history import DIRECTIONS
from ansible_collections.scistream.gateway.plugins.module_utils._common.page_policy import page_policy
from ansible_collections.scistream.gateway.plugins.module_utils._common.problems import PROBLEM
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_view import SessionView
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.monitor import Snapshot

#: Version of the document. The page reloads itself if it is a different one.
VERSION = 1
_MAX_BYTES = 1 << 20


def read_page(path: str) -> tuple[bytes, str]:
    """Return the page and its content security policy.

    Args:
        path: Path of the page.
    """
    with open(path, encoding="utf-8", newline="") as file:
        text = file.read(_MAX_BYTES)
    return text.encode(), f"{page_policy(text)}; connect-src 'self'; frame-ancestors 'none'"


def status_document(snapshot: Snapshot) -> dict[str, Any]:
    """Return what the page displays. Certificates and logs are not included."""
    gateway = snapshot.gateway
    ports, limits = gateway.get("ports") or {}, gateway.get("limits") or {}
    return {
        "version": VERSION,
        "time": snapshot.time,
        "error": snapshot.error,
        "gateway": {
            "name": gateway.get("name"),
            "version": (gateway.get("versions") or {}).get("collection"),
            "listen": gateway.get("listen") or {},
            "ports": {key: ports.get(key) for key in ("total", "used", "free")},
            "limits": {key: limits.get(key) for key in ("sessions", "num_conn", "lifetime")},
        },
        "totals": _totals(snapshot),
        "problems": [asdict(problem) for problem in snapshot.problems],
        "sessions": [_session(session, rates) for session, rates in zip(snapshot.sessions, snapshot.rates)],
        "history": dict(snapshot.series),
    }


def _session(session: SessionView, rates: Sequence[float | None]) -> dict[str, Any]:
    return {**asdict(session), "healthy": session.is_healthy, "rates": dict(zip(DIRECTIONS, rates))}


def _totals(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "sessions": len(snapshot.sessions),
        "healthy": sum(session.is_healthy for session in snapshot.sessions),
        "problems": sum(problem.level == PROBLEM for problem in snapshot.problems),
        "notices": sum(problem.level != PROBLEM for problem in snapshot.problems),
        "open": sum(session.connections.get("open") or 0 for session in snapshot.sessions),
        "rates": {
            direction: sum(rates[index] or 0 for rates in snapshot.rates) for index, direction in enumerate(DIRECTIONS)
        },
    }
