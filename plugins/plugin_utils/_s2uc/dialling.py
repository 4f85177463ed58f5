# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams whose producer's gateway connects to the consumer's: its network needs no inbound port."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import parse_endpoints, parse_networks
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Session
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import PURPOSES, Stream

_KEYS = (("producer", "address"), ("consumer", "peer_listeners"))


def peer_listeners(stream: Stream, consumer: Session | None) -> list[str]:
    """Return where the consumer's gateway waits for the producer's. Empty if that is not known."""
    return stream.peer_listeners or [str(item) for item in (consumer or {}).get("peer_listeners") or []]


def peer_clients(stream: Stream, own: Session, producer: Session | None) -> list[str]:
    """Only allow the producer's gateway to connect to the consumer's gateway, if its address is known."""
    if stream.producer_address:
        return stream.producer_address
    egress = (producer or {}).get("peer_egress")
    return [str(ipaddress.ip_network(egress))] if egress else []


def update_options(stream: Stream, role: str, own: Session, other: Session | None) -> dict[str, Any]:
    """Return the options of an UPDATE that say who connects to whom, without those that have no value."""
    if role == "producer":
        found = {"peer_listeners": peer_listeners(stream, other)}
    else:
        found = {"clients": stream.clients, "peer_clients": peer_clients(stream, own, other)}
    return {name: value for name, value in found.items() if value}


def take_addresses(stream: Stream, sides: Mapping[str, Mapping[str, Any]], purpose: str) -> Iterable[str]:
    """Store what a description says about the connection between the gateways, and return what is wrong.

    Args:
        stream: The stream, which is modified.
        sides: Its sides, by role.
        purpose: ``open``, ``inbound`` or ``outbound``.
    """
    if not stream.is_turned:
        for role, key in _KEYS:
            if sides[role].get(key) is not None:
                yield f"{role}.{key}: only valid with 'dial: producer': omit it"
        return
    for role, key in (("producer", "ports"), ("producer", "remote_listeners"), ("consumer", "address")):
        if sides[role].get(key) is not None:
            yield f"{role}.{key}: with 'dial: producer', nothing connects to the producer's gateway: omit it"
    address, waits = sides["producer"].get("address"), sides["consumer"].get("peer_listeners")
    try:
        if address is not None:
            networks = parse_networks("producer.address", [address] if isinstance(address, str) else address)
            stream.producer_address = [str(network) for network in networks]
        if waits is not None and purpose != "inbound":
            yield "consumer.peer_listeners: only valid for stream_inbound, which does not contact the consumer gateway"
        elif waits is not None:
            stream.peer_listeners = [str(endpoint) for endpoint in parse_endpoints("consumer.peer_listeners", waits)]
            if len(stream.peer_listeners) != stream.num_conn:
                yield (
                    f"consumer.peer_listeners: {len(stream.peer_listeners)} for num_conn {stream.num_conn} are not "
                    "allowed: each connection needs one"
                )
    except ValueRefused as error:
        yield str(error)
    if PURPOSES[purpose] == ("consumer",) and stream.encryption == "none" and not stream.producer_address:
        yield (
            "producer.address: it is required without encryption, because the consumer gateway identifies its peer by "
            "address only: specify the address or network from which the producer gateway connects"
        )
