# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Base class of the four actions, and the rollback of a call.

The new sessions of a call are created completely or not at all. While an action runs, it registers how to undo each
change. If anything fails for any reason, everything that the call created for new sessions is released and their
previous state is restored. A session that was already streaming is independent of the others: if it cannot be repaired
or changed, the call continues with the other sessions and fails at its end. If an action is killed, its name remains in
the session (``pending``), and the next action on that session repairs it first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Generic, Sequence, TypeVar

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import (
    ScistreamError,
    ValueRefused,
    reason,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.admission import (
    LOCK_SECONDS,
    AbsentSession,
    Admission,
    RefusedMessage,
    still_running,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.concurrent_tasks import (
    Cancelled,
    Outcome,
    Steps,
    run_all,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import StoreError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import STREAMING, Session
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session_manager import SessionManager
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.transaction import Transaction
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.supervisors import starting_many

# Maximum number of failures in a message. The result contains all of them.
_MAX_SHOWN = 5


class Change:
    """What an action did to one session.

    Args:
        uid: The stream.
        role: Its side.
        before: The session before the action, or None if it did not exist.
        after: The session after the action, or None if it no longer exists.
        repaired: Whether its data server was changed, even if the session itself is the same.

    Attributes:
        changed: Whether anything was changed. A restarted deadline does not count.
        counters: Last counters of the data server, if the session was released.
    """

    def __init__(
        self, uid: str, role: str, before: Session | None, after: Session | None, repaired: bool = False
    ) -> None:
        self.uid = uid
        self.role = role
        self.before = before.to_result() if before else None
        self.after = after.to_result() if after else None
        self.changed = repaired or _without_deadline(self.before) != _without_deadline(self.after)
        self.counters: dict[str, Any] | None = None


@dataclass(frozen=True)
class Failure:
    """Why an action failed for one session."""

    uid: str
    role: str
    message: str


class ActionFailed(ScistreamError):
    """An action failed for some sessions of a call.

    Args:
        failures: These sessions.
        changes: Changes to the other sessions, which are kept.
        single: Whether the call was for a single session.
    """

    def __init__(self, failures: Sequence[Failure], changes: Sequence[Change], single: bool) -> None:
        messages = [
            failure.message if single else f"{failure.role} of {failure.uid}: {failure.message}"
            for failure in failures[:_MAX_SHOWN]
        ]
        if len(failures) > _MAX_SHOWN:
            messages.append(f"and {len(failures) - _MAX_SHOWN} more (see failed_sessions)")
        super().__init__("; ".join(messages))
        self.failures = failures
        self.changes = changes


Item = TypeVar("Item")


class Action(ABC, Generic[Item]):
    """One of REQ, HELLO, UPDATE and REL, for any number of sessions of one gateway.

    Args:
        manager: The sessions of the gateway.
    """

    #: Whether all sessions are independent, so that a failure of one does not roll back the others.
    independent = False
    #: Whether the action releases sessions and returns the released ones.
    releases = False
    #: Whether the action creates sessions and returns the new ones.
    reserves = False

    def __init__(self, manager: SessionManager) -> None:
        self.manager = manager
        self.policy = manager.policy
        self.store = manager.store
        self.check_mode = manager.check_mode
        self._admission = Admission(self)

    @abstractmethod
    def act(self, item: Item, transaction: Transaction) -> Steps[Change]:
        """Act on one session, which is locked.

        Args:
            item: The message for this session.
            transaction: Receives how to undo each change.

        Raises:
            ScistreamError: The message was refused or the action failed. Changes were undone or are registered.
        """

    def items(self, messages: Sequence[Any]) -> Sequence[Item | RefusedMessage]:
        """Return the messages as one item for each session."""
        return messages

    def run(self, messages: Sequence[Any]) -> list[Change]:
        """Act on all sessions, and return the changes.

        Args:
            messages: One message for each session. Those that the policy does not allow are RefusedMessage.

        Raises:
            ActionFailed: The action failed for at least one session.
        """
        items = self.items(messages)
        keys = [_key(item) for item in items]
        seen: set[tuple[str, str]] = set()
        for index, key in enumerate(keys):
            if key in seen:
                raise ValueRefused(f"sessions[{index}]", f"{key[1]} of {key[0]}", "list each session once")
            seen.add(key)
        items = [self._admission.admit(item) for item in items]
        self.prepare([item for item in items if not isinstance(item, (RefusedMessage, AbsentSession))])
        if self.manager.keeps_house:
            self.manager.release_expired(keys)
            self.manager.trim_logs(keys)
        exempt = [
            isinstance(item, (RefusedMessage, AbsentSession)) or key in self._admission.briefly
            for item, key in zip(items, keys)
        ]
        locks = [key for key, without in zip(keys, exempt) if not without]
        with self.store.locks.hold(locks, seconds=LOCK_SECONDS) as locked:
            if not locked:
                raise still_running()
            transactions = [Transaction(*key, self.independent) for key in keys]
            with starting_many() if len(items) > 1 else nullcontext():
                outcomes = run_all(
                    [self._act(item, transaction) for item, transaction in zip(items, transactions)],
                    lambda index: not transactions[index].independent,
                )
                failures = self._roll_back(transactions, outcomes)
        changes = [
            outcome.value
            for transaction, outcome in zip(transactions, outcomes)
            if outcome.value is not None and outcome.error is None and not transaction.rolled_back
        ]
        for change in changes:
            # Repairing what an earlier call left unfinished is a change of this call.
            change.changed = change.changed or (change.uid, change.role) in self.manager.repaired
        if failures:
            raise ActionFailed(failures, changes, single=len(items) == 1)
        return changes

    def prepare(self, items: Sequence[Item]) -> None:
        """Do what takes long and needs no lock, for the sessions that the caller may act on."""

    def absent(self, item: Item) -> AbsentSession:
        """Return that nothing is to be done for a session that does not exist.

        Raises:
            StateError: It must exist.
        """
        uid, role = _key(item)
        if not self.releases:
            raise self.manager.missing(uid, role)
        return AbsentSession(uid, role)

    def check_unlocked(self, item: Item, session: Session) -> None:
        """Check that the caller may act on a session, before it is locked. ``act`` checks it again.

        Raises:
            RefusedError: The caller may not.
            StateError: The caller may not, because of what the session is.
        """

    def _act(self, item: Item | RefusedMessage | AbsentSession, transaction: Transaction) -> Steps[Change]:
        if isinstance(item, AbsentSession):
            return Change(item.uid, item.role, None, None)
        if isinstance(item, RefusedMessage):
            session = None
            with suppress(StoreError):
                session = self.store.get(item.uid, item.role)
            independent = item.existing or (session is not None and session.state == STREAMING)
            transaction.independent = transaction.independent or independent
            raise item.error
        if _key(item) not in self._admission.briefly:
            return (yield from self.act(item, transaction))
        with ExitStack() as stack:
            lock = self.store.locks.hold([_key(item)], seconds=LOCK_SECONDS)
            # Waiting must not hold up the other sessions.
            locked = yield lambda: stack.enter_context(lock)
            if not locked:
                raise still_running()
            return (yield from self.act(item, transaction))

    def _roll_back(self, transactions: Sequence[Transaction], outcomes: Sequence[Outcome[Change]]) -> list[Failure]:
        """Roll back the failed sessions, or the whole call if one of them is not independent.

        Returns:
            The failures, including those of the rollback.

        Raises:
            BaseException: Any other error that ended the call, such as a signal.
        """
        failed = [index for index, outcome in enumerate(outcomes) if outcome.error is not None]
        affected = failed
        if any(not transactions[index].independent or not _is_expected(outcomes[index].error) for index in failed):
            affected = list(range(len(transactions)))
        rollbacks = run_all([transactions[index].roll_back() for index in affected])
        problems = {index: rollback.value or [] for index, rollback in zip(affected, rollbacks)}
        for index in failed:
            error = outcomes[index].error
            if error is not None and not _is_expected(error):
                raise error
        failures = []
        for index, transaction in enumerate(transactions):
            error = outcomes[index].error
            messages = [] if error is None or isinstance(error, Cancelled) else [reason(error)]
            messages += [f"undoing this failed: {problem}" for problem in problems.get(index, ())]
            if messages:
                failures.append(Failure(transaction.uid, transaction.role, "; ".join(messages)))
        return failures


def _is_expected(error: BaseException | None) -> bool:
    return isinstance(error, (ScistreamError, OSError, Cancelled))


def _without_deadline(result: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if result is None else {key: value for key, value in result.items() if key != "expires"}


def _key(item: Any) -> tuple[str, str]:
    return item.uid, item.role
