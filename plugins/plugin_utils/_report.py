# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person reads at the end of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._plan import session_of
from ansible_collections.scistream.gateway.plugins.plugin_utils._streams import PURPOSES, Stream

Results = Mapping[str, Any]
_LOG_LINES = 5


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


def opened(streams: Sequence[Stream], results: Results, purpose: str, check_mode: bool = False) -> list[str]:
    """Return the path of every connection and its encryption, after stream_open or one half of it."""
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
            hops.append("producer")
        yield " -> ".join(hops)


def status(results: Results, uids: Sequence[str] = (), now: datetime | None = None) -> list[str]:
    """Return one line for each session of each gateway, or only for the sessions of the uids."""
    moment = now or datetime.now(timezone.utc)
    lines = []
    for gateway, answer in results.items():
        if "sessions" not in answer:
            lines.append(f"{gateway}: {answer.get('msg', 'no answer')}")
            continue
        sessions = [session for session in answer["sessions"] if not uids or session["uid"] in uids]
        ports = (answer.get("gateway") or {}).get("ports") or {}
        used = f", {ports.get('used')} of {ports.get('total')} ports used" if ports else ""
        lines.append(f"{gateway}: {len(sessions)} session(s){used}")
        for session in sessions:
            lines.append(f"  {_status_line(session, moment)}")
            if _is_dead(session):
                lines.extend(f"    log: {line}" for line in (session.get("log") or [])[-_LOG_LINES:])
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
        parts.append(f"connections {connections.get('open', 0)} open, {connections.get('total', 0)} in all")
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


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _name(session: Mapping[str, Any]) -> str:
    return str((session.get("labels") or {}).get("stream") or "stream")


def released(results: Results, streams: Sequence[Stream] = (), check_mode: bool = False) -> list[str]:
    """Return what each gateway gave back."""
    names = {stream.uid: stream.name for stream in streams}
    did = "would give back" if check_mode else "gave back"
    lines = []
    for gateway, answer in results.items():
        if answer.get("failed") or answer.get("unreachable"):
            lines.append(f"{gateway}: {answer.get('msg', 'no answer')}")
            continue
        entries = answer.get("released") or []
        for entry in entries:
            listeners = ", ".join(entry.get("listeners") or []) or "no listeners"
            name = names.get(entry["uid"], "stream")
            lines.append(f"{gateway}: {did} {name} {entry['role']}: {listeners} (uid {entry['uid']})")
        if not entries and not answer.get("skipped"):
            lines.append(f"{gateway}: nothing to give back")
    return lines or ["no gateway takes part"]


def failed(steps: Sequence[Results], given_back: Results) -> list[str]:
    """Return why the streams of a run were not opened, in the words of the gateways, and what was given back.

    Args:
        steps: The gateways' results of REQ, HELLO and UPDATE, as far as they got.
        given_back: Their results of REL.
    """
    lines = []
    for results in steps:
        for gateway, answer in results.items():
            if answer.get("failed") or answer.get("unreachable"):
                lines.append(f"{gateway}: {answer.get('msg') or 'failed without a message'}")
    entries = [(gateway, entry) for gateway, answer in given_back.items() for entry in answer.get("released") or []]
    if entries:
        lines.append(
            "given back: " + ", ".join(f"{gateway} {entry['role']} {entry['uid']}" for gateway, entry in entries)
        )
    for gateway, answer in given_back.items():
        if answer.get("failed") or answer.get("unreachable"):
            lines.append(f"{gateway}: what this run opened could not be given back: {answer.get('msg', 'no answer')}")
    if not entries:
        lines.append("this run had opened nothing that had to be given back")
    return lines
