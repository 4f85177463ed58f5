# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of streams whose connections were closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Results, has_failed, session_key
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import listed, with_names
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream


def dropped(results: Results, before: Results, uids: Sequence[str], check_mode: bool = False) -> list[str]:
    """Return what each gateway closed, and the requested sessions that have no connections.

    Args:
        results: Answers of the gateways to DROP.
        before: Their answers to s2cs_info before it.
        uids: Uids of all requested streams.
        check_mode: Whether the run was in check mode.
    """
    did = "would close" if check_mode else "closed"
    lines = []
    for gateway, answer in before.items():
        done = [session_key(item) for item in (results.get(gateway) or {}).get("changed_sessions") or []]
        for session in answer.get("sessions") or []:
            what = f"{(session.get('labels') or {}).get('stream') or 'stream'} {session['role']}"
            if session_key(session) in done:
                at = listed(session.get("listeners") or [])
                lines.append(f"{gateway}: {did} {_connections(session)} of {what}: {at} (uid {session['uid']})")
            elif session["uid"] in uids and session.get("state") != "streaming":
                lines.append(
                    f"{gateway}: {what} is {session.get('state')} and has no connections (uid {session['uid']})"
                )
    return lines


def not_dropped(results: Results, streams: Sequence[Stream]) -> list[str]:
    """Return why gateways did not close connections."""
    return [
        f"{gateway}: {with_names(answer.get('msg') or 'no answer', streams)}"
        for gateway, answer in results.items()
        if has_failed(answer)
    ]


def _connections(session: Mapping[str, Any]) -> str:
    number = ((session.get("counters") or {}).get("connections") or {}).get("open")
    return "all connections" if number is None else f"{number} connection{'' if number == 1 else 's'}"
