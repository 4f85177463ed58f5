# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The streams that a run opened, as data for the next task or job and as files for the other facility."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.dial import is_turned
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import (
    Results,
    Session,
    is_ready,
    latest_session,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.fingerprints import fingerprint
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import OMITTED, PURPOSES, Stream
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.whole_streams import whole_streams

#: The kind of file that each purpose writes for the other facility.
FILES = {"inbound": "ticket", "outbound": "reply"}


def stream_results(
    streams: Sequence[Stream], results: Sequence[Results], purpose: str, ticket_dir: str | None = None
) -> dict[str, Any]:
    """Return the open streams by name, without secrets.

    Args:
        streams: Streams of the run.
        results: Answers of the gateways, the last message first.
        purpose: ``open``, ``inbound`` or ``outbound``.
        ticket_dir: Directory of tickets and replies.
    """
    found: dict[str, Any] = {}
    for name, legs in whole_streams(streams):
        stream = legs[0]
        if stream.leg_of:
            parts = stream_results([replace(leg, leg_of="") for leg in legs], results, purpose)
            if len(parts) == len([leg for leg in legs if leg.state != OMITTED]) and parts:
                found[name] = _legs_result(stream.leg_of, parts)
            continue
        sessions = {role: latest_session(results, stream, role) for role in PURPOSES[purpose]}
        known = {role: session for role, session in sessions.items() if session and is_ready(session)}
        if len(known) == len(sessions):
            found[stream.name] = _stream_result(stream, known, purpose, ticket_dir)
    return found


def _legs_result(uid: str, legs: dict[str, Any]) -> dict[str, Any]:
    """Return what a stream with many gateways is in total, and its legs by name."""
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.dealing import interleaved

    states = sorted({leg["state"] for leg in legs.values()})
    return {
        "uid": uid,
        "state": states[0] if len(states) == 1 else " and ".join(states),
        "encryption": next(iter(legs.values()))["encryption"],
        "transport": next(iter(legs.values()))["transport"],
        "connect_to": interleaved([leg["connect_to"] for leg in legs.values()]),
        "gateways": {
            role: list(dict.fromkeys(leg["gateways"][role] for leg in legs.values())) for role in PURPOSES["open"]
        },
        "listeners": {
            role: interleaved([leg["listeners"][role] for leg in legs.values()]) for role in PURPOSES["open"]
        },
        **(
            {"peer_listeners": interleaved([leg["peer_listeners"] for leg in legs.values()])}
            if all("peer_listeners" in leg for leg in legs.values())
            else {}
        ),
        "fingerprints": {},
        "legs": legs,
    }


def _stream_result(
    stream: Stream, sessions: Mapping[str, Session], purpose: str, ticket_dir: str | None
) -> dict[str, Any]:
    states = sorted({str(session.get("state")) for session in sessions.values()})
    fact: dict[str, Any] = {
        "uid": stream.uid,
        "state": states[0] if len(states) == 1 else " and ".join(states),
        "encryption": stream.encryption,
        "transport": stream.transport or next(iter(sessions.values())).get("transport") or "tcp",
        "connect_to": [str(item) for item in (sessions.get("consumer") or {}).get("listeners", [])],
        "gateways": dict(stream.gateways),
        "listeners": {role: [str(item) for item in session["listeners"]] for role, session in sessions.items()},
        **_dial(sessions),
        "fingerprints": _fingerprints(stream, sessions),
    }
    made = _file(stream, sessions, purpose)
    if made:
        kind = FILES[purpose]
        fact["fingerprints"][kind] = made["fingerprint"]
        fact[kind] = made["text"]
        fact[f"{kind}_file"] = os.path.join(ticket_dir, made["file"]) if ticket_dir else None
    return fact


def exchange_files(streams: Sequence[Stream], results: Sequence[Results], purpose: str) -> list[dict[str, str]]:
    """Return the tickets or replies of streams whose one side this run opened.

    Args:
        streams: Streams of the run.
        results: Answers of the gateways, the last message first.
        purpose: ``open``, which has no files, ``inbound`` or ``outbound``.
    """
    made = []
    for stream in streams if purpose in FILES else ():
        sessions = {role: session for role in PURPOSES[purpose] if (session := latest_session(results, stream, role))}
        if all(map(is_ready, sessions.values())) and sessions:
            made.append(_file(stream, sessions, purpose))
    return [file for file in made if file]


def _file(stream: Stream, sessions: Mapping[str, Session], purpose: str) -> dict[str, str] | None:
    if purpose not in FILES:
        return None
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.ticket import make_reply, make_ticket

    if purpose == "inbound":
        return make_ticket(stream, sessions["producer"])
    return make_reply(stream, sessions["consumer"]) if stream.has_reply else None


def _dial(sessions: Mapping[str, Session]) -> dict[str, Any]:
    """Return where the consumer's gateway waits for the producer's, if that connects to it."""
    if not any(map(is_turned, sessions.values())):
        return {}
    known = (session.get("peer_listeners") or [] for session in sessions.values())
    return {"peer_listeners": [str(item) for item in next(filter(None, known), [])]}


def _fingerprints(stream: Stream, sessions: Mapping[str, Session]) -> dict[str, str]:
    """Return the fingerprints of the gateways' certificates, and of the ticket or reply that the user specified."""
    certificates = {
        **stream.certificates,
        **{role: session["certificate"] for role, session in sessions.items() if session.get("certificate")},
    }
    given = {kind: found for kind, found in (("ticket", stream.ticket), ("reply", stream.reply)) if found}
    return {**{role: fingerprint(certificate) for role, certificate in certificates.items()}, **given}
