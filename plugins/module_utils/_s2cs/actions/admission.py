# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides which sessions of a call are locked, before any is, so that nobody holds up the sessions of other users.

A call holds its locks until its slowest session is done. Sessions on which the caller may not act are therefore not
locked, and expired sessions of other users, which anybody may release, are only locked while they are released. All of
this is checked again under the locks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import (
    RefusedError,
    RowError,
    StateError,
    StoreError,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.ownership import check_administrator
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session_manager import SessionManager

# Time limit in seconds for waiting for other actions on the same sessions.
LOCK_SECONDS = 60.0


@dataclass(frozen=True)
class RefusedMessage:
    """A message for one session that is refused.

    Args:
        uid: The stream.
        role: Its side.
        error: Why it is refused.
        existing: Whether it is refused because of an existing session, on which a request has no effect.
    """

    uid: str
    role: str
    error: ScistreamError
    existing: bool = False


@dataclass(frozen=True)
class AbsentSession:
    """A session that does not exist and need not."""

    uid: str
    role: str


class Rules(Protocol):
    """What an action says about its sessions. See ``Action``."""

    manager: SessionManager
    releases: bool
    reserves: bool

    def absent(self, item: Any) -> AbsentSession:
        """See ``Action``."""

    def check_unlocked(self, item: Any, session: Session) -> None:
        """See ``Action``."""


class Admission:
    """Decides which sessions are locked for a call.

    Args:
        action: The action.

    Attributes:
        briefly: Uid and role of sessions that are only locked while the action is acting on them.
    """

    def __init__(self, action: Rules) -> None:
        self._action = action
        self.briefly: set[tuple[str, str]] = set()

    def admit(self, item: Any) -> Any:
        """Return the message for a session if it is to be locked, otherwise a RefusedMessage or an AbsentSession."""
        if isinstance(item, RefusedMessage):
            return item
        existing = False
        try:
            session = self._find(item)
            if not isinstance(session, Session):
                return session
            existing = self._action.reserves and not session.is_expired
            self._check(item, session)
        except (RefusedError, StateError) as error:
            return RefusedMessage(item.uid, item.role, error, existing)
        return item

    def _find(self, item: Any) -> Any:
        """Return the session as it is now, or else what to do with the message."""
        action, store = self._action, self._action.manager.store
        try:
            session = store.get(item.uid, item.role)
            if session is None and not action.reserves:
                # An action in progress may be about to create it.
                with store.locks.hold([(item.uid, item.role)], seconds=LOCK_SECONDS) as locked:
                    if not locked:
                        raise still_running()
                    session = store.get(item.uid, item.role)
                    if session is None and not self._is_orphan(item):
                        return action.absent(item)
            elif session is None and self._is_orphan(item):
                # Unless another request has just created it.
                session = store.get(item.uid, item.role)
                if session is None:
                    self._check_administrator(item)
        except StoreError as error:
            # Reported by the action. Only an administrator can release such a session.
            if action.releases and (isinstance(error, RowError) or self._is_orphan(item)):
                self._check_administrator(item)
            return item
        if session is None and action.releases:
            self._check_administrator(item)
        return session or item

    def _check_administrator(self, item: Any) -> None:
        manager = self._action.manager
        check_administrator(manager.policy, item.uid, item.role, manager.caller)

    def _is_orphan(self, item: Any) -> bool:
        return self._action.manager.has_directory(item.uid, item.role)

    def _check(self, item: Any, session: Session) -> None:
        """Check the permission of the caller."""
        if not session.is_expired:
            self._action.check_unlocked(item, session)
            return
        if self._action.reserves:
            # Anybody may request its uid again.
            return
        try:
            self._action.check_unlocked(item, session)
        except RefusedError:
            if not self._action.releases:
                session.require_not_expired()
                raise
            self.briefly.add((item.uid, item.role))


def still_running() -> StateError:
    """Return the error for a call that has waited too long for others."""
    return StateError(
        f"other actions on these sessions are still running after {LOCK_SECONDS:.0f} s: wait until they have finished, "
        "and try again"
    )
