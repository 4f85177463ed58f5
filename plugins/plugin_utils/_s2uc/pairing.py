# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two sides of a stream: the connection map, and their compatibility."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES
from ansible_collections.scistream.gateway.plugins.module_utils._common.dial import is_turned
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, show
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Results, Session, session_of
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.fingerprints import CertificateError, fingerprint
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import OTHER_ROLE, PURPOSES, Peer, Stream


class PairingError(ScistreamError):
    """The answers of the gateways are inconsistent."""


def connection_map(producer: Session, consumer: Session | None = None) -> list[dict[str, Any]]:
    """Return the connection map, one row for each listener.

    The listeners of the two gateways are paired in order. The listeners of the producer application are assigned round
    robin.

    Args:
        producer: Session of the producer's gateway.
        consumer: Session of the consumer's gateway. If omitted, the rows have None for its listeners.

    Raises:
        PairingError: The gateways have different numbers of listeners.
    """
    if is_turned(producer):
        return _turned_map(producer, consumer)
    listeners = list(producer.get("listeners") or [])
    entrances: list[str | None] = (
        list(consumer.get("listeners") or []) if consumer is not None else [None] * len(listeners)
    )
    targets = list(producer.get("producer_listeners") or [])
    if not listeners or len(entrances) != len(listeners):
        raise PairingError(
            f"the consumer gateway has {len(entrances)} listeners, the producer gateway {len(listeners)}; "
            "both must have the same number"
        )
    return [
        {
            "connection": number + 1,
            "consumer_listener": entrances[number],
            "producer_listener": listener,
            "target": targets[number % len(targets)] if targets else None,
        }
        for number, listener in enumerate(listeners)
    ]


def _turned_map(producer: Session, consumer: Session | None) -> list[dict[str, Any]]:
    """Return the connection map of a stream whose producer's gateway connects to the consumer's."""
    number = int(producer.get("num_conn") or 0)
    entrances: list[str | None] = list(consumer.get("listeners") or []) if consumer is not None else [None] * number
    peers = list((producer if consumer is None else consumer).get("peer_listeners") or []) or [None] * number
    targets = list(producer.get("producer_listeners") or [])
    if not number or len(entrances) != number or len(peers) != number:
        raise PairingError(
            f"the consumer gateway has {len(entrances)} listeners, and {len(peers)} for the producer gateway, which "
            f"has {number} connections; all must be the same number"
        )
    return [
        {
            "connection": index + 1,
            "consumer_listener": entrances[index],
            "peer_listener": peers[index],
            "producer_listener": None,
            "target": targets[index % len(targets)] if targets else None,
        }
        for index in range(number)
    ]


def pairing_problems(streams: Sequence[Stream], purpose: str, results: Results) -> list[str]:
    """Return why the answers of the gateways cannot be combined, one sentence each.

    Args:
        streams: All streams of the run.
        purpose: ``open``, ``inbound`` or ``outbound``.
        results: Answers of the gateways to HELLO, or in check mode to REQ.
    """
    problems = []
    for stream in streams:
        sessions = {role: session_of(results, stream, role) for role in PURPOSES[purpose]}
        producer, consumer = sessions.get("producer"), sessions.get("consumer")
        if producer and consumer:
            try:
                connection_map(producer, consumer)
            except PairingError as error:
                problems.append(f"stream {show(stream.name)}: {error}")
        problems.extend(side_problems(stream, sessions))
    return problems


def side_problems(stream: Stream, sessions: Mapping[str, Session | None]) -> Iterable[str]:
    """Return why the sides of a stream are incompatible, one sentence each.

    Args:
        stream: The stream.
        sessions: Sessions of the gateways of this run, by role.
    """
    found = {role: session for role, session in sessions.items() if session}
    ends = [Peer.of(session) for session in found.values()] + ([stream.peer] if stream.peer else [])
    for problem in (
        _half_close_problem(ends) if stream.encryption == "tls" else None,
        _ticket_problem(stream, found.get("producer") or {}),
        *(_age_problem(stream, role, session) for role, session in found.items()),
    ):
        if problem:
            yield f"stream {show(stream.name)}: {problem}"


def _half_close_problem(ends: list[Peer]) -> str | None:
    """Return whether one proxy ends a direction without TLS's close_notify, and the other treats this as an attack."""
    able = {peer.proxy: PROXIES[peer.proxy] for peer in ends if peer.proxy in PROXIES}
    without_close_notify = next((name for name in able if able[name].half_closes_without_close_notify), "")
    requiring_close_notify = next((name for name in able if able[name].requires_close_notify), "")
    if not without_close_notify or not requiring_close_notify or not all(peer.half_close for peer in ends):
        return None
    return (
        f"its gateways use {without_close_notify} and {requiring_close_notify}, which are incompatible if an "
        "application closes one direction of an encrypted connection: use the same proxy on both gateways, such as "
        f"'proxy: {requiring_close_notify}', or set 'half_close: false' for {without_close_notify} in the policy of "
        "its gateway if no application does that"
    )


def _ticket_problem(stream: Stream, producer: Session) -> str | None:
    """Return why a reply does not belong to the ticket of this producer side."""
    known = bool(producer.get("certificate")) or stream.encryption == "none"
    if not stream.answers or not known or not (producer.get("listeners") or is_turned(producer)):
        return None
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.ticket import ticket_fingerprint

    ticket = ticket_fingerprint(stream, producer)
    if stream.answers == ticket or (
        producer.get("certificate") and stream.answers == fingerprint(producer["certificate"])
    ):
        return None
    return (
        f"the reply is for another ticket (fingerprint {show(stream.answers)}) than the one of this producer side "
        f"(fingerprint {ticket}): either the ticket was modified in transit, or the stream was opened again or changed "
        "since; run stream_inbound without the reply, hand over its ticket, and compare the fingerprints"
    )


def _age_problem(stream: Stream, role: str, session: Session) -> str | None:
    """Return why a ticket or reply is outdated: the other side was opened again, with another key."""
    known, given = session.get("peer_certificate"), stream.certificates.get(OTHER_ROLE[role])
    if not known or not given or stream.peer is None or fingerprint(known) == fingerprint(given):
        return None
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import not_before

    try:
        if not_before(given) >= not_before(known):
            return None
    except CertificateError:
        return None
    kind = "reply" if role == "producer" else "ticket"
    return (
        f"the {kind} is older than the one that this side was opened with: use the latest one of "
        f"{stream.gateways[OTHER_ROLE[role]]}. If it is the latest one, the clocks differ: release the stream on both "
        "sides, and open it again"
    )
