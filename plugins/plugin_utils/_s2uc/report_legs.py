# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The paths of the legs of a stream with many gateways, for reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import listed, targets_with_addresses
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream


def gateways_of(legs: Sequence[Stream], role: str) -> list[str]:
    """Return the gateways of one side of a stream, in the order of its legs."""
    return list(dict.fromkeys(leg.gateways[role] for leg in legs))


def number_of_gateways(legs: Sequence[Stream]) -> str:
    """Return how many gateways a stream has on each side."""
    numbers = {role: len(gateways_of(legs, role)) for role in ("producer", "consumer")}
    return f"over {numbers['producer']} producer and {numbers['consumer']} consumer gateways"


def leg_path(leg: Stream, sessions: Mapping[str, Mapping[str, Any]]) -> str:
    """Return who connects to whom in a leg.

    Args:
        leg: The leg.
        sessions: Its sessions, by role.
    """
    consumer, producer = sessions["consumer"], sessions["producer"]
    egress = f", source address {consumer['egress']}" if consumer.get("egress") else ""
    targets = targets_with_addresses(producer) or leg.producer_listeners
    return " -> ".join(
        (
            f"consumer connects to {_addresses(consumer['listeners'])} ({leg.gateways['consumer']}{egress})",
            f"{_addresses(producer['listeners'])} ({leg.gateways['producer']})",
            f"producer {listed(targets, 2)}",
        )
    )


def _addresses(listeners: Sequence[str]) -> str:
    """Return listeners of one address, with ranges of ports."""
    address = listeners[0].rpartition(":")[0]
    ranges: list[list[int]] = []
    for listener in listeners:
        host, _colon, port = listener.rpartition(":")
        if host != address:
            return listed(listeners)
        if ranges and int(port) == ranges[-1][1] + 1:
            ranges[-1][1] += 1
        else:
            ranges.append([int(port), int(port)])
    return f"{address}:{listed([str(low) if low == high else f'{low}-{high}' for low, high in ranges])}"
