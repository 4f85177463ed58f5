# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the four actions of the control server S2CS have in common: any number of sessions at once, all or nothing.

While an action goes on it keeps a stack of what to undo; if any part fails, everything that the call took is given
back, and the state before it stands. An action that was killed in the middle leaves its name in the session
(``pending``), and the next action on that session repairs it first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import Any, Callable, ClassVar, Generic, Sequence, TypeVar, Union

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.keeper import Keeper
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import ScistreamError, ValueRefused


class Change:
    """What an action did to one session: how it was before and how it is after, None where there is none."""

    def __init__(
        self, uid: str, role: str, before: Session | None, after: Session | None, mended: bool = False
    ) -> None:
        self.uid = uid
        self.role = role
        self.before = before.shown() if before else None
        self.after = after.shown() if after else None
        self.changed = mended or self.before != self.after


# An action on a session may have a second half, which waits for what the first half began.
Outcome = Union[Change, Callable[[], Change]]
Item = TypeVar("Item")


class Action(ABC, Generic[Item]):
    """One of REQ, HELLO, UPDATE and REL, on sessions of one gateway.

    Attributes:
        all_or_nothing: Whether one failure undoes the whole call; else the call goes on, and fails at its end.

    Args:
        keeper: The sessions of the gateway.
    """

    all_or_nothing: ClassVar[bool] = True

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper
        self.policy = keeper.policy
        self.store = keeper.store
        self.check_mode = keeper.check_mode

    @abstractmethod
    def act(self, item: Item, undo: ExitStack) -> Outcome:
        """Act on one session, which is locked, and say how to undo it.

        Raises:
            ScistreamError: It was refused or failed, and what it changed is undone or on the stack.
        """

    def items(self, given: Sequence[Any]) -> Sequence[Item]:
        """Return what is to be done, one item for each session, out of what was asked for."""
        return given

    def run(self, given: Sequence[Any]) -> list[Change]:
        """Act on all sessions, and return what was done to each."""
        items = self.items(given)
        keys = [_key(item) for item in items]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise ValueRefused(f"sessions[{index}]", f"{key[1]} of {key[0]}", "each session once in a call")
        if not self.check_mode:
            self.keeper.reclaim(keys)
        failures: list[ScistreamError] = []
        outcomes: list[Outcome] = []
        with self.store.locked(keys), ExitStack() as undo:
            for item, (uid, role) in zip(items, keys):
                try:
                    outcomes.append(self.act(item, undo))
                except ScistreamError as error:
                    told = error if len(items) == 1 else ScistreamError(f"{role} of {uid}: {error}")
                    if self.all_or_nothing:
                        raise told from None
                    failures.append(told)
            # What takes a moment to come up was started for all before the first is waited for.
            done = [outcome if isinstance(outcome, Change) else outcome() for outcome in outcomes]
            undo.pop_all()
        for change in done:
            # Mending what an earlier call left half done is a change that this call made.
            change.changed = change.changed or (change.uid, change.role) in self.keeper.mended
        if failures:
            raise ScistreamError("; ".join(map(str, failures)))
        return done

    def keep(self, before: Session, after: Session, undo: ExitStack) -> None:
        """Write a session that an action changed."""
        if not self.check_mode and after != before:
            undo.callback(self.store.save, before)
            self.store.save(after)


def _key(item: Any) -> tuple[str, str]:
    return item.uid, item.role
