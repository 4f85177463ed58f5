# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status page, and the document that it shows.

The role installs the page as one file, with its style and its script in it; the policy that goes with it allows these
two by their hashes and nothing else. The script fetches the document and shows texts as texts.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import asdict
from typing import Any, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.history import DIRECTIONS
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.problems import PROBLEM
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.view import View
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.watch import Look

#: Changes when the document does in a way that the page of another version does not understand.
VERSION = 1
# Ours has 40 kB.
_LARGEST = 1 << 20
_PART = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


def page(path: str) -> tuple[bytes, str]:
    """Return the page, and its content security policy.

    Args:
        path: Its file.
    """
    with open(path, encoding="utf-8", newline="") as file:
        text = file.read(_LARGEST)
    hashes = "; ".join(f"{kind}-src '{_hash(part)}'" for kind, part in _PART.findall(text))
    policy = (
        f"default-src 'none'; {hashes}; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return text.encode(), policy


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def document(look: Look) -> dict[str, Any]:
    """Return what the page shows. No certificate and no log line is in it, and no key ever was."""
    gateway = look.gateway
    sessions = [_session(session, rates) for session, rates in zip(look.sessions, look.rates)]
    return {
        "version": VERSION,
        "time": look.time,
        "error": look.error,
        "gateway": {
            "name": gateway.get("name"),
            "version": (gateway.get("versions") or {}).get("collection"),
            "listen": gateway.get("listen") or {},
            "ports": {key: (gateway.get("ports") or {}).get(key) for key in ("total", "used", "free")},
            "limits": {key: (gateway.get("limits") or {}).get(key) for key in ("sessions", "num_conn", "lifetime")},
        },
        "totals": _totals(look),
        "problems": [asdict(problem) for problem in look.problems],
        "sessions": sessions,
        "history": dict(look.series),
    }


def _session(session: View, rates: Any) -> dict[str, Any]:
    shown = asdict(session)
    shown["well"] = session.is_well
    shown["rates"] = dict(zip(DIRECTIONS, rates))
    return shown


def _totals(look: Look) -> Mapping[str, Any]:
    known = [rates for rates in look.rates if rates and rates[0] is not None]
    return {
        "sessions": len(look.sessions),
        "well": sum(session.is_well for session in look.sessions),
        "problems": sum(problem.level == PROBLEM for problem in look.problems),
        "notices": sum(problem.level != PROBLEM for problem in look.problems),
        "open": sum(session.connections.get("open") or 0 for session in look.sessions),
        "rates": {direction: sum(rates[at] for rates in known) for at, direction in enumerate(DIRECTIONS)},
    }
