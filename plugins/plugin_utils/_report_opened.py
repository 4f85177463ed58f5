# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stream_open and its halves show at their end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._handout import SUFFIXES
from ansible_collections.scistream.gateway.plugins.plugin_utils._plan import latest
from ansible_collections.scistream.gateway.plugins.plugin_utils._stream import OTHER, PURPOSES, Stream
from ansible_collections.scistream.gateway.plugins.plugin_utils._words import Results, fingerprint_of

Sessions = Mapping[str, Mapping[str, Any]]


def opened(
    streams: Sequence[Stream],
    results: Sequence[Results],
    purpose: str,
    check_mode: bool = False,
    ticket_dir: str | None = None,
) -> list[str]:
    """Return the path of every connection and its encryption, and what is to be done next.

    Args:
        streams: Those of the run.
        results: What the gateways answered, the last message first.
        purpose: open, inbound or outbound.
        check_mode: Nothing was done.
        ticket_dir: Where tickets and replies go.
    """
    lines = []
    for stream in streams:
        found = {role: latest(results, stream, role) for role in PURPOSES[purpose]}
        sessions = {role: session for role, session in found.items() if session and session.get("listeners")}
        if len(sessions) < len(found):
            lines.append(f"{stream.name}: the gateways did not answer (uid {stream.uid})")
            continue
        some = next(iter(sessions.values()))
        states = sorted({str(session.get("state")) for session in sessions.values()})
        waits = purpose == "inbound" and states == ["announced"]
        would = check_mode and states != ["streaming"]
        state = "would be opened" if would else "waits for the reply to its ticket" if waits else " and ".join(states)
        detail = f"{some.get('proxy')} in {some.get('runtime')}, {stream.num_conn} connection(s)"
        lines.append(f"{stream.name}: {state} ({detail}, uid {stream.uid})")
        lines.extend(f"  {line}" for line in _paths(stream, sessions.get("producer"), sessions.get("consumer")))
        lines.extend(f"  {line}" for line in _encryption(stream, sessions, purpose))
        if ticket_dir is not None and purpose in _HANDOUTS:
            waits = purpose == "outbound" or not some.get("peer_certificate")
            lines.extend(f"  {line}" for line in _next(stream, purpose, ticket_dir.rstrip("/"), would, waits))
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


def _encryption(stream: Stream, sessions: Sessions, purpose: str) -> Iterable[str]:
    if stream.encryption == "none":
        yield "encryption between the gateways: none"
        yield (
            "WARNING: not encrypted. Whoever sees the network between "
            f"{stream.gateways['producer']} and {stream.gateways['consumer']} can read and change the data."
        )
        producer = sessions.get("producer")
        if producer and not producer.get("clients"):
            yield (
                f"WARNING: whoever reaches {stream.gateways['producer']} may connect. Name consumer.address, or give "
                "the gateways s2cs_egress and s2cs_clients."
            )
        return
    yield "encryption between the gateways: tls, each knows the other by its certificate"
    if purpose == "open":
        return
    for role, session in sessions.items():
        for whose, key in ((role, "certificate"), (OTHER[role], "peer_certificate")):
            if session.get(key):
                yield f"certificate of {stream.gateways[whose]} ({whose}): {fingerprint_of(session[key])}"


#: What each half of a stream writes.
_HANDOUTS = {"inbound": "ticket", "outbound": "reply"}


def _next(stream: Stream, purpose: str, directory: str, would: bool, waits: bool) -> Iterable[str]:
    """Where the ticket or reply is, and who does what with it."""
    kind, reply = _HANDOUTS[purpose], f"{stream.name}{SUFFIXES['reply']}"
    if kind == "reply" and stream.encryption == "none":
        return
    file = f"{stream.name}{SUFFIXES[kind]}"
    yield f"{kind}{' (would be written)' if would else ''}: {directory}/{file}"
    if would or not waits:
        return
    if kind == "reply":
        yield (
            f"next: hand {file} back to whom the ticket came from, and compare the fingerprints by telephone; data "
            f"flows when they have run stream_inbound again with -e reply={file}"
        )
        return
    yield (
        f"next: hand {file} to the operator of {stream.gateways['consumer']}, for stream_outbound -e ticket={file}"
        + (" -e encryption=none" if stream.encryption == "none" else ", and compare the fingerprints by telephone")
    )
    if stream.encryption != "none":
        yield f"then: when you have their {reply}, run stream_inbound as now, with -e reply={reply} added"
