# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of released streams."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Results, has_failed
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import (
    listed,
    signals_truncation,
    traffic,
    with_names,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.messages import roles_at
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream

Key = tuple[str, str, str]


def released(
    results: Results,
    streams: Sequence[Stream] = (),
    uids: Sequence[str] = (),
    gateways: Sequence[str] | None = None,
    check_mode: bool = False,
    before: Results | None = None,
) -> list[str]:
    """Return what each gateway released, and what it did not have.

    Args:
        results: Answers of the gateways to REL.
        streams: Requested streams.
        uids: Uids of further requested sessions.
        gateways: Gateways of the run.
        check_mode: Whether the run was in check mode.
        before: Answers of the gateways to s2cs_info before the release.
    """
    names = {stream.uid: stream.name for stream in streams}
    seen = _seen(before or {})
    did = "would release" if check_mode else "released"
    lines = []
    for gateway, answer in results.items():
        entries = answer.get("released") or []
        for entry in entries:
            session = seen.get((gateway, entry["role"], entry["uid"]), {})
            name = names.get(entry["uid"]) or (session.get("labels") or {}).get("stream") or "stream"
            counters = entry.get("counters") or session.get("counters") or {}
            parts = [listed(entry.get("listeners") or []) or "no listeners", *traffic(counters)]
            lines.append(f"{gateway}: {did} {name} {entry['role']}: {', '.join(parts)} (uid {entry['uid']})")
            lines.extend(f"  {warning}" for warning in _cut(counters, session, check_mode))
        if answer.get("skipped") or has_failed(answer):
            continue
        here = [stream for stream in streams if roles_at(stream, gateway, "identify")]
        wanted = [(str(uid).lower(), "stream") for uid in uids] + [(stream.uid, stream.name) for stream in here]
        found = {entry["uid"] for entry in entries}
        lines.extend(
            f"{gateway}: nothing to release for {name} (uid {uid})" for uid, name in wanted if uid not in found
        )
        if not wanted and not entries:
            lines.append(f"{gateway}: nothing to release")
    lines.extend(_elsewhere(streams, gateways))
    return lines or ([] if any(map(has_failed, results.values())) else ["no gateway takes part"])


def unreleased(results: Results, streams: Sequence[Stream] = ()) -> list[str]:
    """Return why gateways did not release sessions."""
    gateways_by_message: dict[str, list[str]] = {}
    for gateway, answer in results.items():
        if has_failed(answer):
            gateways_by_message.setdefault(with_names(answer.get("msg") or "no answer", streams), []).append(gateway)
    lines = [f"  {', '.join(where)}: {why}" for why, where in gateways_by_message.items()]
    return ["Not everything was released. Fix the cause and run the same command again.", *lines] if lines else []


def _seen(before: Results) -> dict[Key, Mapping[str, Any]]:
    return {
        (gateway, session["role"], session["uid"]): session
        for gateway, answer in before.items()
        for session in answer.get("sessions") or []
    }


def _cut(counters: Mapping[str, Any], session: Mapping[str, Any], check_mode: bool) -> Iterable[str]:
    """Return a warning about connections that were open."""
    connections = counters.get("connections") or {}
    number = connections.get("open")
    if "open" in connections and number is None:
        cuts = "would be" if check_mode else "were"
        yield f"WARNING: its data server did not answer: its open connections {cuts} cut"
    elif number:
        cuts = "would be" if check_mode else "was" if number == 1 else "were"
        effect = (
            ""
            if signals_truncation(session.get("proxy"))
            else f"; with {session.get('proxy') or 'this proxy'} the applications may take that for a normal end"
        )
        yield f"WARNING: {number} open connection{'' if number == 1 else 's'} {cuts} cut{effect}"


def _elsewhere(streams: Sequence[Stream], gateways: Sequence[str] | None) -> Iterable[str]:
    """Return a line for each gateway of the streams that is not part of this run."""
    if gateways is not None:
        # The gateway of a side of a leg may not be known.
        for gateway in sorted({name for stream in streams for name in stream.gateways.values()} - {*gateways, ""}):
            sides = listed([stream.name for stream in streams if gateway in stream.gateways.values()])
            yield f"gateway {gateway} is not in this run: its side of {sides} is not released"
