# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The messages REQ, HELLO, UPDATE, REL and DROP to one gateway, as the option ``sessions`` of the modules."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import (
    MAX_HELLO_TIMEOUT,
    ROLES,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import (
    Results,
    Session,
    parse_time,
    session_key,
    session_of,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import stream_secret
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import OTHER_ROLE, PURPOSES, Stream

Entry = dict[str, Any]
Side = tuple[Stream, str]

# Time to wait for the reply to a ticket, which people exchange: the validity of a certificate of an unlimited session.
_REPLY_SECONDS = 365 * 86400
#: Time for the UPDATE after the last moment for the HELLO of an application.
_AFTER_HELLO = 180


def roles_at(stream: Stream, gateway: str, purpose: str) -> list[str]:
    """Return the roles that a gateway has in a stream of this run."""
    if stream.deal:
        raise ScistreamError(
            f"stream {show(stream.name)}: it has many gateways: run stream_deal after the message info"
        )
    return [role for role in PURPOSES[purpose] or ROLES if stream.gateways[role] == gateway]


def sides_at(
    streams: Sequence[Stream], gateway: str, purpose: str, without: Iterable[Mapping[str, Any]] = ()
) -> list[Side]:
    """Return the sides of streams that belong to a gateway in this run.

    Args:
        streams: All streams of the run.
        gateway: Name of the gateway.
        purpose: Purpose of the run.
        without: Sessions to exclude.
    """
    left_out: Collection[tuple[str, str]] = {session_key(item) for item in without}
    return [
        (stream, role)
        for stream in streams
        for role in roles_at(stream, gateway, purpose)
        if (stream.uid, role) not in left_out
    ]


def requests(sides: Iterable[Side], key: bytes) -> list[Entry]:
    """Return the sessions of a REQ. Omitted parameters are not sent, so that the policy of the gateway applies."""
    entries = []
    for stream, role in sides:
        entry: Entry = {
            "uid": stream.uid,
            "role": role,
            "num_conn": stream.num_conn,
            "encryption": stream.encryption,
            "labels": stream.labels,
            "secret": stream_secret(key, stream.uid),
        }
        if stream.is_turned:
            # Gateways with earlier versions do not know the option.
            entry["dial"] = stream.dial
        if stream.ports.get(role):
            entry["ports"] = stream.ports[role]
        for option in ("rate", "rtt", "proxy", "runtime", "transport", "hello_timeout", "lifetime"):
            if getattr(stream, option) is not None:
                entry[option] = getattr(stream, option)
        entry.update(stream.probe.get(role, {}))
        entries.append(entry)
    return entries


def hellos(sides: Iterable[Side], key: bytes, purpose: str, results: Results) -> list[Entry]:
    """Return the sessions of a HELLO on behalf of the applications.

    Sessions without a certificate get a new key and certificate, so the result contains private keys.

    Args:
        sides: Sides of the gateway.
        key: The user's key.
        purpose: ``open``, ``inbound`` or ``outbound``.
        results: Answers of the gateways to REQ.
    """
    entries = []
    for stream, role in sides:
        entry: Entry = {"uid": stream.uid, "role": role, "secret": stream_secret(key, stream.uid)}
        if stream.waits_for_hello:
            entry.update(_waiting(stream, role, results))
        elif role == "producer":
            entry["producer_listeners"] = stream.producer_listeners
        if purpose == "inbound" and (stream.encryption == "tls" or stream.is_turned):
            entry["update_timeout"] = _REPLY_SECONDS
        session = session_of(results, stream, role)
        if stream.encryption == "tls" and session is not None and not session.get("certificate"):
            # The package cryptography is only loaded where keys are made.
            from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import make_credentials

            made = make_credentials(stream.uid, role, _session_end(stream, session))
            entry.update(certificate=made.certificate, key=made.key)
        entries.append(entry)
    return entries


def settled(sides: Iterable[Side], results: Results) -> list[Side]:
    """Return the sides of streams that a HELLO of this run would not change. UPDATE checks their targets again.

    Args:
        sides: Sides of the gateway.
        results: Answers of the gateways to REQ.
    """
    found = []
    for stream, role in sides:
        session = session_of(results, stream, role) or {}
        announced = role == "consumer" or session.get("producer_listeners") == stream.producer_listeners
        secured = stream.encryption != "tls" or session.get("certificate")
        if session.get("state") == "streaming" and announced and secured and not stream.waits_for_hello:
            found.append((stream, role))
    return found


def announcements(
    streams: Sequence[Stream],
    uids: Iterable[str],
    gateway: str,
    listeners: Sequence[str],
    secret: Callable[[str], str],
    answer: Mapping[str, Any],
) -> list[Entry]:
    """Return the sessions of a HELLO that announces producer applications.

    Args:
        streams: Described streams.
        uids: Uids of other streams.
        gateway: Name of the gateway.
        listeners: Where the application listens, if that is not described.
        secret: Returns the secret of a stream.
        answer: Answer of the gateway to s2cs_info.
    """
    here = [
        (stream.uid, list(listeners) or stream.producer_listeners)
        for stream, _role in sides_at(streams, gateway, "hello")
    ]
    known = set(map(session_key, answer.get("sessions") or []))
    here += [(uid, list(listeners)) for uid in uids if (uid, "producer") in known]
    return [{"uid": uid, "role": "producer", "producer_listeners": found, "secret": secret(uid)} for uid, found in here]


def _waiting(stream: Stream, role: str, results: Results) -> Entry:
    """Return the options of a HELLO before which, on the producer's side, the application has to announce itself.

    The consumer's side expires later than the producer's, so that it is still there when that time is over.
    """
    if role == "producer":
        return {"announce": False}
    session = session_of(results, stream, "producer") or {}
    if session.get("state") != "reserved" or not session.get("expires") or not session.get("created"):
        return {}
    patience = (parse_time(session["expires"]) - parse_time(session["created"])).total_seconds()
    return {"update_timeout": _AFTER_HELLO + max(0, min(int(patience), MAX_HELLO_TIMEOUT))}


def _session_end(stream: Stream, session: Session) -> datetime | None:
    """Return the end of a session, None if it is unlimited or, in check mode, not known."""
    if session.get("ends"):
        return parse_time(session["ends"]) + timedelta(seconds=1)
    if session.get("state") not in ("reserved", "announced"):
        return parse_time(session["expires"]) if session.get("expires") else None
    lifetime = session.get("lifetime") or stream.lifetime
    # Gateways return times without fractions of a second.
    return parse_time(session["created"]) + timedelta(seconds=int(lifetime) + 1) if lifetime else None


def updates(
    sides: Iterable[Side], key: bytes, purpose: str, results: Results, predict: bool = False, probe: bool | None = None
) -> list[Entry]:
    """Return the sessions of an UPDATE: targets from the connection map, clients from the other gateway's answer.

    Args:
        sides: Sides of the gateway.
        key: The user's key.
        purpose: ``open``, ``inbound`` or ``outbound``.
        results: Answers of the gateways to HELLO.
        predict: Whether this is check mode, in which no HELLO announces the listeners of the producer application.
        probe: Whether the producer's gateway probes its targets. If None, the gateway's default applies.
    """
    entries = []
    for stream, role in sides:
        sessions = {each: session_of(results, stream, each) for each in PURPOSES[purpose]}
        own, other = sessions[role] or {}, sessions.get(OTHER_ROLE[role])
        if waits_for_reply(stream, purpose, own):
            continue
        entry: Entry = {"uid": stream.uid, "role": role, "secret": stream_secret(key, stream.uid)}
        if role == "producer":
            # The HELLO announced the targets, which the gateway assigns to listeners round robin.
            if predict and not stream.probe and not stream.waits_for_hello:
                entry["remote_listeners"] = stream.producer_listeners
        elif not stream.is_turned:
            entry["remote_listeners"] = _consumer_targets(stream, own, other)
        if stream.is_turned:
            from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.dialling import update_options

            entry.update(update_options(stream, role, own, other))
        else:
            clients = producer_clients(stream, own, other) if role == "producer" else stream.clients
            entry.update({"clients": clients} if clients else {})
        if stream.probe:
            entry["probe"] = True
        if stream.encryption == "tls":
            # If the certificate of the other gateway is not known, the session keeps the current one.
            certificate = stream.certificates.get(OTHER_ROLE[role]) or (other or {}).get("certificate")
            if certificate:
                entry["peer_certificate"] = certificate
        if probe is not None:
            # The consumer's gateway would probe the other gateway, which counts a probe as a failed connection.
            entry["probe_targets"] = probe and role == "producer"
        entries.append(entry)
    return entries


def waits_for_reply(stream: Stream, purpose: str, session: Session) -> bool:
    """Return whether a producer side waits for the reply that contains what it must know of the consumer's gateway."""
    if purpose != "inbound":
        return False
    if stream.is_turned and not stream.peer_listeners and not session.get("peer_listeners"):
        return True
    return stream.encryption == "tls" and "consumer" not in stream.certificates and not session.get("peer_certificate")


def producer_clients(stream: Stream, own: Session, consumer: Session | None) -> list[str]:
    """Only allow the consumer's gateway to connect to the producer's gateway, if its address is known."""
    if stream.consumer_address:
        return stream.consumer_address
    if own.get("peer_certificate") and not consumer and "consumer" not in stream.certificates:
        # The reply of an earlier run set them.
        return [str(network) for network in own.get("clients") or []]
    egress = consumer.get("egress") if consumer is not None else None
    return [str(ipaddress.ip_network(egress))] if egress else []


def _consumer_targets(stream: Stream, consumer: Session, producer: Session | None) -> list[str]:
    if stream.remote_listeners:
        return stream.remote_listeners
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.pairing import PairingError, connection_map

    if not producer:
        raise PairingError(f"stream {show(stream.name)}: the gateway of its producer did not answer")
    return [row["producer_listener"] for row in connection_map(producer, consumer)]


def releases(streams: Sequence[Stream], gateway: str, uids: Sequence[str], key: bytes | None) -> list[Entry]:
    """Return the sessions of a REL: the roles of the gateway in the streams, and all roles of the uids.

    Args:
        streams: All streams of the run.
        gateway: Name of the gateway.
        uids: Uids of further sessions.
        key: The user's key, or None. The user who opened a stream can release it without a key.
    """
    entries: list[Entry] = [{"uid": uid} for uid in uids]
    sides = sides_at([stream for stream in streams if stream.uid not in uids], gateway, "identify")
    entries.extend({"uid": stream.uid, "role": role} for stream, role in sides)
    if key is not None:
        for entry in entries:
            entry["secret"] = stream_secret(key, entry["uid"])
    return entries


def planned_releases(releases: Iterable[Mapping[str, Any]], gateway: str, key: bytes | None) -> list[Entry]:
    """Return the sessions of a REL in a plan that compares gateways with a description.

    Other sessions than the described ones are released by their owner, without a secret: a gateway must not be able to
    ask for the secrets of streams of other gateways.

    Args:
        releases: Sessions of the plan.
        gateway: Name of the gateway.
        key: The user's key, or None.
    """
    entries: list[Entry] = []
    for item in releases:
        if item["gateway"] == gateway:
            secret = {"secret": stream_secret(key, item["uid"])} if key is not None and item["described"] else {}
            entries.append({"uid": item["uid"], "role": item["role"], **secret})
    return entries


def drops(answer: Mapping[str, Any], requested: Iterable[Entry]) -> list[Entry]:
    """Return the sessions of a DROP: those of the requested ones that the gateway has, and that can have connections.

    Args:
        answer: Answer of the gateway to s2cs_info.
        requested: Sessions as ``releases`` returns them.
    """
    streaming = [session_key(item) for item in answer.get("sessions") or [] if item.get("state") == "streaming"]
    return [
        {**entry, "role": role}
        for entry in requested
        for role in ([entry["role"]] if "role" in entry else ROLES)
        if (entry["uid"], role) in streaming
    ]
