# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a connection carries over a long path."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.path_capacity import (
    MAX_WINDOW,
    RECEIVING,
    SENDING,
    WINDOW,
    Buffers,
    check_rtt,
    show_rtt,
    slower,
)


@pytest.mark.parametrize(
    ("given", "milliseconds"),
    [("100ms", 100.0), ("0.2s", 200.0), ("250 us", 0.25), ("10us", 0.01), ("10s", 10_000.0), ("", None), (None, None)],
)
def test_round_trips(given: Any, milliseconds: float | None) -> None:
    assert check_rtt("rtt", given) == milliseconds


@pytest.mark.parametrize("given", ["100", 100, "9us", "11s", "-1ms", "1e3ms", "ms", "1m", True, ["1ms"], "\u0661ms"])
def test_refused_round_trips(given: Any) -> None:
    with pytest.raises(ValueRefused, match=r"rtt: .*such as 100ms, from 10us to 10s"):
        check_rtt("rtt", given)


@pytest.mark.parametrize("rtt", [0.01, 0.25, 100.0, 123.456, 10_000.0])
def test_a_round_trip_is_shown_as_it_is_read(rtt: float) -> None:
    assert check_rtt("rtt", show_rtt(rtt)) == rtt


def test_each_direction_is_limited_by_its_own_buffer() -> None:
    found = Buffers(receive=32 << 20, send=12 << 20).carries(100)
    assert found == {
        "rtt": 100,
        "sending": (8 << 20) * 80,
        "sending_limit": SENDING,
        "receiving": (16 << 20) * 80,
        "receiving_limit": RECEIVING,
    }


def test_no_window_is_larger_than_that_of_tcp() -> None:
    found = Buffers(receive=1 << 32, send=1 << 32).carries(1000)
    assert (found["sending"], found["sending_limit"]) == (MAX_WINDOW * 8, WINDOW)
    assert (found["receiving"], found["receiving_limit"]) == (MAX_WINDOW * 8, WINDOW)


def test_twice_the_round_trip_is_half_the_rate() -> None:
    buffers = Buffers(64 << 20, 64 << 20, 0.75)
    assert buffers.carries(50)["receiving"] == 2 * buffers.carries(100)["receiving"]


def test_the_slower_end_decides() -> None:
    large, small = Buffers(64 << 20, 64 << 20).carries(100), Buffers(8 << 20, 8 << 20).carries(100)
    assert slower(small, large) == (small["sending"], SENDING, True)
    assert slower(large, small) == (small["receiving"], RECEIVING, False)
    assert slower(large, None) == (large["sending"], SENDING, True)
    assert slower(None, None) is None
