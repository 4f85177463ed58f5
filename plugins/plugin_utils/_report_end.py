# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run says that ends streams, or could not open them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._plan import roles_at
from ansible_collections.scistream.gateway.plugins.plugin_utils._stream import Stream
from ansible_collections.scistream.gateway.plugins.plugin_utils._words import Results, named


def released(
    results: Results,
    streams: Sequence[Stream] = (),
    uids: Sequence[str] = (),
    gateways: Sequence[str] | None = None,
    check_mode: bool = False,
) -> list[str]:
    """Return what each gateway gave back, and what it was asked for in vain."""
    names = {stream.uid: stream.name for stream in streams}
    did = "would give back" if check_mode else "gave back"
    lines = []
    for gateway, answer in results.items():
        if answer.get("failed") or answer.get("unreachable"):
            lines.append(f"{gateway}: {named(answer.get('msg', 'no answer'), streams)}")
            continue
        entries = answer.get("released") or []
        for entry in entries:
            listeners = ", ".join(entry.get("listeners") or []) or "no listeners"
            name = names.get(entry["uid"], "stream")
            lines.append(f"{gateway}: {did} {name} {entry['role']}: {listeners} (uid {entry['uid']})")
        if answer.get("skipped"):
            continue
        here = [stream for stream in streams if roles_at(stream, gateway, "identify")]
        wanted = [(str(uid).lower(), "stream") for uid in uids] + [(stream.uid, stream.name) for stream in here]
        found = {entry["uid"] for entry in entries}
        lines.extend(
            f"{gateway}: nothing to give back of {name} (uid {uid})" for uid, name in wanted if uid not in found
        )
        if not wanted and not entries:
            lines.append(f"{gateway}: nothing to give back")
    return [*lines, *_elsewhere(streams, gateways)] or ["no gateway takes part"]


def _elsewhere(streams: Sequence[Stream], gateways: Sequence[str] | None) -> Iterable[str]:
    """One line for each gateway of the streams that this run does not reach."""
    if gateways is not None:
        for gateway in sorted({name for stream in streams for name in stream.gateways.values()} - set(gateways)):
            sides = ", ".join(stream.name for stream in streams if gateway in stream.gateways.values())
            yield f"gateway {gateway} is not in this run: its side of {sides} is not released"


def failed(
    steps: Sequence[Results],
    given_back: Results,
    streams: Sequence[Stream] = (),
    tickets: Mapping[str, Any] | None = None,
    problems: Sequence[str] = (),
) -> list[str]:
    """Return why the streams of a run were not opened, in the words of the gateways, and what was given back.

    Args:
        steps: The gateways' results of REQ, HELLO and UPDATE, as far as they got.
        given_back: Their results of REL.
        streams: Those of the run; gateways know only their uids.
        tickets: The result of writing the tickets or replies, one item for each.
        problems: What this run itself found wrong with the gateways' answers.
    """
    names = {stream.uid: stream.name for stream in streams}
    lines: list[str] = []
    for results in steps:
        for gateway, answer in results.items():
            if answer.get("failed") or answer.get("unreachable"):
                lines.append(f"{gateway}: {named(answer.get('msg') or 'failed without a message', streams)}")
    lines.extend(problems)
    lines.extend(_unwritten(tickets or {}))
    entries = [(gateway, entry) for gateway, answer in given_back.items() for entry in answer.get("released") or []]
    if entries:
        lines.append(
            "given back: "
            + ", ".join(
                f"{gateway} {entry['role']} of {names.get(entry['uid'], entry['uid'])}" for gateway, entry in entries
            )
        )
    for gateway, answer in given_back.items():
        if answer.get("failed") or answer.get("unreachable"):
            why = named(answer.get("msg", "no answer"), streams)
            lines.append(f"{gateway}: what this run opened could not be given back: {why}")
    if not entries:
        lines.append("this run had opened nothing that had to be given back")
    return lines


def _unwritten(tickets: Mapping[str, Any]) -> Iterable[str]:
    if not tickets.get("failed"):
        return
    for item in tickets.get("results") or [tickets]:
        if item.get("failed"):
            file = (item.get("item") or {}).get("file")
            whose = f"the file {file}" if file else "a ticket"
            yield f"{whose} could not be written: {item.get('msg') or 'no reason given'}"
