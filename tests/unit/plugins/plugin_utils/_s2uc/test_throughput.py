# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Throughput over time: what was transferred, at the time of the control node, with gaps where nothing is known."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.status_document import status_document
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.status_html import status_html
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.status_view import view_status
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_view import StreamView, read_sides
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.throughput import Throughput, compared, series
from ansible_collections.scistream.gateway.tests.unit.plugins.module_utils._s2cs.service.samples import HOSTILE
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.test_report_status import (
    NOW,
    both,
    side,
)


def stream(uid: str, *samples: tuple[float, int]) -> StreamView:
    found = [{"time": time, "to_consumer": count, "to_producer": 0} for time, count in samples]
    (one,) = read_sides("gw-b", [side("consumer", uid=uid, samples=found)])
    return StreamView(uid, uid, {"consumer": one})


def test_streams_are_added_up() -> None:
    found = series({"a": [(0, 0, 0), (1, 100, 10), (2, 300, 10)], "b": [(0, 50, 0), (2, 50, 20)]})
    assert found == {"start": 0, "step": 1, "span": 2, "to_consumer": [100, 200], "to_producer": [20, 10]}


def test_gaps_are_not_zero() -> None:
    found = series({"a": [(0, 0, 0), (10, 100, 0), (500, 200, 0), (510, 300, 0)]})
    assert found["step"] == 10 and found["span"] == 510
    assert found["to_consumer"][0] == found["to_consumer"][-1] == 10
    assert set(found["to_consumer"][1:-1]) == {None}


def test_counters_that_decrease_are_no_negative_rate() -> None:
    assert series({"a": [(0, 100, 0), (1, 50, 0)]})["to_consumer"] == [0]


def test_nothing_measured() -> None:
    nothing: list[dict[str, Any]] = [{}, {"a": []}, {"a": [(1, 1, 1)]}]
    assert {series(points)["start"] for points in nothing} == {None}


def test_many_samples_are_a_limited_number_of_points() -> None:
    found = series({"a": [(second, 10 * second, 0) for second in range(5000)]})
    assert len(found["to_consumer"]) <= 720 and set(found["to_consumer"]) == {10}


def test_the_samples_of_days_are_a_limited_number() -> None:
    throughput = Throughput()
    for second in range(3000):
        throughput.add([stream("a", (second, 10 * second))], second)
    rates = throughput.rates("a")
    assert 500 < len(rates) <= 1440 and {rate[1] for rate in rates} == {10}
    assert rates[-1][0] == 2999


def test_clocks_of_gateways_do_not_matter() -> None:
    """One is an hour late, and the calls follow each other."""
    throughput = Throughput()
    throughput.add([stream("a", (-3600, 0), (-3599, 100)), stream("b", (0, 0), (1, 10))], 1)
    throughput.add([stream("a", (-3598, 200), (-3597, 200)), stream("b", (2, 20), (3, 30))], 3)
    found = throughput.series()
    assert found["start"] == 0 and found["to_consumer"] == [110, 110, 10]
    assert throughput.rates("a") == [[1, 100, 0], [2, 100, 0], [3, 0, 0]]
    assert throughput.rates("unknown") == []


def test_two_throughputs_are_compared_from_their_beginnings() -> None:
    fast = [[0.0, 0], [0.5, 500], [1.0, 1000]]
    slow = [[0.0, 0], [1.0, 500], [2.0, 1000]]
    found = compared(["direct", "through the gateways"], [fast, slow])
    assert found["relative"] and found["names"] == ["direct", "through the gateways"]
    assert found["step"] == 0.1 and found["span"] == pytest.approx(2)
    assert found["to_consumer"] == [1000] * 10 + [None] * 10 and found["to_producer"] == [500] * 20
    assert compared(["a", "b"], [[[0.0, 0]], []])["start"] is None


@pytest.mark.parametrize("text", HOSTILE)
def test_the_page_is_one_file_in_which_texts_are_data(text: str) -> None:
    results: dict[str, Any] = both(labels={"stream": text}, owner=text, reason=text)
    status = view_status({text: {"failed": True, "msg": text}, **results}, (), (), NOW)
    throughput = Throughput()
    throughput.add(status.streams, NOW)
    page = status_html(status_document(status, throughput))
    # The same with harmless texts.
    other = status_html(status_document(view_status(both(), (), (), NOW), Throughput()))
    for markup in ("<script", "</script", "<img", "<style"):
        assert page.count(markup) == other.count(markup)
    assert "{%" not in other and "POLICY" not in other and 'href="http' not in other
    assert "script-src 'sha256-" in page and "default-src 'none'" in page
