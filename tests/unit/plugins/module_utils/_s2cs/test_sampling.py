# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Samples of counters: of sessions that transfer data only, and in bounded time."""

from __future__ import annotations

from typing import Any, Sequence

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.sampling import (
    Sampling,
    read_sampling,
    take_samples,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.argument_checks import check_arguments
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Status


def status(count: int, number_open: int | None = 1, running: bool = True) -> Status:
    counted: Any = {
        "connections": {"open": number_open},
        "bytes": {"to_consumer": count, "to_producer": 0},
    }
    return Status(running, counted)


def test_sessions_with_open_connections_are_sampled() -> None:
    asked: list[Sequence[int]] = []

    def query(indexes: Sequence[int]) -> list[tuple[Status, float]]:
        asked.append(list(indexes))
        return [(status(100 * len(asked)), 10.0 + len(asked)) for _index in indexes]

    first = [(status(1, 0), 10.0), (status(7), 10.0), (Status(True), 10.0), (status(5, running=False), 10.0)]
    idle, busy, unknown, dead = take_samples(first, Sampling(2, 0.1), query)
    assert asked == [[1], [1]]
    assert idle[1] == [{"time": 10.0, "to_consumer": 1, "to_producer": 0}]
    assert [(sample["time"], sample["to_consumer"]) for sample in busy[1]] == [(10.0, 7), (11.0, 100), (12.0, 200)]
    assert busy[0] == status(200)
    assert unknown[1] == [] and len(dead[1]) == 1


def test_nothing_waits_without_a_connection() -> None:
    def query(_indexes: Sequence[int]) -> list[tuple[Status, float]]:
        raise AssertionError

    assert take_samples([(status(1, None), 1.0)], Sampling(100, 10.0), query)[0][0] == status(1, None)


def test_a_data_server_that_ends_meanwhile_keeps_its_counters() -> None:
    ((latest, samples),) = take_samples([(status(7), 1.0)], Sampling(1, 0.1), lambda _all: [(Status(False), 2.0)])
    assert latest == status(7) and len(samples) == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"samples": -1}, "samples: -1 is not allowed: must be an integer from 0 to 100"),
        ({"samples": 101, "interval": 0.1}, "from 0 to 100"),
        ({"samples": 11}, "samples: 11 is not allowed: must be at most 10 with an interval of 1 s"),
        ({"samples": 1, "interval": 0.01}, "interval: 0.01 is not allowed: must be from 0.1 to 10 seconds"),
        ({"samples": 1, "interval": float("nan")}, "interval"),
    ],
)
def test_how_long_a_call_can_take(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueRefused, match=text):
        read_sampling(options)


def test_defaults() -> None:
    assert read_sampling(check_arguments("info", {})) == Sampling(0, 1.0)
    assert read_sampling(check_arguments("info", {"samples": 20, "interval": 0.5})) == Sampling(20, 0.5)
    with pytest.raises(ValueRefused, match="interval"):
        check_arguments("info", {"interval": "inf"})
