# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person reads at the end of a run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import show
from ansible_collections.scistream.gateway.plugins.plugin_utils._plan import roles_at, session_of
from ansible_collections.scistream.gateway.plugins.plugin_utils._streams import PURPOSES, Stream
from ansible_collections.scistream.gateway.plugins.plugin_utils._ticket import SUFFIX

Results = Mapping[str, Any]
_LOG_LINES = 5
_UID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
#: How a gateway says which of several sessions it means.
_MENTION = re.compile(rf'sessions\[\d+\] \("({_UID})"\): |(producer|consumer) of ({_UID}): ', re.ASCII)


def size(count: Any) -> str:
    """Return a number of bytes, readable."""
    value = float(count or 0)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def duration(seconds: float) -> str:
    """Return a time span, readable."""
    seconds = max(0, int(seconds))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {seconds}s" if minutes else f"{seconds}s"


def opened(
    streams: Sequence[Stream],
    results: Results,
    purpose: str,
    check_mode: bool = False,
    ticket_dir: str | None = None,
) -> list[str]:
    """Return the path of every connection and its encryption, after stream_open or one half of it, and the ticket."""
    lines = []
    for stream in streams:
        sessions = {role: session_of(results, stream.gateways[role], stream.uid, role) for role in PURPOSES[purpose]}
        found = [session for session in sessions.values() if session]
        if len(found) < len(sessions) or not all(session.get("listeners") for session in found):
            lines.append(f"{stream.name}: the gateways did not answer (uid {stream.uid})")
            continue
        states = sorted({str(session.get("state")) for session in found})
        if check_mode and states != ["streaming"]:
            states = ["would be opened"]
        detail = f"{found[0].get('proxy')} in {found[0].get('runtime')}, {stream.num_conn} connection(s)"
        lines.append(f"{stream.name}: {' and '.join(states)} ({detail}, uid {stream.uid})")
        lines.extend(f"  {line}" for line in _paths(stream, sessions.get("producer"), sessions.get("consumer")))
        lines.append(f"  encryption between the gateways: {found[0].get('encryption', stream.encryption)}")
        if found[0].get("encryption", stream.encryption) == "none":
            lines.append(
                "  WARNING: not encrypted. Whoever sees the network between "
                f"{stream.gateways['producer']} and {stream.gateways['consumer']} can read and change the data."
            )
        if ticket_dir is not None:
            later = " (would be written)" if states == ["would be opened"] else ""
            lines.append(f"  ticket{later}: {ticket_dir.rstrip('/')}/{stream.name}{SUFFIX}")
    return lines


def _paths(stream: Stream, producer: Mapping[str, Any] | None, consumer: Mapping[str, Any] | None) -> Iterable[str]:
    """One line for each connection: as far as this run knows the way."""
    number = len((producer or consumer or {}).get("listeners", []))
    for index in range(number):
        hops = []
        if consumer:
            egress = f", leaves from {consumer['egress']}" if consumer.get("egress") else ""
            hops.append(f"consumer connects to {consumer['listeners'][index]} ({stream.gateways['consumer']}{egress})")
        else:
            hops.append(f"consumer gateway ({stream.gateways['consumer']})")
        if producer:
            targets = producer.get("targets") or stream.producer_listeners
            hops.append(f"{producer['listeners'][index]} ({stream.gateways['producer']})")
            hops.append(f"producer {targets[index % len(targets)]}")
        elif consumer:
            targets = consumer.get("targets") or ["?"]
            hops.append(f"{targets[index % len(targets)]} ({stream.gateways['producer']})")
            hops.append("its producer")
        yield " -> ".join(hops)


def status(
    results: Results, uids: Sequence[str] = (), streams: Sequence[Stream] = (), now: datetime | None = None
) -> list[str]:
    """Return one line for each session of each gateway, or only for the sessions of the uids and streams."""
    moment = now or datetime.now(timezone.utc)
    asked = [str(uid).lower() for uid in uids]
    meant = {*asked, *(stream.uid for stream in streams)}
    lines = []
    for gateway, answer in results.items():
        if "sessions" not in answer:
            lines.append(f"{gateway}: {answer.get('msg', 'no answer')}")
            continue
        sessions = [session for session in answer["sessions"] if not meant or session["uid"] in meant]
        ports = (answer.get("gateway") or {}).get("ports") or {}
        used = f", {ports.get('used')} of {ports.get('total')} ports used" if ports else ""
        lines.append(f"{gateway}: {len(sessions)} session(s){used}")
        for session in sessions:
            lines.append(f"  {_status_line(session, moment)}")
            if _is_dead(session):
                lines.extend(f"    log: {line}" for line in (session.get("log") or [])[-_LOG_LINES:])
        shown = {session["uid"] for session in sessions}
        lines.extend(f"  no session {uid} here" for uid in asked if uid not in shown)
        lines.extend(
            f"  no session of {stream.name} here (uid {stream.uid})"
            for stream in streams
            if stream.uid not in shown and roles_at(stream, gateway, "identify")
        )
    return lines


def _is_dead(session: Mapping[str, Any]) -> bool:
    return session.get("state") == "streaming" and not session.get("running")


def _status_line(session: Mapping[str, Any], now: datetime) -> str:
    parts = [f"{_name(session)} {session['role']}: {session['state']}"]
    if _is_dead(session):
        parts.append("NOT RUNNING")
    elif session.get("running"):
        parts.append("running")
    counters = session.get("counters") or {}
    if counters:
        connections, moved = counters.get("connections") or {}, counters.get("bytes") or {}
        parts.extend(_connections(connections))
        parts.append(
            f"{size(moved.get('to_consumer'))} to the consumer, {size(moved.get('to_producer'))} to the producer"
        )
    listeners = session.get("listeners") or []
    parts.append(f"listens on {', '.join(listeners[:4])}{' ...' if len(listeners) > 4 else ''}")
    if session.get("created"):
        parts.append(f"age {duration((now - _moment(session['created'])).total_seconds())}")
    if session.get("expires"):
        parts.append(f"expires in {duration((_moment(session['expires']) - now).total_seconds())}")
    return ", ".join(parts) + f" (uid {session['uid']})"


def _connections(counted: Mapping[str, Any]) -> list[str]:
    """What went wrong is shown only where something did; what a data server cannot count, never."""
    parts = [
        f"{counted[key]} {words}"
        for key, words in (("open", "open"), ("total", "in all"))
        if counted.get(key) is not None
    ]
    for key, words in (("failed", "failed (the target did not answer)"), ("refused", "refused")):
        if counted.get(key):
            parts.append(f"{counted[key]} {words}")
    return [f"connections {parts[0]}", *parts[1:]] if parts else []


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _name(session: Mapping[str, Any]) -> str:
    return str((session.get("labels") or {}).get("stream") or "stream")


def _named(message: Any, streams: Sequence[Stream]) -> str:
    """Return what a gateway said, with the names of streams where it can only know uids."""
    names = {stream.uid: f"stream {show(stream.name)}" for stream in streams}

    def replace(found: re.Match[str]) -> str:
        name = names.get(found[1] or found[3])
        return f"{name}: {found[2] + ': ' if found[2] else ''}" if name else found[0]

    text = _MENTION.sub(replace, str(message))
    unsaid = [name for uid, name in names.items() if uid in text and name not in text]
    return ": ".join([", ".join(unsaid), text]) if unsaid else text


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
            lines.append(f"{gateway}: {_named(answer.get('msg', 'no answer'), streams)}")
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
) -> list[str]:
    """Return why the streams of a run were not opened, in the words of the gateways, and what was given back.

    Args:
        steps: The gateways' results of REQ, HELLO and UPDATE, as far as they got.
        given_back: Their results of REL.
        streams: Those of the run; gateways know only their uids.
        tickets: The result of writing the tickets, one item for each.
    """
    names = {stream.uid: stream.name for stream in streams}
    lines: list[str] = []
    for results in steps:
        for gateway, answer in results.items():
            if answer.get("failed") or answer.get("unreachable"):
                lines.append(f"{gateway}: {_named(answer.get('msg') or 'failed without a message', streams)}")
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
            why = _named(answer.get("msg", "no answer"), streams)
            lines.append(f"{gateway}: what this run opened could not be given back: {why}")
    if not entries:
        lines.append("this run had opened nothing that had to be given back")
    return lines


def _unwritten(tickets: Mapping[str, Any]) -> Iterable[str]:
    if not tickets.get("failed"):
        return
    for item in tickets.get("results") or [tickets]:
        if item.get("failed"):
            ticket = item.get("item") or {}
            whose = f"the ticket of {ticket['name']}" if ticket else "a ticket"
            yield f"{whose} could not be written: {item.get('msg') or 'no reason given'}"
