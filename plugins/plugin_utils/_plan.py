# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each gateway is told: streams in, the ``sessions`` of one module call out."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import ScistreamError, show
from ansible_collections.scistream.gateway.plugins.plugin_utils._key import gateway_key, stream_secret
from ansible_collections.scistream.gateway.plugins.plugin_utils._streams import PURPOSES, ROLES, Stream

Entry = dict[str, Any]


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


def session_of(results: Mapping[str, Any], gateway: str, uid: str, role: str) -> Mapping[str, Any] | None:
    """Return a session from what the modules answered, ``results`` being their results by gateway."""
    answer = results.get(gateway)
    sessions = answer.get("sessions") if isinstance(answer, Mapping) else None
    for session in sessions or []:
        if session.get("uid") == uid and session.get("role") == role:
            found: Mapping[str, Any] = session
            return found
    return None


def new_sessions(answer: Any) -> list[Entry]:
    """Return the sessions that a REQ made, from what its module answered; not those that it found and repaired."""
    if not isinstance(answer, Mapping):
        return []
    made = [
        {"uid": session["uid"], "role": session["role"]}
        for session in answer.get("sessions") or []
        if session.get("state") == "reserved"
    ]
    changed = answer.get("changed_sessions") or []
    return [session for session in made if session in changed]


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
            for option in ("rate", "proxy", "runtime", "transport", "hello_timeout"):
                if getattr(stream, option) is not None:
                    entry[option] = getattr(stream, option)
            entries.append(entry)
    return entries


def hellos(streams: Sequence[Stream], gateway: str, purpose: str, key: bytes) -> list[Entry]:
    """Return the HELLO of a gateway, said for the applications; the producer's names where that one listens."""
    entries = []
    for stream in streams:
        for role in roles_at(stream, gateway, purpose):
            entry: Entry = {"uid": stream.uid, "role": role, "secret": stream_secret(key, stream.uid)}
            if role == "producer":
                entry["producer_listeners"] = stream.producer_listeners
            entries.append(entry)
    return entries


def updates(
    streams: Sequence[Stream], gateway: str, purpose: str, results: Mapping[str, Any], key: Callable[[], bytes]
) -> list[Entry]:
    """Return the UPDATE of a gateway: targets from the connection map, clients from the other gateway's answer.

    Args:
        streams: All streams of the run.
        gateway: The one that is told.
        purpose: open, inbound or outbound.
        results: What the gateways answered to HELLO, by gateway.
        key: Returns the user's key; asked only where a stream is encrypted.
    """
    entries = []
    for stream in streams:
        sessions = {role: session_of(results, stream.gateways[role], stream.uid, role) for role in PURPOSES[purpose]}
        for role in roles_at(stream, gateway, purpose):
            entry: Entry = {"uid": stream.uid, "role": role}
            producer, consumer = sessions.get("producer"), sessions.get("consumer")
            if role == "producer":
                # Its targets are what its application announced in the HELLO; the gateway deals them out in turn.
                entry["clients"] = _producer_clients(stream, consumer)
            else:
                entry["remote_listeners"] = _consumer_targets(stream, producer, consumer)
                entry["clients"] = stream.clients
            if not entry["clients"]:
                del entry["clients"]
            if stream.encryption == "tls":
                entry["psk"] = gateway_key(key(), stream.uid)
            entries.append(entry)
    return entries


def _producer_clients(stream: Stream, consumer: Mapping[str, Any] | None) -> list[str]:
    """Only the consumer gateway may connect to the producer gateway, if its address is known."""
    if stream.consumer_address:
        return stream.consumer_address
    egress = consumer.get("egress") if consumer is not None else None
    return [str(ipaddress.ip_network(egress))] if egress else []


def _consumer_targets(
    stream: Stream, producer: Mapping[str, Any] | None, consumer: Mapping[str, Any] | None
) -> list[str]:
    if producer is None:
        if len(stream.remote_listeners) != stream.num_conn:
            raise PlanError(
                f"stream {show(stream.name)}: producer.remote_listeners has {len(stream.remote_listeners)} "
                f"for num_conn {stream.num_conn}; each connection needs one"
            )
        return stream.remote_listeners
    try:
        return [row["producer_listener"] for row in connection_map(producer, consumer)]
    except PlanError as error:
        raise PlanError(f"stream {show(stream.name)}: {error}") from None


def releases(streams: Sequence[Stream], gateway: str, uids: Sequence[str]) -> list[Entry]:
    """Return the REL of a gateway: the roles that it plays in the streams, and every role of the uids."""
    entries: list[Entry] = [{"uid": uid} for uid in uids]
    for stream in streams:
        if stream.uid not in uids:
            entries.extend({"uid": stream.uid, "role": role} for role in roles_at(stream, gateway, "identify"))
    return entries
