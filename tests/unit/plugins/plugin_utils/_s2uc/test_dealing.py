# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How connections are dealt out over gateways, and paired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.dealing import (
    Hand,
    Leg,
    Member,
    deal,
    deal_listeners,
    interleaved,
    paired,
)


def members(producers: str, consumers: str) -> dict[str, list[Member]]:
    """Return members with names of one letter."""
    return {"producer": [Member(name) for name in producers], "consumer": [Member(name) for name in consumers]}


def told(legs: Sequence[Leg]) -> list[str]:
    """Return legs in short, as number:connections:gateways."""
    return [f"{leg.number}:{leg.connections}:{leg.gateways['producer']}{leg.gateways['consumer']}" for leg in legs]


@pytest.mark.parametrize(
    ("weights", "used", "connections", "shares"),
    [
        ([1, 1, 1], [0, 0, 0], 9, [3, 3, 3]),
        ([1, 1, 1], [0, 0, 0], 8, [3, 3, 2]),
        ([1, 1, 1], [0, 0, 0], 2, [1, 1, 0]),
        ([2, 1, 1], [0, 0, 0], 8, [4, 2, 2]),
        ([0, 1, 3], [0, 0, 0], 8, [0, 2, 6]),
        ([1000, 1, 0], [0, 0, 0], 3, [3, 0, 0]),
        ([1, 1, 1], [6, 0, 2], 7, [0, 5, 2]),
        ([1, 1, 1], [50, 50, 50], 4, [2, 1, 1]),
    ],
)
def test_shares(weights: list[int], used: list[int], connections: int, shares: list[int]) -> None:
    hand = Hand([Member(name, *values) for name, *values in zip("abc", weights, used, strict=True)])
    assert hand.shares(connections) == [(name, share) for name, share in zip("abc", shares, strict=True) if share]


def test_eight_gateways_a_side_make_eight_legs() -> None:
    legs = deal([], 64, members("abcdefgh", "ijklmnop"))
    assert told(legs) == [f"{n}:8:{a}{b}" for n, (a, b) in enumerate(zip("abcdefgh", "ijklmnop", strict=True), 1)]


@pytest.mark.parametrize(("producers", "consumers", "number"), [("ab", "cd", 4), ("abc", "xy", 7), ("a", "wxyz", 4)])
def test_a_run_that_sees_some_of_what_another_one_deals_deals_the_same(
    producers: str, consumers: str, number: int
) -> None:
    whole = deal([], number, members(producers, consumers))
    sides = [(leg.number, role) for leg in whole for role in leg.gateways]
    for chosen in range(1 << len(sides)):
        seen = [side for index, side in enumerate(sides) if chosen >> index & 1]
        legs = [
            Leg(leg.number, leg.connections, gateways, ["10.1.0.5:7000"])
            for leg in whole
            if (gateways := {role: name for role, name in leg.gateways.items() if (leg.number, role) in seen})
        ]
        there = {leg.number for leg in legs}
        found = deal(legs, number, members(producers, consumers))
        assert told(found) == told(whole), seen
        assert {leg.number for leg in found if leg.listeners} == there


def test_sides_of_different_sizes_make_few_legs() -> None:
    assert paired([("a", 5), ("b", 5)], [("x", 4), ("y", 3), ("z", 3)]) == [
        ("a", "x", 4),
        ("a", "y", 1),
        ("b", "y", 2),
        ("b", "z", 3),
    ]
    for left in range(1, 9):
        for right in range(1, 9):
            legs = deal([], 64, members("abcdefgh"[:left], "ijklmnop"[:right]))
            assert sum(leg.connections for leg in legs) == 64
            assert len(legs) < left + right
            for role in ("producer", "consumer"):
                counts = Counter[str]()
                for leg in legs:
                    counts[leg.gateways[role]] += leg.connections
                assert max(counts.values()) - min(counts.values()) <= 1


def test_fewer_connections_than_gateways() -> None:
    assert told(deal([], 2, members("abcd", "wxyz"))) == ["1:1:aw", "2:1:bx"]


def test_what_exists_is_kept_whatever_the_order() -> None:
    legs = deal([], 10, members("abc", "xy"))
    before = told(legs)
    assert told(deal(legs, 10, members("cba", "yx"))) == before
    assert told(deal(legs, 10, members("dcba", "zyx"))) == before


def test_a_lost_side_goes_to_the_gateway_that_has_the_fewest() -> None:
    legs = deal([], 10, members("abc", "xy"))
    assert told(legs) == ["1:4:ax", "2:1:bx", "3:2:by", "4:3:cy"]
    del legs[3].gateways["producer"]
    # b has 3 and a has 4.
    assert told(deal(legs, 10, members("ab", "xy"))) == ["1:4:ax", "2:1:bx", "3:2:by", "4:3:by"]


def test_legs_that_were_lost_altogether_are_dealt_again() -> None:
    legs = deal([], 8, members("abcd", "wxyz"))
    assert told(deal([legs[0], *legs[2:]], 8, members("acd", "wyz"))) == [
        "1:2:aw",
        "2:1:aw",
        "3:2:cy",
        "4:2:dz",
        "5:1:cy",
    ]


def test_the_rest_may_be_on_gateways_that_do_not_answer() -> None:
    legs = deal([], 8, members("abcd", "wxyz"))
    assert told(deal(legs[:2], 8, members("ab", "wx"), new=False)) == ["1:2:aw", "2:2:bx"]


def test_more_connections_are_added_and_fewer_are_taken_from_the_last_legs() -> None:
    legs = deal([], 4, members("ab", "xy"))
    assert told(legs) == ["1:2:ax", "2:2:by"]
    legs = deal(legs, 7, members("ab", "xy"))
    assert told(legs) == ["1:2:ax", "2:2:by", "3:2:ax", "4:1:by"]
    assert told(deal(legs, 3, members("ab", "xy"))) == ["1:2:ax", "2:1:by", "3:0:ax", "4:0:by"]


def test_one_gateway_a_side() -> None:
    assert told(deal([], 5, members("a", "x"))) == ["1:5:ax"]


def counts(legs: Sequence[Leg]) -> Counter[str]:
    """Return how many connections lead to each producer listener."""
    found = Counter[str]()
    for leg in legs:
        found.update(leg.listeners[index % len(leg.listeners)] for index in range(leg.connections))
    return found


@pytest.mark.parametrize("number", [1, 2, 3, 7, 8, 60, 64])
def test_listeners_are_dealt_evenly_and_each_leg_has_one_once(number: int) -> None:
    legs = deal([], 64, members("abcdefgh", "ijklm"))
    listeners = [f"10.1.0.5:{port}" for port in range(7000, 7000 + number)]
    deal_listeners(legs, listeners)
    found = counts(legs)
    assert set(found) == set(listeners)
    assert max(found.values()) - min(found.values()) <= len(legs)
    assert all(len(set(leg.listeners)) == len(leg.listeners) for leg in legs)
    before = [list(leg.listeners) for leg in legs]
    deal_listeners(legs, listeners[::-1])
    assert [leg.listeners for leg in legs] == before


def test_a_listener_for_each_connection() -> None:
    legs = deal([], 6, members("abc", "xyz"))
    deal_listeners(legs, list("ABCDEF"))
    assert [leg.listeners for leg in legs] == [["A", "D"], ["B", "E"], ["C", "F"]]
    # The application connects to the gateways in turn, and gets the listeners in order.
    assert interleaved([leg.listeners for leg in legs]) == list("ABCDEF")


def test_only_legs_whose_listeners_are_gone_get_others() -> None:
    legs = deal([], 6, members("abc", "xyz"))
    deal_listeners(legs, list("ABCDEF"))
    deal_listeners(legs, list("ABCDEG"))
    assert [leg.listeners for leg in legs] == [["A", "D"], ["B", "E"], ["C", "G"]]


def test_a_new_listener_gets_connections() -> None:
    legs = deal([], 6, members("abc", "xyz"))
    deal_listeners(legs, list("AB"))
    deal_listeners(legs, list("ABC"))
    assert set(counts(legs)) == set("ABC")


def test_many_connections_are_dealt_quickly() -> None:
    legs = deal([], 8192, members("abcdefgh", "ijklmnop"))
    deal_listeners(legs, [str(number) for number in range(8192)])
    assert set(counts(legs).values()) == {1}
