# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several works side by side: in order where it matters, each failure for itself or for all, nothing left undone."""

from __future__ import annotations

import threading
import time

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.steps import (
    Cancelled,
    Steps,
    run_all,
    wait_turn,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.transaction import Transaction


def work(journal: list[str], name: str, *steps: float, fails: str = "") -> Steps[str]:
    """Do some steps, each of which takes some time; the last one may fail."""
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


@pytest.mark.parametrize("count", [1, 2, 40])
def test_values_come_back_in_order(count: int) -> None:
    journal: list[str] = []
    ended = run_all([work(journal, f"w{number}-", 0.02, 0) for number in range(count)])
    assert [end.value for end in ended] == [f"w{number}-" for number in range(count)]
    assert len(journal) == 2 * count and all(end.started and end.error is None for end in ended)


def test_steps_go_on_side_by_side() -> None:
    begin = time.monotonic()
    run_all([work([], str(number), 0.4) for number in range(12)])
    assert time.monotonic() - begin < 0.4 * 12 / 2


def test_failures_that_concern_one_alone() -> None:
    journal: list[str] = []
    ended = run_all([work(journal, "a", 0, 0.1), work(journal, "b", 0, fails="no"), work(journal, "c", 0.1)])
    assert [str(end.error) for end in ended] == ["None", "no", "None"] and "a1" in journal and "c0" in journal


def test_failure_that_stops_the_others() -> None:
    journal: list[str] = []
    works = [
        work(journal, "a", 0.2, 0),
        work(journal, "b", 0, fails="no"),
        *(work(journal, "c", 0.2, 0) for _unused in "xyz"),
    ]
    ended = run_all(works, lambda index: True)
    assert str(ended[1].error) == "no"
    # What was under way ended its step, and began no other.
    assert isinstance(ended[0].error, Cancelled) and "a0" in journal and "a1" not in journal


def _refuses(words: str = "at once") -> Steps[str]:
    if words:
        raise ScistreamError(words)
    yield lambda: ""
    return ""


def test_what_has_not_begun_does_not_begin() -> None:
    journal: list[str] = []
    ended = run_all([_refuses(), work(journal, "b", 0)], lambda index: True)
    assert str(ended[0].error) == "at once" and not ended[1].started and journal == []


def test_interruption_is_told_after_all_have_ended_their_step() -> None:
    journal: list[str] = []

    def interrupted() -> Steps[str]:
        yield lambda: time.sleep(0.05)
        raise KeyboardInterrupt

    ended = run_all([work(journal, "a", 0.2, 0), interrupted()])
    assert isinstance(ended[1].error, KeyboardInterrupt) and isinstance(ended[0].error, Cancelled)
    assert "a0" in journal


def test_undoing_goes_on_whatever_fails() -> None:
    journal: list[str] = []
    transaction = Transaction("u", "producer", independent=False)

    def fails() -> None:
        raise OSError(28, "No space left on device", "/state/file")

    transaction.on_rollback(journal.append, "first")
    transaction.on_rollback(fails)
    transaction.on_rollback(work, journal, "steps", 0)
    [end] = run_all([transaction.roll_back()])
    assert journal == ["steps0", "first"] and transaction.rolled_back
    assert (
        end.value is not None
        and len(end.value) == 1
        and "no space is left on the file system of /state" in end.value[0]
    )


def queueing(journal: list[str], name: str, seconds: float, fails: str = "", stays: bool = False) -> Steps[str]:
    """Come as far as the turn after a while, unless it stays away from it."""
    yield lambda: time.sleep(seconds)
    if fails:
        raise ScistreamError(fails)
    if not stays:
        yield wait_turn
        journal.append(name)
    yield lambda: time.sleep(0.01)
    return name


def test_turns_come_in_the_order_in_which_works_were_given() -> None:
    journal: list[str] = []
    ended = run_all([queueing(journal, f"{number:02}", 0.002 * (30 - number)) for number in range(30)])
    assert journal == [f"{number:02}" for number in range(30)] == [end.value for end in ended]


def test_nobody_waits_for_the_turn_of_one_that_ended() -> None:
    journal: list[str] = []
    works = [
        queueing(journal, "a", 0.05, fails="no"),
        queueing(journal, "b", 0.03, stays=True),
        queueing(journal, "c", 0),
        queueing(journal, "d", 0.01),
    ]
    ended = run_all(works)
    assert journal == ["c", "d"] and [end.value for end in ended] == [None, "b", "c", "d"]
    assert _alone_too(queueing(journal, "e", 0)) == "e"


def _alone_too(work: Steps[str]) -> str | None:
    return run_all([work])[0].value


def test_who_waits_for_its_turn_is_stopped_with_the_others() -> None:
    journal: list[str] = []
    works = [queueing(journal, "a", 0.05, fails="no"), queueing(journal, "b", 0), queueing(journal, "c", 0.1)]
    ended = run_all(works, cancels=lambda index: True)
    assert not journal and [type(end.error) for end in ended] == [ScistreamError, Cancelled, Cancelled]
