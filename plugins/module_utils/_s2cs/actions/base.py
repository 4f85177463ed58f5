# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the four actions of the control server S2CS have in common: any number of sessions at once.

New sessions of a call come all or none. While an action goes on it keeps a stack of what to undo; if anything fails,
for whatever reason, what the call took for new sessions is released, and the state before it stands. A session that
was there before concerns nobody else: where it cannot be mended or changed, the call goes on with the others, and fails
at its end. An action that was killed in the middle leaves its name in the session (``pending``), and the next action on
that session repairs it first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, Sequence, TypeVar

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import (
    ScistreamError,
    ValueRefused,
    reason,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import STREAMING, Session
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.sessions import SessionManager
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.steps import (
    Ended,
    Steps,
    Stopped,
    together,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.turn import Turn

# As many failures as a message tells; the result has all of them.
_TOLD = 5


class Change:
    """What an action did to one session: how it was before and how it is after, None where there is none."""

    def __init__(
        self, uid: str, role: str, before: Session | None, after: Session | None, mended: bool = False
    ) -> None:
        self.uid = uid
        self.role = role
        self.before = before.shown() if before else None
        self.after = after.shown() if after else None
        # A deadline that starts again is not a requested change.
        self.changed = mended or _lasting(self.before) != _lasting(self.after)
        # What the data server counted, where the session ends.
        self.counters: dict[str, Any] | None = None


@dataclass(frozen=True)
class Failure:
    """Why an action on one session did not come about."""

    uid: str
    role: str
    message: str


class ActionFailed(ScistreamError):
    """An action failed for some sessions of a call.

    Args:
        failures: Those.
        changes: What was done to the others, and stands.
        single: Whether the call was about one session.
    """

    def __init__(self, failures: Sequence[Failure], changes: Sequence[Change], single: bool) -> None:
        told = [
            failure.message if single else f"{failure.role} of {failure.uid}: {failure.message}"
            for failure in failures[:_TOLD]
        ]
        if len(failures) > _TOLD:
            told.append(f"and {len(failures) - _TOLD} more (see failed_sessions)")
        super().__init__("; ".join(told))
        self.failures = failures
        self.changes = changes


@dataclass(frozen=True)
class Refused:
    """What was asked for one session, and the policy does not allow."""

    uid: str
    role: str
    error: ScistreamError


Item = TypeVar("Item")


class Action(ABC, Generic[Item]):
    """One of REQ, HELLO, UPDATE and REL, on sessions of one gateway.

    Args:
        keeper: The sessions of the gateway.
    """

    #: Whether the failure of any session concerns that session alone.
    each_alone = False
    #: Whether it ends sessions, and what is returned is what was released.
    releases = False
    #: Whether it makes sessions, and which ones it made is returned.
    reserves = False

    def __init__(self, keeper: SessionManager) -> None:
        self.keeper = keeper
        self.policy = keeper.policy
        self.store = keeper.store
        self.check_mode = keeper.check_mode

    @abstractmethod
    def act(self, item: Item, turn: Turn) -> Steps[Change]:
        """Act on one session, which is locked, and say how to undo it.

        Raises:
            ScistreamError: It was refused or failed, and what it changed is undone, or was said to be undone.
        """

    def items(self, given: Sequence[Any]) -> Sequence[Item | Refused]:
        """Return what is to be done, one item for each session, out of what was asked for."""
        return given

    def run(self, given: Sequence[Any]) -> list[Change]:
        """Act on all sessions, and return what was done to each.

        Raises:
            ActionFailed: Something failed for one of them.
        """
        items = self.items(given)
        keys = [_key(item) for item in items]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise ValueRefused(f"sessions[{index}]", f"{key[1]} of {key[0]}", "list each session once")
        if not self.check_mode:
            self.keeper.reclaim(keys)
            self.keeper.tidy(keys)
        with self.store.locks.held(keys):
            turns = [Turn(*key, self.each_alone) for key in keys]
            ended = together(
                [self._begin(item, turn) for item, turn in zip(items, turns)], lambda index: not turns[index].alone
            )
            failures = self._undo_failed(turns, ended)
        done = [
            end.value
            for turn, end in zip(turns, ended)
            if end.value is not None and end.error is None and not turn.undone
        ]
        for change in done:
            # Mending what an earlier call left half done is a change that this call made.
            change.changed = change.changed or (change.uid, change.role) in self.keeper.mended
        if failures:
            raise ActionFailed(failures, done, single=len(items) == 1)
        return done

    def _begin(self, item: Item | Refused, turn: Turn) -> Steps[Change]:
        if isinstance(item, Refused):
            session = self.store.get(item.uid, item.role)
            turn.alone = turn.alone or (session is not None and session.state == STREAMING)
            raise item.error
        return (yield from self.act(item, turn))

    def _undo_failed(self, turns: Sequence[Turn], ended: Sequence[Ended[Change]]) -> list[Failure]:
        """Undo what has to be undone, and return what failed.

        Raises:
            BaseException: Whatever else ended the call, such as a signal.
        """
        broken = [index for index, end in enumerate(ended) if end.error is not None]
        together_with = broken
        if any(not turns[index].alone or not _is_expected(ended[index].error) for index in broken):
            together_with = list(range(len(turns)))
        backs = together([turns[index].back() for index in together_with])
        problems = {index: back.value or [] for index, back in zip(together_with, backs)}
        failures = []
        for index in broken:
            error = ended[index].error
            if error is not None and not _is_expected(error):
                raise error
        for index, turn in enumerate(turns):
            error = ended[index].error
            told = [] if error is None or isinstance(error, Stopped) else [reason(error)]
            told += [f"undoing this failed: {problem}" for problem in problems.get(index, ())]
            if told:
                failures.append(Failure(turn.uid, turn.role, "; ".join(told)))
        return failures


def _is_expected(error: BaseException | None) -> bool:
    return isinstance(error, (ScistreamError, OSError, Stopped))


def _lasting(shown: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if shown is None else {key: value for key, value in shown.items() if key != "expires"}


def _key(item: Any) -> tuple[str, str]:
    return item.uid, item.role
