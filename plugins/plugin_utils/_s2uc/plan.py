# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each gateway is told: streams in, the ``sessions`` of one module call out."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, show
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import make_credentials
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.fit import side_problems
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import stream_secret
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import OTHER, PURPOSES, ROLES, Stream

Entry = dict[str, Any]

# How long a session waits for the reply to its ticket, which people hand to each other: as long as its certificate is
# good where its lifetime has no end.
_REPLY_SECONDS = 365 * 86400


class PlanError(ScistreamError):
    """The gateways' answers do not fit together."""


def connection_map(producer: Mapping[str, Any], consumer: Mapping[str, Any] | None = None) -> list[Entry]:
    """Return which listener leads where, one row for each connection.

    The gateways' listeners belong together in their order; the producer's own are dealt round robin.

    Args:
        producer: The producer gateway's session.
        consumer: The consumer gateway's session; without, its column is None.

    Raises:
        PlanError: The gateways reserved different numbers of listeners.
    """
    listeners = list(producer.get("listeners") or [])
    entrances: list[str | None] = (
        list(consumer.get("listeners") or []) if consumer is not None else [None] * len(listeners)
    )
    targets = list(producer.get("producer_listeners") or [])
    if not listeners or len(entrances) != len(listeners):
        raise PlanError(
            f"the consumer gateway has {len(entrances)} listeners, the producer gateway {len(listeners)}; "
            "both need as many"
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


def session_of(results: Mapping[str, Any], stream: Stream, role: str) -> Mapping[str, Any] | None:
    """Return a session from what the modules answered, ``results`` being their results by gateway."""
    answer = results.get(stream.gateways[role])
    sessions = answer.get("sessions") if isinstance(answer, Mapping) else None
    for session in sessions or []:
        if session.get("uid") == stream.uid and session.get("role") == role:
            found: Mapping[str, Any] = session
            return found
    return None


def latest(results: Sequence[Mapping[str, Any]], stream: Stream, role: str) -> Mapping[str, Any] | None:
    """Return a session as the last message left it; ``results`` begins with that one."""
    found = (session_of(answers, stream, role) for answers in results)
    return next((session for session in found if session), None)


def new_sessions(answer: Any, all_reserved: bool = False) -> list[Entry]:
    """Return the sessions that a REQ made, from what its module answered; not those that it found and repaired.

    Args:
        answer: What the module answered.
        all_reserved: Whether every session that waits for its HELLO counts, whoever reserved it: where the answer to
            a first call was lost, nobody knows which of them that one made.
    """
    if not isinstance(answer, Mapping):
        return []
    made = [
        {"uid": session["uid"], "role": session["role"]}
        for session in answer.get("sessions") or []
        if session.get("state") == "reserved"
    ]
    changed = answer.get("changed_sessions") or []
    return [session for session in made if all_reserved or session in changed]


def roles_at(stream: Stream, gateway: str, purpose: str) -> list[str]:
    """Return the roles of a stream that a gateway plays in this run."""
    return [role for role in PURPOSES[purpose] or ROLES if stream.gateways[role] == gateway]


def requests(streams: Sequence[Stream], gateway: str, purpose: str, key: bytes) -> list[Entry]:
    """Return the REQ of a gateway. What the user did not give is not sent: the gateway's policy decides."""
    entries = []
    for stream in streams:
        for role in roles_at(stream, gateway, purpose):
            entry: Entry = {
                "uid": stream.uid,
                "role": role,
                "num_conn": stream.num_conn,
                "encryption": stream.encryption,
                "labels": stream.labels,
                "secret": stream_secret(key, stream.uid),
            }
            for option in ("rate", "proxy", "runtime", "transport", "hello_timeout", "lifetime"):
                if getattr(stream, option) is not None:
                    entry[option] = getattr(stream, option)
            entries.append(entry)
    return entries


def hellos(
    streams: Sequence[Stream], gateway: str, purpose: str, results: Mapping[str, Any], key: bytes
) -> list[Entry]:
    """Return the HELLO of a gateway, said for the applications; the producer's names where that one listens.

    A gateway that has no key and certificate for the session yet is given some, made here and now: what this returns
    holds private keys.

    Args:
        streams: All streams of the run.
        gateway: The one that is told.
        purpose: open, inbound or outbound.
        results: What the gateways answered to REQ, by gateway.
        key: The user's.
    """
    entries = []
    for stream in streams:
        for role in roles_at(stream, gateway, purpose):
            entry: Entry = {"uid": stream.uid, "role": role, "secret": stream_secret(key, stream.uid)}
            if role == "producer":
                entry["producer_listeners"] = stream.producer_listeners
            if purpose == "inbound" and stream.encryption == "tls":
                entry["update_timeout"] = _REPLY_SECONDS
            session = session_of(results, stream, role)
            if stream.encryption == "tls" and session is not None and not session.get("certificate"):
                made = make_credentials(stream.uid, role, _end(stream, session))
                entry.update(certificate=made.certificate, key=made.key)
            entries.append(entry)
    return entries


def _end(stream: Stream, session: Mapping[str, Any]) -> datetime | None:
    """Return when a session ends; in check mode there may be none that shows it."""
    if session.get("ends"):
        return moment(session["ends"]) + timedelta(seconds=1)
    if session.get("state") not in ("reserved", "announced"):
        return moment(session["expires"]) if session.get("expires") else None
    lifetime = session.get("lifetime") or stream.lifetime
    # Times are shown without their fraction of a second.
    return moment(session["created"]) + timedelta(seconds=int(lifetime) + 1) if lifetime else None


def moment(text: str) -> datetime:
    """Return a time as gateways show it."""
    found = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def updates(
    streams: Sequence[Stream],
    gateway: str,
    purpose: str,
    results: Mapping[str, Any],
    key: bytes,
    predict: bool = False,
) -> list[Entry]:
    """Return the UPDATE of a gateway: targets from the connection map, clients from the other gateway's answer.

    Args:
        streams: All streams of the run.
        gateway: The one that is told.
        purpose: open, inbound or outbound.
        results: What the gateways answered to HELLO, by gateway.
        key: The user's.
        predict: Whether this is check mode, in which no HELLO has told the gateway where the producer listens.
    """
    entries = []
    for stream in streams:
        sessions = {role: session_of(results, stream, role) for role in PURPOSES[purpose]}
        for role in roles_at(stream, gateway, purpose):
            own, other = sessions[role] or {}, sessions.get(OTHER[role])
            if waits_for_reply(stream, purpose, own):
                continue
            entry: Entry = {"uid": stream.uid, "role": role, "secret": stream_secret(key, stream.uid)}
            if role == "producer":
                # Its targets are what its application announced in the HELLO; the gateway deals them out in turn.
                if predict:
                    entry["remote_listeners"] = stream.producer_listeners
                entry["clients"] = _producer_clients(stream, own, other)
            else:
                entry["remote_listeners"] = _consumer_targets(stream, own, other)
                entry["clients"] = stream.clients
            if not entry["clients"]:
                del entry["clients"]
            if stream.encryption == "tls":
                # Where nothing is known of the other gateway's, the session stays with the one that it has.
                certificate = stream.certificates.get(OTHER[role]) or (other or {}).get("certificate")
                if certificate:
                    entry["peer_certificate"] = certificate
            entries.append(entry)
    return entries


def waits_for_reply(stream: Stream, purpose: str, session: Mapping[str, Any]) -> bool:
    """Tell whether a producer side cannot be finished yet: no reply says whom it may let in, now or earlier."""
    return (
        purpose == "inbound"
        and stream.encryption == "tls"
        and "consumer" not in stream.certificates
        and not session.get("peer_certificate")
    )


def _producer_clients(stream: Stream, own: Mapping[str, Any], consumer: Mapping[str, Any] | None) -> list[str]:
    """Only the consumer gateway may connect to the producer gateway, if its address is known."""
    if stream.consumer_address:
        return stream.consumer_address
    if own.get("peer_certificate") and not consumer and "consumer" not in stream.certificates:
        # A reply said it in an earlier run.
        return [str(network) for network in own.get("clients") or []]
    egress = consumer.get("egress") if consumer is not None else None
    return [str(ipaddress.ip_network(egress))] if egress else []


def _consumer_targets(stream: Stream, consumer: Mapping[str, Any], producer: Mapping[str, Any] | None) -> list[str]:
    if stream.remote_listeners:
        return stream.remote_listeners
    if not producer:
        raise PlanError(f"stream {show(stream.name)}: its producer gateway did not answer")
    return [row["producer_listener"] for row in connection_map(producer, consumer)]


def misfits(streams: Sequence[Stream], purpose: str, results: Mapping[str, Any]) -> list[str]:
    """Return what keeps the gateways' answers from being joined, one sentence each.

    Args:
        streams: All streams of the run.
        purpose: open, inbound or outbound.
        results: What the gateways answered to HELLO (in check mode to REQ), by gateway.
    """
    problems = []
    for stream in streams:
        sessions = {role: session_of(results, stream, role) for role in PURPOSES[purpose]}
        producer, consumer = sessions.get("producer"), sessions.get("consumer")
        if producer and consumer:
            try:
                connection_map(producer, consumer)
            except PlanError as error:
                problems.append(f"stream {show(stream.name)}: {error}")
        problems.extend(side_problems(stream, sessions))
    return problems


def releases(streams: Sequence[Stream], gateway: str, uids: Sequence[str], key: bytes | None) -> list[Entry]:
    """Return the REL of a gateway: the roles that it plays in the streams, and every role of the uids.

    Args:
        streams: All streams of the run.
        gateway: The one that is told.
        uids: Further sessions.
        key: The user's, None if there is none; whoever opened a stream can release it without.
    """
    entries: list[Entry] = [{"uid": uid} for uid in uids]
    for stream in streams:
        if stream.uid not in uids:
            entries.extend({"uid": stream.uid, "role": role} for role in roles_at(stream, gateway, "identify"))
    if key is not None:
        for entry in entries:
            entry["secret"] = stream_secret(key, entry["uid"])
    return entries
