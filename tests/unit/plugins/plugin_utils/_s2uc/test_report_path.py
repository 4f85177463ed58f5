# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a report says about long paths. Gateways belong to others, so what they return may be anything."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.path_capacity import Buffers
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_path import path_capacity
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream

STREAM = Stream(name="tomography", gateways={"producer": "gw-aps", "consumer": "gw-alcf"})
LARGE = {**Buffers(512 << 20, 512 << 20).carries(100.0), "link": None}
SMALL = {**Buffers(16 << 20, 12 << 20).carries(100.0), "link": None}


def report(producer: Any, consumer: Any, **values: Any) -> list[str]:
    sessions = {"producer": {"carries": producer, **values}, "consumer": {"carries": consumer, **values}}
    return list(path_capacity(STREAM, sessions))


def test_what_limits_each_direction_and_where() -> None:
    assert report(LARGE, SMALL) == [
        "round trip 100 ms: one connection carries about 671 Mbit/s to the consumer (net.ipv4.tcp_rmem of gw-alcf), "
        "671 Mbit/s to the producer (net.ipv4.tcp_wmem of gw-alcf)"
    ]


def test_one_side_only() -> None:
    sessions = {"producer": {"carries": SMALL}}
    assert list(path_capacity(STREAM, sessions)) == [
        "round trip 100 ms: one connection carries about 671 Mbit/s to the consumer (net.ipv4.tcp_wmem of gw-aps), "
        "671 Mbit/s to the producer (net.ipv4.tcp_rmem of gw-aps)"
    ]


def test_a_rate_that_the_path_does_not_carry() -> None:
    assert report(LARGE, SMALL, rate=10**10)[1:] == [
        "Note: the rate of the stream is 10.0 Gbit/s. To use it, see s2cs_tuning of gw-alcf, or divide the data among "
        "at least 15 connections."
    ]
    assert report(LARGE, SMALL, rate=10**8)[1:] == []


def test_the_speed_of_the_slowest_link_without_a_rate() -> None:
    found = report({**LARGE, "link": 10**11}, {**SMALL, "link": 10**9})
    assert found[1:] == [
        "Note: the speed of the link is 1.0 Gbit/s. To use it, see s2cs_tuning of gw-alcf, or divide the data among at "
        "least 2 connections."
    ]


def test_no_setting_helps_beyond_the_window_of_tcp() -> None:
    most = {**Buffers(1 << 32, 1 << 32).carries(200.0), "link": 10**11}
    assert report(most, most)[1:] == [
        "Note: the speed of the link is 100 Gbit/s. To use it, divide the data among at least 3 connections."
    ]


@pytest.mark.parametrize(
    "found",
    [
        None,
        "fast",
        {},
        {**SMALL, "sending": "1"},
        {**SMALL, "rtt": True},
        {**SMALL, "receiving_limit": 7},
        {**SMALL, "sending": -1},
        {**SMALL, "sending": float("inf")},
    ],
)
def test_answers_in_another_form(found: Any) -> None:
    assert report(found, found) == []


def test_texts_of_gateways_are_made_readable() -> None:
    found = report({**SMALL, "sending_limit": "a\x1b[2J" + "b" * 500}, None)
    assert "\x1b" not in found[0] and len(found[0]) < 300
