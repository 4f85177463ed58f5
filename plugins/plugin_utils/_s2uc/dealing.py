# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dealing of the connections of a stream out over many gateways.

A leg is a part of the connections, with one gateway on each side. Legs that exist are kept: what is dealt are the sides
that legs lack, and the connections that are in no leg.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES


@dataclass
class Leg:
    """A part of the connections of a stream.

    Attributes:
        number: Its number, from 1. It never changes.
        connections: Number of its connections.
        gateways: Its gateway of each role. A role is missing if its gateway is to be dealt.
        listeners: The listeners of the producer application that it leads to, in turn.
    """

    number: int
    connections: int
    gateways: dict[str, str] = field(default_factory=dict)
    listeners: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Member:
    """A gateway over which connections are dealt.

    Attributes:
        name: Its name.
        weight: Its share, in relation to those of others. With 0, it takes no part.
        used: Number of connections that it has already for other streams, as far as these count.
    """

    name: str
    weight: int = 1
    used: int = 0


class Hand:
    """The members of one side, and what they have.

    Args:
        members: The members, in order.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = [member for member in members if member.weight > 0]
        self._has = {member.name: member.used for member in self._members}

    def __bool__(self) -> bool:
        return bool(self._members)

    def give(self, name: str, connections: int) -> None:
        """Note that a member has connections. Others than the members are ignored."""
        if name in self._has:
            self._has[name] += connections

    def take(self, connections: int = 1) -> str:
        """Choose the member that has the fewest connections afterwards, in relation to its weight."""
        best = min(self._members, key=lambda member: (self._has[member.name] + connections) / member.weight)
        self._has[best.name] += connections
        return best.name

    def shares(self, connections: int) -> list[tuple[str, int]]:
        """Deal connections, and return the number of each member that gets any, in the order of the members."""
        found = dict.fromkeys((member.name for member in self._members), 0)
        for _connection in range(connections):
            found[self.take()] += 1
        return [(name, number) for name, number in found.items() if number]


def paired(producers: Iterable[tuple[str, int]], consumers: Iterable[tuple[str, int]]) -> list[tuple[str, str, int]]:
    """Pair the shares of both sides, in fewer pairs than there are members on both sides together."""
    left, right = list(producers), list(consumers)
    pairs = []
    while left and right:
        (producer, one), (consumer, other) = left[0], right[0]
        number = min(one, other)
        pairs.append((producer, consumer, number))
        left[:1] = [(producer, one - number)] if one > number else []
        right[:1] = [(consumer, other - number)] if other > number else []
    return pairs


def deal(legs: Sequence[Leg], num_conn: int, members: Mapping[str, Sequence[Member]], new: bool = True) -> list[Leg]:
    """Return the legs of a stream.

    Args:
        legs: Legs that exist, without the gateways that they can no longer have.
        num_conn: Number of connections of the stream.
        members: Members of each role.
        new: Whether to deal connections that are in no leg.

    Returns:
        The legs by number. Those that exist have fewer connections, or none, if the stream has fewer than they have.
    """
    legs = sorted(legs, key=lambda leg: leg.number)
    if legs and new:
        # Of a run that opens the stream at this moment, only some legs are there. It must not be contradicted.
        whole, known = deal([], num_conn, members), {leg.number: leg for leg in legs}
        if _is_part(known, {leg.number: leg for leg in whole}):
            return [
                replace(leg, listeners=known[leg.number].listeners) if leg.number in known else leg for leg in whole
            ]
    hands = {role: Hand(members[role]) for role in ROLES}
    for leg in legs:
        for role, name in leg.gateways.items():
            hands[role].give(name, leg.connections)
    # The largest ones first, as the others can then even out what these cannot.
    for leg in sorted(legs, key=lambda leg: -leg.connections):
        for role in ROLES:
            if role not in leg.gateways:
                leg.gateways[role] = hands[role].take(leg.connections)
    missing = num_conn - sum(leg.connections for leg in legs)
    for leg in reversed(legs):
        fewer = min(leg.connections, max(0, -missing))
        leg.connections -= fewer
        missing += fewer
    if missing > 0 and new:
        numbers = (
            number for number in range(1, num_conn + len(legs) + 1) if number not in {leg.number for leg in legs}
        )
        shares = (hands[role].shares(missing) for role in ROLES)
        legs += [
            Leg(number, connections, {"producer": producer, "consumer": consumer})
            for number, (producer, consumer, connections) in zip(numbers, paired(*shares), strict=False)
        ]
    return sorted(legs, key=lambda leg: leg.number)


def _is_part(legs: Mapping[int, Leg], whole: Mapping[int, Leg]) -> bool:
    """Return whether legs are some of those that would be dealt if there were none."""
    return legs.keys() <= whole.keys() and all(
        leg.connections == whole[number].connections and leg.gateways.items() <= whole[number].gateways.items()
        for number, leg in legs.items()
    )


def deal_listeners(legs: Sequence[Leg], listeners: Sequence[str]) -> None:
    """Assign the listeners of the producer application to the connections of all legs in turn.

    Legs keep theirs, unless these are no longer described, or others are left without any connection.
    """
    number = sum(leg.connections for leg in legs)
    kept = [leg for leg in legs if _is_right(leg, listeners)]
    _assign([leg for leg in legs if leg not in kept], listeners, _used(kept, listeners))
    if number >= len(listeners) and not all(_used(legs, listeners).values()):
        _assign(legs, listeners, dict.fromkeys(listeners, 0))


def _is_right(leg: Leg, listeners: Sequence[str]) -> bool:
    number = min(leg.connections, len(listeners))
    return len(leg.listeners) == number and set(leg.listeners) <= set(listeners)


def _used(legs: Sequence[Leg], listeners: Sequence[str]) -> dict[str, int]:
    used = dict.fromkeys(listeners, 0)
    for leg in legs:
        for connection in range(leg.connections if leg.listeners else 0):
            used[leg.listeners[connection % len(leg.listeners)]] += 1
    return used


def _assign(legs: Sequence[Leg], listeners: Sequence[str], used: dict[str, int]) -> None:
    heap = [(used[listener], index) for index, listener in enumerate(listeners)]
    heapq.heapify(heap)
    taken: list[set[int]] = [set() for _leg in legs]
    for leg in legs:
        leg.listeners = []
    for number in range(max((leg.connections for leg in legs), default=0)):
        for leg, has in zip(legs, taken, strict=True):
            if number < min(leg.connections, len(listeners)):
                # Each one once, as a gateway assigns them to its listeners in turn.
                others = []
                while heap[0][1] in has:
                    others.append(heapq.heappop(heap))
                count, index = heap[0]
                # Later connections of the leg have the same ones again.
                again = len(range(number, leg.connections, len(listeners)))
                heapq.heapreplace(heap, (count + again, index))
                for item in others:
                    heapq.heappush(heap, item)
                has.add(index)
                leg.listeners.append(listeners[index])


def interleaved(parts: Sequence[Sequence[str]]) -> list[str]:
    """Return the first item of each part, then the second ones, so that the first items are on different gateways."""
    return [part[index] for index in range(max(map(len, parts), default=0)) for part in parts if index < len(part)]
