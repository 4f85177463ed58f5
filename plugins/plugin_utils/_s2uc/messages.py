# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""REQ, HELLO, UPDATE and REL of one gateway: streams in, the ``sessions`` of one module call out."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import show
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import (
    Results,
    Session,
    key_of,
    moment,
    session_of,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import make_credentials
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import stream_secret
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.pairing import PairingError, connection_map
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import OTHER, PURPOSES, Stream

Entry = dict[str, Any]
Side = tuple[Stream, str]

# How long a session waits for the reply to its ticket, which people hand to each other: as long as its certificate is
# valid where its lifetime has no end.
_REPLY_SECONDS = 365 * 86400


def roles_at(stream: Stream, gateway: str, purpose: str) -> list[str]:
    """Return the roles of a stream that a gateway plays in this run."""
    return [role for role in PURPOSES[purpose] or ROLES if stream.gateways[role] == gateway]


def sides_at(
    streams: Sequence[Stream], gateway: str, purpose: str, without: Iterable[Mapping[str, Any]] = ()
) -> list[Side]:
    """Return the sides of streams that a gateway plays in this run.

    Args:
        streams: All streams of the run.
        gateway: The gateway.
        purpose: What the run is for.
        without: Sessions to exclude.
    """
    left_out: Collection[tuple[str, str]] = {key_of(item) for item in without}
    return [
        (stream, role)
        for stream in streams
        for role in roles_at(stream, gateway, purpose)
        if (stream.uid, role) not in left_out
    ]


def requests(sides: Iterable[Side], key: bytes) -> list[Entry]:
    """Return the REQ of a gateway. What the user did not give is not sent: the gateway's policy decides."""
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
        for option in ("rate", "proxy", "runtime", "transport", "hello_timeout", "lifetime"):
            if getattr(stream, option) is not None:
                entry[option] = getattr(stream, option)
        entries.append(entry)
    return entries


def hellos(sides: Iterable[Side], key: bytes, purpose: str, results: Results) -> list[Entry]:
    """Return the HELLO of a gateway on behalf of the applications; the producer's names where that one listens.

    A gateway that has no key and certificate for the session yet is given some, made here and now: what this returns
    holds private keys.

    Args:
        sides: Those of the gateway.
        key: The user's.
        purpose: open, inbound or outbound.
        results: What the gateways answered to REQ.
    """
    entries = []
    for stream, role in sides:
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


def _end(stream: Stream, session: Session) -> datetime | None:
    """Return when a session ends; in check mode there may be none that shows it."""
    if session.get("ends"):
        return moment(session["ends"]) + timedelta(seconds=1)
    if session.get("state") not in ("reserved", "announced"):
        return moment(session["expires"]) if session.get("expires") else None
    lifetime = session.get("lifetime") or stream.lifetime
    # Times are shown without their fraction of a second.
    return moment(session["created"]) + timedelta(seconds=int(lifetime) + 1) if lifetime else None


def updates(
    sides: Iterable[Side], key: bytes, purpose: str, results: Results, predict: bool = False, probe: bool | None = None
) -> list[Entry]:
    """Return the UPDATE of a gateway: targets from the connection map, clients from the other gateway's answer.

    Args:
        sides: Those of the gateway.
        key: The user's.
        purpose: open, inbound or outbound.
        results: What the gateways answered to HELLO.
        predict: Whether this is check mode, in which no HELLO has announced the listeners of the producer.
        probe: Whether the gateway of the producer looks if its targets answer; None leaves it to the gateway.
    """
    entries = []
    for stream, role in sides:
        sessions = {each: session_of(results, stream, each) for each in PURPOSES[purpose]}
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
        if probe is not None:
            # The consumer gateway's target is the other gateway, which would count the probe as a failed connection.
            entry["probe_targets"] = probe and role == "producer"
        entries.append(entry)
    return entries


def waits_for_reply(stream: Stream, purpose: str, session: Session) -> bool:
    """Tell whether a producer side cannot be finished yet: no reply says whom it may let in, now or earlier."""
    return (
        purpose == "inbound"
        and stream.encryption == "tls"
        and "consumer" not in stream.certificates
        and not session.get("peer_certificate")
    )


def _producer_clients(stream: Stream, own: Session, consumer: Session | None) -> list[str]:
    """Only the consumer gateway may connect to the producer gateway, if its address is known."""
    if stream.consumer_address:
        return stream.consumer_address
    if own.get("peer_certificate") and not consumer and "consumer" not in stream.certificates:
        # A reply said it in an earlier run.
        return [str(network) for network in own.get("clients") or []]
    egress = consumer.get("egress") if consumer is not None else None
    return [str(ipaddress.ip_network(egress))] if egress else []


def _consumer_targets(stream: Stream, consumer: Session, producer: Session | None) -> list[str]:
    if stream.remote_listeners:
        return stream.remote_listeners
    if not producer:
        raise PairingError(f"stream {show(stream.name)}: its producer gateway did not answer")
    return [row["producer_listener"] for row in connection_map(producer, consumer)]


def releases(streams: Sequence[Stream], gateway: str, uids: Sequence[str], key: bytes | None) -> list[Entry]:
    """Return the REL of a gateway: the roles that it plays in the streams, and every role of the uids.

    Args:
        streams: All streams of the run.
        gateway: The gateway.
        uids: Further sessions.
        key: The user's key, or None. The user who opened a stream can release it without a key.
    """
    entries: list[Entry] = [{"uid": uid} for uid in uids]
    sides = sides_at([stream for stream in streams if stream.uid not in uids], gateway, "identify")
    entries.extend({"uid": stream.uid, "role": role} for stream, role in sides)
    if key is not None:
        for entry in entries:
            entry["secret"] = stream_secret(key, entry["uid"])
    return entries
