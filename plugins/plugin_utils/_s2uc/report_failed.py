# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of a run that failed to open or change streams."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import (
    Results,
    has_failed,
    new_sessions,
    refused_sessions,
    stops_run,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import listed, readable, with_names
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import describe_key, is_another_secret
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream

#: How messages of gateways name the side of a stream.
_SIDE = re.compile(r" \((?:producer|consumer)\)|\b(?:producer|consumer): ")
#: Maximum number of sessions of a gateway that are listed individually.
_MAX_SESSIONS = 10


def not_opened(
    steps: Sequence[Results],
    undone: Results,
    streams: Sequence[Stream],
    purpose: str,
    tickets: Mapping[str, Any],
    hints: Sequence[str] = (),
    check_mode: bool = False,
    others: Sequence[str] = (),
) -> list[str]:
    """Return why a run failed to open or change streams, and which streams are open nevertheless.

    Args:
        steps: Answers of the gateways to REQ, HELLO and UPDATE, as far as they were sent.
        undone: Answers to the subsequent REL.
        streams: Streams of the run.
        purpose: ``open``, ``inbound`` or ``outbound``.
        tickets: Result of writing the tickets or replies.
        hints: Additional lines about the reasons.
        check_mode: Whether the run was in check mode.
        others: Other reasons than the answers of gateways.

    Returns:
        The lines, none if nothing failed.
    """
    refused = unchanged(steps)
    still_open = [stream for stream in streams if refused and stream.uid not in refused]
    lines = failed(steps, undone, streams, tickets, hints, check_mode, others)
    if not still_open:
        return lines
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_opened import opened

    return [*lines, *opened(still_open, list(reversed(steps)), purpose, check_mode)]


def key_hints(steps: Sequence[Results], key_file: str = "", key_given: bool = False) -> list[str]:
    """Return a line about the source of the key, if a gateway refused a secret."""
    messages = [str(answer.get("msg")) for results in steps for answer in results.values()]
    return [describe_key(key_file, key_given)] if any(map(is_another_secret, messages)) else []


def failed(
    steps: Sequence[Results],
    undone: Results,
    streams: Sequence[Stream] = (),
    tickets: Mapping[str, Any] | None = None,
    hints: Sequence[str] = (),
    check_mode: bool = False,
    others: Sequence[str] = (),
) -> list[str]:
    """Return why the streams of a run were not opened or changed, and what was released.

    Args:
        steps: Answers of the gateways to REQ, HELLO and UPDATE, as far as they were sent.
        undone: Answers to the subsequent REL.
        streams: Streams of the run, for their names. Gateways only know uids.
        tickets: Result of writing the tickets or replies.
        hints: Additional lines about the reasons.
        check_mode: Whether the run was in check mode.
        others: Other reasons than the answers of gateways.

    Returns:
        The lines, none if nothing failed.
    """
    reasons = [*_reasons(steps, streams), *_unwritten(tickets or {}), *others]
    if not reasons:
        return []
    names = {stream.uid: stream.name for stream in streams}
    lines = [_headline(steps, names, check_mode), *(f"  {reason}" for reason in (*reasons, *hints))]
    released = [(gateway, entry) for gateway, answer in undone.items() for entry in answer.get("released") or []]
    if released:
        sides = [
            f"{entry['role']} of {names.get(entry['uid'], entry['uid'])} on {gateway}" for gateway, entry in released
        ]
        lines.append(f"  Released what this run had opened: {listed(sides)}")
    return [*lines, *(f"  {line}" for line in _left(undone, names, " ".join(reasons)))]


def _reasons(steps: Sequence[Results], streams: Sequence[Stream]) -> list[str]:
    """Return the reasons. The same reason of several gateways is reported once."""
    gateways_by_message: dict[str, list[str]] = {}
    for results in steps:
        for gateway, answer in results.items():
            if not has_failed(answer):
                continue
            # Problems were found on the control node, not by a gateway.
            for problem in answer.get("problems") or ():
                gateways_by_message.setdefault(problem, [])
            if not answer.get("problems"):
                for text in _texts(answer, streams):
                    gateways_by_message.setdefault(text, []).append(gateway)
    alike: dict[str, str] = {}
    for text in list(gateways_by_message):
        # Refusals of the two sides of a stream may only differ in the side.
        first = alike.setdefault(_SIDE.sub("", text), text)
        if first != text:
            gateways_by_message[first] += gateways_by_message.pop(text)
    return [
        f"{', '.join(gateways)}: {_SIDE.sub('', text) if len(gateways) > 1 else text}" if gateways else text
        for text, gateways in gateways_by_message.items()
    ]


def _texts(answer: Mapping[str, Any], streams: Sequence[Stream]) -> list[str]:
    sessions = answer.get("failed_sessions") or []
    if not sessions or answer.get("lost"):
        return [with_names(answer.get("msg") or "failed without a message", streams)]
    return [
        with_names(f"{item['role']} of {item['uid']}: {readable(str(item.get('msg')))}", streams)
        for item in sessions[:_MAX_SESSIONS]
    ] + [f"and {len(sessions) - _MAX_SESSIONS} more sessions" for _once in sessions[_MAX_SESSIONS : _MAX_SESSIONS + 1]]


def unchanged(steps: Sequence[Results]) -> set[str]:
    """Return the uids of the streams that a gateway refused to change, if nothing else went wrong."""
    if any(stops_run(answer) for results in steps for answer in results.values()):
        return set()
    return {item["uid"] for results in steps for item in refused_sessions(results)}


def _headline(steps: Sequence[Results], names: Mapping[str, str], check_mode: bool) -> str:
    """Return the first line, which names the streams that are still open as before."""
    made: set[str] = set()
    existed: set[str] = set()
    for answer in (steps[0] if steps else {}).values():
        made.update(item["uid"] for item in new_sessions(answer))
        existed.update(item["uid"] for item in answer.get("sessions") or [] if item.get("state") == "streaming")
    before = [name for uid, name in names.items() if uid in existed - made]
    refused = unchanged(steps)
    if refused:
        kept = listed([name for uid, name in names.items() if uid in refused])
        others = (
            f" All others {'would be' if check_mode else 'are'} open as described:" if len(refused) < len(names) else ""
        )
        return f"{'Would not be' if check_mode else 'Not'} changed: {kept}.{others}"
    were = "would not be" if check_mode else "were not"
    if not before:
        return f"The streams {were} opened."
    as_before = f"as before: {listed(before)}."
    if made or len(before) < len(names):
        return f"The streams {were} opened. Still open {as_before}"
    return f"The streams {were} changed. Still open {as_before}"


def _left(undone: Results, names: Mapping[str, str], shown: str) -> Iterable[str]:
    """Return what was not released, and why unless the reasons include it."""
    uids: list[str] = []
    for gateway, answer in undone.items():
        if not has_failed(answer):
            continue
        why = str(answer.get("msg") or "no answer")
        why = "" if why in shown else f": {why}"
        for item in answer.get("left") or []:
            uids.append(item["uid"])
            which = f"the {item['role']} session of {names.get(item['uid'], item['uid'])}"
            yield f"WARNING: {gateway}: {which} {'still exists' if item.get('sure') else 'may still exist'}{why}"
        if not answer.get("left"):
            yield f"WARNING: {gateway}: what this run opened was not released{why}"
    if uids:
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.run_commands import release_command

        yield f"To release it: {release_command(list(dict.fromkeys(uids)))}"


def _unwritten(tickets: Mapping[str, Any]) -> Iterable[str]:
    if not has_failed(tickets):
        return
    for item in tickets.get("unwritten") or [tickets]:
        if has_failed(item):
            whose = f"the file {item['file']}" if item.get("file") else "a ticket"
            yield f"{whose} could not be written: {item.get('msg') or 'no reason given'}"
