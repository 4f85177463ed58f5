# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts of the reports of streams whose producer's gateway connects to the consumer's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import (
    listed,
    readable,
    targets_with_addresses,
    with_port_ranges,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream

if TYPE_CHECKING:
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.probe_diagnosis import Sides

Session = Mapping[str, Any]


def turned_paths(stream: Stream, producer: Session | None, consumer: Session | None, most: int) -> list[str]:
    """Return one line for each connection, as far as its path is known. Both ends connect to the consumer's gateway.

    Args:
        stream: The stream.
        producer: Session of the producer's gateway, if it is part of this run.
        consumer: Session of the consumer's gateway, if it is part of this run.
        most: Maximum number of lines.
    """
    entrances = list((consumer or {}).get("listeners") or [])
    peers = list((consumer or producer or {}).get("peer_listeners") or [])
    targets = (targets_with_addresses(producer) or stream.producer_listeners if producer else []) or ["its producer"]
    number = len(entrances or peers) or stream.num_conn
    lines = []
    for index in range(min(number, most)):
        entrance = f"consumer connects to {entrances[index]}" if entrances else "consumer"
        peer = peers[index] if index < len(peers) else "a listener that is not known yet"
        target = targets[index % len(targets)]
        lines.append(
            f"{entrance} -> {stream.gateways['consumer']} at {peer} <- {_dialler(stream, producer)} -> "
            + (f"producer {target}" if producer else target)
        )
    return [*lines, f"and {number - most} more; ansible-playbook -v shows all of them"] if number > most else lines


def turned_leg(leg: Stream, sessions: Mapping[str, Session]) -> str:
    """Return who connects to whom in a leg of a stream with many gateways."""
    consumer, producer = sessions["consumer"], sessions["producer"]
    targets = targets_with_addresses(producer) or leg.producer_listeners
    return (
        f"consumer connects to {with_port_ranges(consumer['listeners'])} -> {leg.gateways['consumer']} at "
        f"{with_port_ranges(consumer['peer_listeners'])} <- {_dialler(leg, producer)} -> producer {listed(targets, 2)}"
    )


def _dialler(stream: Stream, producer: Session | None) -> str:
    """Return the producer's gateway, and from where it connects."""
    source = (producer or {}).get("peer_egress")
    return f"{stream.gateways['producer']}" + (f" (source address {source})" if source else "")


def open_to_all(stream: Stream, consumer: Session | None) -> Iterable[str]:
    """Return a warning if anyone may take the place of the producer's gateway."""
    if consumer and not consumer.get("peer_clients"):
        yield (
            f"WARNING: anyone who can reach {stream.gateways['consumer']} can connect in place of "
            f"{stream.gateways['producer']}. Set producer.address, or s2cs_egress and s2cs_clients of the gateways."
        )


def dialled(sides: Sides) -> tuple[str, str]:
    """Return why the producer's gateway has no connection to the consumer's, or else a line about those that it has."""
    producer, consumer = (sides.stream.gateways[role] for role in ("producer", "consumer"))
    known = [sides.session(role).get("dialled") or {} for role in ("producer", "consumer")]
    peers = listed([str(item) for item in sides.session("consumer").get("peer_listeners") or []])
    without = [readable(str(item)) for found in known for item in found.get("without") or []]
    if not without:
        number = known[1].get("waiting")
        return (
            "",
            f"{producer} is connected to {consumer} at {peers}; {number} of its connections wait for applications",
        )
    errors = list(dict.fromkeys(readable(str(found["error"])) for found in known if found.get("error")))
    source = sides.session("producer").get("peer_egress")
    return (
        f"{producer} does not reach {consumer} at {listed(list(dict.fromkeys(without)))}"
        + (f" ({'; '.join(errors)})" if errors else "")
        + f": allow outgoing TCP from {producer}"
        + (f" ({source})" if source else "")
        + f" to these addresses, and incoming TCP at {consumer}; if a translation (NAT) changes its address, set "
        "producer.address in the description"
    ), ""
