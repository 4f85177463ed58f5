# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Concurrent tasks: order of results and turns, independent failures, cancellation and rollback."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, Callable

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import concurrent_tasks
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.concurrent_tasks import (
    Cancelled,
    Outcome,
    SharedStep,
    Steps,
    run_all,
    wait_turn,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.transaction import Transaction


def task(journal: list[str], name: str, *steps: float, fails: str = "") -> Steps[str]:
    """Run steps of given durations. The last one may fail."""
    main = threading.get_ident()
    try:
        for number, seconds in enumerate(steps):
            last = number == len(steps) - 1

            def step(seconds: float = seconds, last: bool = last) -> str:
                time.sleep(seconds)
                if last and fails:
                    raise ScistreamError(fails)
                return name

            got = yield step
            assert got == name and threading.get_ident() == main
            journal.append(f"{name}{number}")
    except Cancelled:
        journal.append(f"{name} stopped")
        raise
    return name


@pytest.mark.parametrize("count", [0, 1, 2, 40])
def test_results_are_in_order(count: int) -> None:
    journal: list[str] = []
    outcomes = run_all([task(journal, f"w{number}-", 0.02, 0) for number in range(count)])
    assert [end.value for end in outcomes] == [f"w{number}-" for number in range(count)]
    assert len(journal) == 2 * count and all(end.started and end.error is None for end in outcomes)


@pytest.mark.parametrize("count", [0, 1])
def test_few_tasks_load_no_threads(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    # Importing it fails.
    monkeypatch.setitem(sys.modules, "concurrent.futures", None)
    assert [end.value for end in run_all([task([], "one", 0) for _number in range(count)])] == ["one"] * count


def test_steps_run_concurrently() -> None:
    begin = time.monotonic()
    run_all([task([], str(number), 0.4) for number in range(12)])
    assert time.monotonic() - begin < 0.4 * 12 / 2


def test_independent_failures() -> None:
    journal: list[str] = []
    outcomes = run_all([task(journal, "a", 0, 0.1), task(journal, "b", 0, fails="no"), task(journal, "c", 0.1)])
    assert [str(end.error) for end in outcomes] == ["None", "no", "None"] and "a1" in journal and "c0" in journal


def test_failure_that_cancels_the_others() -> None:
    journal: list[str] = []
    tasks = [
        task(journal, "a", 0.2, 0),
        task(journal, "b", 0, fails="no"),
        *(task(journal, "c", 0.2, 0) for _unused in "xyz"),
    ]
    outcomes = run_all(tasks, lambda index: True)
    assert str(outcomes[1].error) == "no"
    # Running steps are completed, and no further steps are started.
    assert isinstance(outcomes[0].error, Cancelled) and "a0" in journal and "a1" not in journal


def _refuses(words: str = "at once") -> Steps[str]:
    if words:
        raise ScistreamError(words)
    yield lambda: ""
    return ""


def test_tasks_are_not_started_after_a_failure() -> None:
    journal: list[str] = []
    outcomes = run_all([_refuses(), task(journal, "b", 0)], lambda index: True)
    assert str(outcomes[0].error) == "at once" and not outcomes[1].started and journal == []


def test_interruption_is_raised_after_all_steps_are_complete() -> None:
    journal: list[str] = []

    def interrupted() -> Steps[str]:
        yield lambda: time.sleep(0.05)
        raise KeyboardInterrupt

    outcomes = run_all([task(journal, "a", 0.2, 0), interrupted()])
    assert isinstance(outcomes[1].error, KeyboardInterrupt) and isinstance(outcomes[0].error, Cancelled)
    assert "a0" in journal


def test_rollback_continues_after_errors() -> None:
    journal: list[str] = []
    transaction = Transaction("u", "producer", independent=False)

    def fails() -> None:
        raise OSError(28, "No space left on device", "/state/file")

    transaction.on_rollback(journal.append, "first")
    transaction.on_rollback(fails)
    transaction.on_rollback(task, journal, "steps", 0)
    [end] = run_all([transaction.roll_back()])
    assert journal == ["steps0", "first"] and transaction.rolled_back
    assert (
        end.value is not None
        and len(end.value) == 1
        and "no space is left on the file system of /state" in end.value[0]
    )


def queueing(journal: list[str], name: str, seconds: float, fails: str = "", stays: bool = False) -> Steps[str]:
    """Wait for the turn after a delay, unless the task ends before."""
    yield lambda: time.sleep(seconds)
    if fails:
        raise ScistreamError(fails)
    if not stays:
        yield wait_turn
        journal.append(name)
    yield lambda: time.sleep(0.01)
    return name


def test_turns_are_in_the_order_of_tasks() -> None:
    journal: list[str] = []
    outcomes = run_all([queueing(journal, f"{number:02}", 0.002 * (30 - number)) for number in range(30)])
    assert journal == [f"{number:02}" for number in range(30)] == [end.value for end in outcomes]


def test_turns_of_ended_tasks_are_skipped() -> None:
    journal: list[str] = []
    tasks = [
        queueing(journal, "a", 0.05, fails="no"),
        queueing(journal, "b", 0.03, stays=True),
        queueing(journal, "c", 0),
        queueing(journal, "d", 0.01),
    ]
    outcomes = run_all(tasks)
    assert journal == ["c", "d"] and [end.value for end in outcomes] == [None, "b", "c", "d"]
    assert _run_alone(queueing(journal, "e", 0)) == "e"


def _run_alone(task: Steps[str]) -> str | None:
    return run_all([task])[0].value


def test_waiting_tasks_are_cancelled() -> None:
    journal: list[str] = []
    tasks = [queueing(journal, "a", 0.05, fails="no"), queueing(journal, "b", 0), queueing(journal, "c", 0.1)]
    outcomes = run_all(tasks, cancels=lambda index: True)
    assert not journal and [type(end.error) for end in outcomes] == [ScistreamError, Cancelled, Cancelled]


class Written(SharedStep):
    """Counts how many steps are carried out together."""

    def __init__(self, sizes: list[int], then: Callable[[], None] = lambda: None) -> None:
        self._sizes = sizes
        self._then = then

    def __call__(self) -> Any:
        self.together([self])

    def together(self, steps: Sequence[SharedStep]) -> list[Outcome[Any]]:
        self._sizes.append(len(steps))
        self._then()
        return [Outcome() for _unused in steps]


def test_shared_steps_wait_for_others_that_come_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrent_tasks, "_GATHER_SECONDS", 60.0)
    sizes: list[int] = []

    def writer(seconds: float) -> Steps[None]:
        yield lambda: time.sleep(seconds)
        yield Written(sizes)

    run_all([writer(0.02 * number) for number in range(5)])
    assert sizes == [5]


def test_shared_steps_do_not_wait_for_long_ones() -> None:
    sizes: list[int] = []
    carried_out = threading.Event()

    def long() -> Steps[bool]:
        return bool((yield lambda: carried_out.wait(60)))

    def short() -> Steps[bool]:
        yield Written(sizes, carried_out.set)
        return True

    assert [outcome.value for outcome in run_all([long(), short()])] == [True, True]
    assert sizes == [1]
