# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing to the session store: alone, or together with other tasks, because each transaction waits for the disk."""

from __future__ import annotations

import sqlite3
from typing import Any, Callable, ContextManager, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.concurrent_tasks import Outcome, SharedStep
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import StoreError

Transaction = Callable[[], ContextManager[sqlite3.Connection]]
Writer = Callable[[sqlite3.Connection], Any]


class Write(SharedStep):
    """A step that writes to the store in a transaction, which it can share with others.

    Args:
        begin: Begins a transaction, which ends with the context.
        writer: Writes. It may be called again if the transaction fails.
    """

    def __init__(self, begin: Transaction, writer: Writer) -> None:
        self._begin = begin
        self._writer = writer

    def __call__(self) -> Any:
        """Write in a transaction of its own."""
        with self._begin() as connection:
            return self._writer(connection)

    def together(self, steps: Sequence[SharedStep]) -> list[Outcome[Any]]:
        """Write in one transaction, in which each can fail without the others."""
        writes = [step for step in steps if isinstance(step, Write)]
        if len(writes) > 1:
            try:
                with self._begin() as connection:
                    return [_attempt(connection, write._writer) for write in writes]
            except StoreError:
                # On a full disk, there may be space for them one after another.
                pass
        return [_alone(write) for write in writes]


def _alone(write: Write) -> Outcome[Any]:
    try:
        return Outcome(value=write())
    except ScistreamError as error:
        return Outcome(error=error)


def _attempt(connection: sqlite3.Connection, writer: Writer) -> Outcome[Any]:
    """Write within a transaction. If that is refused, nothing of it remains."""
    outcome: Outcome[Any] = Outcome()
    connection.execute("SAVEPOINT attempt")
    try:
        outcome.value = writer(connection)
    except StoreError:
        raise
    except ScistreamError as error:
        connection.execute("ROLLBACK TO attempt")
        outcome.error = error
    connection.execute("RELEASE attempt")
    return outcome
