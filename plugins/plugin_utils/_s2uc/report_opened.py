# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of opened streams."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Results, is_ready, latest_session
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import (
    signals_truncation,
    targets_with_addresses,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.result_facts import FILES
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import PURPOSES, Stream
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.whole_streams import whole_streams

Sessions = Mapping[str, Mapping[str, Any]]
#: Maximum number of connections of a stream that are listed individually.
_PATHS = 64


def opened(
    streams: Sequence[Stream],
    results: Sequence[Results],
    purpose: str,
    check_mode: bool = False,
    ticket_dir: str | None = None,
) -> list[str]:
    """Return the path of each connection, its encryption, and what to do next.

    Args:
        streams: Streams of the run.
        results: Answers of the gateways, the last message first.
        purpose: ``open``, ``inbound`` or ``outbound``.
        check_mode: Whether the run was in check mode.
        ticket_dir: Directory of tickets and replies.
    """
    lines = []
    proxies: dict[str, list[str]] = {}
    for name, legs in whole_streams(streams):
        stream = legs[0]
        if stream.leg_of:
            lines.extend(_opened_legs(name, legs, results, check_mode, proxies))
            continue
        found = {role: latest_session(results, stream, role) for role in PURPOSES[purpose]}
        sessions = {role: session for role, session in found.items() if session and is_ready(session)}
        if len(sessions) < len(found):
            lines.append(f"{stream.name}: the gateways did not answer (uid {stream.uid})")
            continue
        some = next(iter(sessions.values()))
        proxies.setdefault(str(some.get("proxy")), []).append(stream.name)
        states = {str(session.get("state")) for session in sessions.values()}
        would = check_mode and states != {"streaming"}
        unreachable = [] if check_mode else list(unreachable_targets(stream, sessions))
        state = "would be opened" if would else _state(stream, purpose, states, bool(unreachable))
        number = f"{stream.num_conn} listener{'' if stream.num_conn == 1 else 's'}"
        lines.append(
            f"{stream.name}: {state} ({some.get('proxy')} in {some.get('runtime')}, {number}, uid {stream.uid})"
        )
        lines.extend(f"  {line}" for line in _paths(stream, sessions.get("producer"), sessions.get("consumer")))
        lines.extend(f"  {line}" for line in _encryption(stream, sessions))
        lines.extend(f"  {line}" for line in _capacity(stream, sessions))
        if not would:
            lines.extend(f"  {line}" for line in _fingerprints(stream, sessions, purpose))
        lines.extend(f"  {line}" for line in unreachable)
        if ticket_dir is not None and purpose in FILES:
            known = some.get("peer_listeners" if stream.is_turned else "peer_certificate")
            waits = purpose == "outbound" or not known
            lines.extend(f"  {line}" for line in _next(stream, purpose, ticket_dir.rstrip("/"), would, waits))
    return [*lines, *_silent_cuts(proxies)]


def _opened_legs(
    name: str,
    legs: Sequence[Stream],
    results: Sequence[Results],
    check_mode: bool,
    proxies: dict[str, list[str]],
) -> list[str]:
    """Return the paths of a stream with many gateways."""
    found = [{role: latest_session(results, leg, role) for role in ROLES} for leg in legs]
    known = [{role: session for role, session in one.items() if session and is_ready(session)} for one in found]
    if not all(len(sessions) == len(ROLES) for sessions in known):
        return [f"{name}: the gateways did not answer (uid {legs[0].leg_of})"]
    everything = [session for sessions in known for session in sessions.values()]
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_legs import (
        leg_path,
        number_of_gateways,
    )

    used = list(dict.fromkeys(str(session.get("proxy")) for session in everything))
    for proxy in used:
        proxies.setdefault(proxy, []).append(name)
    states = {str(session.get("state")) for session in everything}
    would = check_mode and states != {"streaming"}
    sides = list(zip(legs, known, strict=True))
    unreachable = [] if check_mode else [line for leg, sessions in sides for line in unreachable_targets(leg, sessions)]
    state = "would be opened" if would else _state(legs[0], "open", states, bool(unreachable))
    runtimes = " and ".join(dict.fromkeys(str(session.get("runtime")) for session in everything))
    number = sum(leg.num_conn for leg in legs)
    listeners = f"{number} listener{'' if number == 1 else 's'}"
    what = f"{' and '.join(used)} in {runtimes}, {listeners} {number_of_gateways(legs)}, uid {legs[0].leg_of}"
    lines = [leg_path(leg, sessions) for leg, sessions in sides]
    # Each line once, although it may name the gateways of a leg.
    notes = dict.fromkeys(
        line for leg, sessions in sides for line in (*_encryption(leg, sessions), *_capacity(leg, sessions))
    )
    return [f"{name}: {state} ({what})", *(f"  {line}" for line in (*lines, *notes, *unreachable))]


def _state(stream: Stream, purpose: str, states: set[str], unreachable: bool) -> str:
    """Return the state of a stream, which is only streaming if both sides are known to be open."""
    if states == {"announced"} and purpose == "inbound":
        return "waits for the reply to its ticket"
    if states != {"streaming"}:
        return " and ".join(sorted(states))
    if purpose == "outbound" and stream.has_reply:
        return f"open on this side, waits until {stream.gateways['producer']} has the reply"
    if purpose not in ("open", "apply"):
        return "open on this side"
    return "open, but its producer does not answer" if unreachable else "streaming"


def unreachable_targets(stream: Stream, sessions: Sessions) -> Iterable[str]:
    """Return a warning for each listener of the producer application that did not answer a probe."""
    for role, session in sessions.items():
        for found in session.get("unreachable_targets") or []:
            yield (
                f"WARNING: no answer from {found.get('target')} ({found.get('msg')}), seen from "
                f"{stream.gateways[role]}: start the producer application there, or correct its address. The stream "
                "stays open for it."
            )


def _silent_cuts(proxies: Mapping[str, Sequence[str]]) -> Iterable[str]:
    """Return a warning about proxies that end a connection in the same way whether it was cut or closed."""
    silent = [proxy for proxy in proxies if proxy in PROXIES and not signals_truncation(proxy)]
    if silent:
        yield (
            f"WARNING: with {' and '.join(sorted(silent))} a truncated connection looks like a normal end to the "
            "applications. Use s2ds, or have them verify that their data is complete; see docs/proxies.md."
        )


def _paths(stream: Stream, producer: Mapping[str, Any] | None, consumer: Mapping[str, Any] | None) -> list[str]:
    """Return one line for each connection, as far as its path is known."""
    if stream.is_turned:
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_dialling import turned_paths

        return turned_paths(stream, producer, consumer, _PATHS)
    number = len((producer or consumer or {}).get("listeners", []))
    lines = []
    for index in range(min(number, _PATHS)):
        hops = []
        if consumer:
            egress = f", source address {consumer['egress']}" if consumer.get("egress") else ""
            hops.append(f"consumer connects to {consumer['listeners'][index]} ({stream.gateways['consumer']}{egress})")
        else:
            hops.append(f"consumer gateway ({stream.gateways['consumer']})")
        if producer:
            targets = targets_with_addresses(producer) or stream.producer_listeners or ["its application"]
            hops.append(f"{producer['listeners'][index]} ({stream.gateways['producer']})")
            hops.append(f"producer {targets[index % len(targets)]}")
        elif consumer:
            targets = targets_with_addresses(consumer) or ["?"]
            hops.append(f"{targets[index % len(targets)]} ({stream.gateways['producer']})")
            hops.append("its producer")
        lines.append(" -> ".join(hops))
    if number > _PATHS:
        lines.append(f"and {number - _PATHS} more; ansible-playbook -v shows all of them")
    return lines


def _encryption(stream: Stream, sessions: Sessions) -> Iterable[str]:
    if stream.encryption == "none":
        yield "encryption between the gateways: none"
        yield (
            "WARNING: not encrypted. Anyone on the network between "
            f"{stream.gateways['producer']} and {stream.gateways['consumer']} can read and modify the data."
        )
        producer = sessions.get("producer")
        if stream.is_turned:
            from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_dialling import open_to_all

            yield from open_to_all(stream, sessions.get("consumer"))
        elif producer and not producer.get("clients"):
            yield (
                f"WARNING: anyone who can reach {stream.gateways['producer']} can connect. Set consumer.address, or "
                "s2cs_egress and s2cs_clients of the gateways."
            )
        return
    yield "encryption between the gateways: tls, each verifies the certificate of the other"


def _capacity(stream: Stream, sessions: Sessions) -> Iterable[str]:
    """Return what the path carries, if the request said how long it is."""
    if all(session.get("carries") is None for session in sessions.values()):
        return []
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_path import path_capacity

    return path_capacity(stream, sessions)


def _fingerprints(stream: Stream, sessions: Sessions, purpose: str) -> Iterable[str]:
    """Return the fingerprints that people compare. Both sides show the same."""
    ticket, reply = stream.ticket, stream.reply
    with suppress(ScistreamError):
        if purpose in FILES:
            from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.ticket import (
                make_reply,
                ticket_fingerprint,
            )
        if purpose == "inbound":
            ticket = ticket_fingerprint(stream, sessions["producer"])
        if purpose == "outbound" and stream.has_reply:
            reply = make_reply(stream, sessions["consumer"])["fingerprint"]
    for kind, fingerprint in (("ticket", ticket), ("reply", reply)):
        if fingerprint:
            yield f"fingerprint of the {kind}: {fingerprint}"


def _next(stream: Stream, purpose: str, directory: str, would: bool, waits: bool) -> Iterable[str]:
    """Return the path of the ticket or reply, and what to do with it."""
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.exchange_file import SUFFIXES

    kind, reply = FILES[purpose], f"{stream.name}{SUFFIXES['reply']}"
    if kind == "reply" and not stream.has_reply:
        return
    file = f"{stream.name}{SUFFIXES[kind]}"
    yield f"{kind}{' (would be written)' if would else ''}: {directory}/{file}"
    if would or not waits:
        return
    if kind == "reply":
        yield (
            f"next: return {file} to the sender of the ticket, and compare the fingerprints by phone; data "
            f"flows once they have run stream_inbound again with -e reply={file}"
        )
        return
    yield (
        f"next: hand {file} to the operator of {stream.gateways['consumer']}, for stream_outbound -e ticket={file}"
        + (" -e encryption=none" if stream.encryption == "none" else "")
        + ", and compare the fingerprint by phone"
    )
    if stream.has_reply:
        yield f"then: once you have their {reply}, run the same stream_inbound command with -e reply={reply} added"
