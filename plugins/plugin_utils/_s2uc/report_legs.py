# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The paths of the legs of a stream with many gateways, for reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import (
    listed,
    targets_with_addresses,
    with_port_ranges,
)
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
    if leg.is_turned:
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_dialling import turned_leg

        return turned_leg(leg, sessions)
    consumer, producer = sessions["consumer"], sessions["producer"]
    egress = f", source address {consumer['egress']}" if consumer.get("egress") else ""
    targets = targets_with_addresses(producer) or leg.producer_listeners
    return " -> ".join(
        (
            f"consumer connects to {with_port_ranges(consumer['listeners'])} ({leg.gateways['consumer']}{egress})",
            f"{with_port_ranges(producer['listeners'])} ({leg.gateways['producer']})",
            f"producer {listed(targets, 2)}",
        )
    )
