# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throughput from counters: nothing is invented for times without samples, and no byte is lost between samples."""

from __future__ import annotations

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.history import SPAN, STEP, History
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_view import (
    SessionView,
    session_view,
)
from ansible_collections.scistream.gateway.tests.unit.plugins.module_utils._s2cs.service import samples

BEGIN = 1_800_000_000.0


def seen(count: int, number: int = 0, since: float = BEGIN - 1000, back: int = 0) -> SessionView:
    moved = {"to_consumer": count, "to_producer": back}
    return session_view(samples.session(number, counters=samples.counters(bytes=moved, since=since)))


def run(history: History, rate: int, begin: float, seconds: int, every: int = 5, already: int = 0) -> None:
    for second in range(0, seconds + 1, every):
        history.record([seen(already + rate * second)], begin + second)


def test_steady_stream() -> None:
    history = History()
    run(history, 1000, BEGIN, 600)
    found = history.series()
    assert found["start"] == BEGIN and found["step"] == STEP
    assert found["to_consumer"] == [1000] * (600 // STEP) + [None]
    assert history.rates(seen(0)) == (1000, 0)


def test_no_byte_is_lost_between_irregular_samples() -> None:
    history = History()
    moments = [0, 0.3, 7, 18.5, 19, 44, 61.2, 100]
    for moment in moments:
        history.record([seen(int(moment * 5000))], BEGIN + moment)
    # The mean of each slot over the time that its samples cover.
    assert history.series()["to_consumer"][:10] == pytest.approx([5000] * 10, rel=0.01)


def test_time_without_samples_is_a_gap() -> None:
    history = History()
    run(history, 1000, BEGIN, 100)
    run(history, 1000, BEGIN + 500, 100, already=10**9)
    found = history.series()["to_consumer"]
    assert found[5] == found[55] == 1000
    assert set(found[11:50]) == {None}


def test_an_hour_is_kept_and_not_more() -> None:
    history = History()
    run(history, 1000, BEGIN, 2 * SPAN, every=60)
    found = history.series()
    assert len(found["to_consumer"]) <= SPAN // STEP
    assert found["start"] >= BEGIN + SPAN
    assert set(found["to_consumer"]) <= {1000, None}


def test_bytes_of_a_new_session_since_the_last_sample_count() -> None:
    history = History()
    history.record([], BEGIN)
    history.record([seen(10_000, since=BEGIN + 5)], BEGIN + 10)
    assert history.series()["to_consumer"][0] == 1000
    assert history.rates(seen(0)) == (2000, 0)


def test_earlier_bytes_of_an_unknown_session_do_not_count() -> None:
    history = History()
    history.record([], BEGIN)
    history.record([seen(10**12)], BEGIN + 10)
    assert history.series()["to_consumer"][0] == 0
    assert history.rates(seen(0)) == (None, None)


def test_counters_that_fall_are_no_negative_rate() -> None:
    history = History()
    history.record([seen(5000)], BEGIN)
    history.record([seen(1000)], BEGIN + 10)
    assert history.series()["to_consumer"][0] == 0
    assert history.rates(seen(0)) == (0, 0)


@pytest.mark.parametrize("shift", [-3 * SPAN, 3 * SPAN, 10**9])
def test_changes_of_the_clock_leave_a_gap_or_clear_the_history(shift: float) -> None:
    history = History()
    run(history, 1000, BEGIN, 100)
    run(history, 1000, BEGIN + shift, 100, already=10**9)
    found = history.series()
    assert found["start"] + len(found["to_consumer"]) * STEP >= BEGIN + shift + 100
    assert set(found["to_consumer"]) <= {1000, None}


def test_no_samples() -> None:
    assert History().series() == {
        "start": None,
        "step": STEP,
        "span": SPAN,
        "to_consumer": [],
        "to_producer": [],
    }


def test_sessions_that_are_gone_are_forgotten() -> None:
    history = History()
    history.record([seen(0), seen(0, 1)], BEGIN)
    history.record([seen(0)], BEGIN + 10)
    history.record([seen(10**9), seen(10**9, 1)], BEGIN + 20)
    assert history.rates(seen(0, 1)) == (None, None)
    assert history.rates(seen(0)) is not None
