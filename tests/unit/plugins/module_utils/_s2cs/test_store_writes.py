# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes to the store that several tasks share."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.concurrent_tasks import Cancelled, Steps, run_all
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import StoreError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.store_writes import Write


class Book:
    """A database that counts its transactions, and can have room for few rows in each."""

    def __init__(self, path: Path, room: int = 1000) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("CREATE TABLE entry (name TEXT PRIMARY KEY)")
        self.transactions = 0
        self.room = room

    @contextmanager
    def begin(self) -> Iterator[sqlite3.Connection]:
        before = len(self.names())
        self.transactions += 1
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
            if len(self.names()) - before > self.room:
                raise StoreError("the disk is full")
            self.connection.execute("COMMIT")
        finally:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def names(self) -> list[str]:
        return [row[0] for row in self.connection.execute("SELECT name FROM entry ORDER BY name")]

    def entering(self, name: str, fails: str = "") -> Write:
        def write(connection: sqlite3.Connection) -> str:
            connection.execute("INSERT INTO entry VALUES (?)", (name,))
            if fails:
                raise ScistreamError(fails)
            return name

        return Write(self.begin, write)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    found = Book(tmp_path / "book.db")
    yield found
    found.connection.close()


def enter(book: Book, name: str, fails: str = "", after: Any = None) -> Steps[str]:
    """Write twice, with a step in between."""
    first = yield book.entering(f"{name}1", fails)
    yield after or (lambda: None)
    second = yield book.entering(f"{name}2")
    return f"{first} {second}"


@pytest.mark.parametrize("count", [1, 2, 50])
def test_writes_of_tasks_share_transactions(book: Book, count: int) -> None:
    names = [f"{number:02}-" for number in range(count)]
    outcomes = run_all([enter(book, name) for name in names])
    assert [outcome.value for outcome in outcomes] == [f"{name}1 {name}2" for name in names]
    assert book.names() == sorted(name + end for name in names for end in "12")
    assert book.transactions <= 1 + count


def test_each_can_fail_without_the_others(book: Book) -> None:
    outcomes = run_all([enter(book, "a"), enter(book, "b", fails="no"), enter(book, "c")])
    assert [outcome.value for outcome in outcomes] == ["a1 a2", None, "c1 c2"]
    assert str(outcomes[1].error) == "no"
    assert book.names() == ["a1", "a2", "c1", "c2"]


def test_what_fails_together_is_tried_alone(book: Book) -> None:
    book.room = 1
    outcomes = run_all([enter(book, name) for name in "abc"])
    assert [outcome.error for outcome in outcomes] == [None] * 3
    book.room = 0
    outcomes = run_all([enter(book, name) for name in "def"])
    assert [str(outcome.error) for outcome in outcomes] == ["the disk is full"] * 3
    assert book.names() == ["a1", "a2", "b1", "b2", "c1", "c2"]


def test_a_write_that_is_due_is_carried_out_before_the_task_is_cancelled(book: Book) -> None:
    """What was done before it would be unknown otherwise."""
    journal: list[str] = []

    def cancelled() -> Steps[None]:
        yield lambda: None
        yield book.entering("due")
        journal.append("written")
        try:
            yield lambda: None
        except Cancelled:
            journal.append("cancelled")
            raise

    def failing() -> Steps[None]:
        yield lambda: None
        raise ScistreamError("no")

    outcomes = run_all([failing(), cancelled()], lambda index: True)
    assert str(outcomes[0].error) == "no" and isinstance(outcomes[1].error, Cancelled)
    assert journal in (["written", "cancelled"], [])
    assert book.names() == ["due"][: len(journal)]


def test_an_interruption_reaches_all_tasks(book: Book) -> None:
    class Interrupted(BaseException):
        pass

    def interrupted() -> Steps[None]:
        def write(connection: sqlite3.Connection) -> None:
            raise Interrupted

        yield Write(book.begin, write)

    outcomes = run_all([enter(book, "a"), interrupted(), enter(book, "c")])
    assert [type(outcome.error) for outcome in outcomes] == [Interrupted] * 3
    assert book.names() == []
