# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The session manager: finds, repairs, changes and releases sessions together with their data servers."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import expired_sessions, orphans
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.caller import Caller, find_caller
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.concurrent_tasks import Steps, run_all
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import (
    StateError,
    StoreError,
    UnusableStoreError,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import STREAMING, Session
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.store import Store, UnusableStore
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.transaction import Transaction
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.data_server import S2DS, Plan
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.factory import data_server
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import port_conflicts

# Maximum time in seconds that an action spends on the logs of unrelated sessions.
_TRIM_SECONDS = 3.0


class SessionManager:
    """Keeps the sessions in the store consistent with their data servers.

    Args:
        policy: The administrator's policy.
        check_mode: Whether to decide as usual, but change nothing.
        lenient: Whether to continue with an empty store if the store cannot be used, so that data servers can still be
            stopped.
        caller: The user who requests the action. By default, the user on whose behalf this process runs.

    Raises:
        StoreError: The store cannot be used.
    """

    def __init__(
        self, policy: Policy, check_mode: bool = False, lenient: bool = False, caller: Caller | None = None
    ) -> None:
        #: Whether actions release expired sessions and trim logs, which the service does by itself.
        self.keeps_house = caller is None and not check_mode
        self.policy = policy
        self.caller = caller or find_caller()
        self.check_mode = check_mode
        self.store = self._open_store(lenient)
        self.repaired: set[tuple[str, str]] = set()

    def _open_store(self, lenient: bool) -> Store:
        directory = self.policy.layout.state_dir
        try:
            store = Store(directory, read_only=self.check_mode)
            if lenient:
                try:
                    # Opening it succeeds even if only its beginning is intact.
                    store.require_readable()
                except BaseException:
                    store.close()
                    raise
            return store
        except UnusableStoreError as error:
            if not lenient:
                raise
            return UnusableStore(directory, error)

    def require(self, uid: str, role: str) -> Steps[Session]:
        """Return a session that must exist. If it has expired, release it and fail.

        Args:
            uid: The stream.
            role: Its side.

        Raises:
            StateError: The session does not exist or has expired.
        """
        session = yield from self.find(uid, role)
        if session is None:
            raise self.missing(uid, role)
        if session.is_expired and not self.check_mode:
            # If this fails, the next action on this session reports it.
            with suppress(ScistreamError, OSError):
                yield from self.release(session)
        session.require_not_expired()
        return session

    def missing(self, uid: str, role: str) -> StateError:
        """Return the error for a session that does not exist."""
        others = [other.role for other in self.store.all(uid)]
        here = f"; here it has the role {', '.join(others)}" if others else ""
        expired = expired_sessions.find(self.policy.layout.state_dir, uid, role)
        if expired:
            here = f"; an earlier one {expired}{here}"
        return StateError(
            f"uid: gateway {self.policy.gateway} has no session {uid} with the role {role}{here}; "
            "request it first (s2cs_request)"
        )

    def find(self, uid: str, role: str) -> Steps[Session | None]:
        """Return a session or None, after repairing it if the last action on it was killed."""
        session = self.store.get(uid, role)
        if session is None or not session.pending or self.check_mode:
            return session
        if session.pending != "update":
            yield from self.release(session)
            return None
        session = session.replace(pending="")
        # If this fails, the current action encounters the same error and reports it.
        with suppress(ScistreamError, OSError):
            yield from self.repair(session)
            yield self.store.saving(session)
        return session

    def repair(self, session: Session) -> Steps[bool]:
        """Make the data server of a session match the session.

        Returns:
            Whether it did not match.

        Raises:
            S2DSException: The data server cannot be repaired.
        """
        server = self.data_server(session)
        try:
            plan: Plan = yield server.plan
            if plan.needed and not self.check_mode:
                yield lambda: server.carry_out(plan)
                self.repaired.add((session.uid, session.role))
        except S2DSException as error:
            raise (yield from self._explain(session, error)) from None
        return plan.needed

    def _explain(self, session: Session, error: S2DSException) -> Steps[S2DSException]:
        """Return a clearer error if another program occupies listeners of the session, otherwise the same error."""
        server = self.data_server(session, lenient=True)
        taken: list[str] = []
        with suppress(ScistreamError, OSError):
            taken = yield server.listener_conflicts
        if not taken:
            return error
        return S2DSException(
            f"{port_conflicts.in_use(taken)}: stop that program and try again, or release the session and request it "
            "again, which gives it different ports"
        )

    def release_expired(self, excluded: Sequence[tuple[str, str]] = ()) -> list[Session]:
        """Release expired sessions, except those that are locked by another action, and return them.

        Args:
            excluded: Uid and role of sessions that the current action handles itself.
        """
        with ExitStack() as locks:
            expired: list[Session] = []
            for session in self.store.expired():
                key = (session.uid, session.role)
                if key in excluded:
                    continue
                locked = locks.enter_context(self.store.locks.hold([key], wait=False))
                current = self.store.get(*key) if locked else None
                if current is not None and current.is_expired:
                    expired.append(current)
            # A session that cannot be released must not block the others. The next action tries again.
            outcomes = run_all([self.release(session) for session in expired])
            released = [session for session, outcome in zip(expired, outcomes) if outcome.error is None]
            expired_sessions.record(self.policy.layout.state_dir, released)
            for outcome in outcomes:
                if outcome.error is not None and not isinstance(outcome.error, (ScistreamError, OSError)):
                    raise outcome.error
            return released

    def trim_logs(self, excluded: Sequence[tuple[str, str]] = ()) -> None:
        """Trim the logs of streaming sessions that have grown, except those that are locked by another action.

        A session may stream for years without another action on it.

        Args:
            excluded: Uid and role of sessions that the current action handles itself.
        """
        deadline = time.monotonic() + _TRIM_SECONDS
        for session in self.store.all():
            key = (session.uid, session.role)
            if key in excluded or session.state != STREAMING or time.monotonic() > deadline:
                continue
            with suppress(ScistreamError, OSError):
                server = self.data_server(session, lenient=True)
                if server.needs_log_compaction():
                    with self.store.locks.hold([key], wait=False) as locked:
                        if locked:
                            server.compact_log()

    def data_server(self, session: Session, key: str | None = None, lenient: bool = False) -> S2DS:
        """Return the data server of a session, even if the policy no longer offers its proxy.

        Args:
            session: The session.
            key: The private key of its certificate, if it is new.
            lenient: Whether to ignore invalid settings in the policy, which do not matter for stopping it.
        """
        settings = self.policy.settings(session.proxy)
        return data_server(self.policy.layout, session.proxy, session.runtime, settings, session.spec(key), lenient)

    def apply(self, before: Session, after: Session, transaction: Transaction) -> Steps[bool]:
        """Change a session and its data server.

        Args:
            before: The session as it is.
            after: The session as it should be.
            transaction: Receives how to undo the change.

        Returns:
            Whether the data server had to be changed.

        Raises:
            S2DSException: The data server cannot be changed. It and the session are as before.
        """
        after.require_storable()
        server = self.data_server(after)
        plan: Plan = yield server.plan
        if self.check_mode:
            return plan.needed
        if not plan.needed:
            yield from self.save(before, after, transaction)
            return False
        # After a crash from here on, the previous state is restored, because the new one is not in the store yet.
        yield self.store.saving(before.replace(pending="update"))
        try:
            yield lambda: server.carry_out(plan)
        except BaseException as error:
            # The data server has restored its previous state.
            with suppress(ScistreamError):
                self.store.save(before)
            if isinstance(error, S2DSException):
                raise (yield from self._explain(after, error)) from None
            raise
        if after != before:
            transaction.on_rollback(self._restore, before)
        yield self.store.saving(after)
        return True

    def _restore(self, before: Session) -> Steps[None]:
        """Restore the data server and the session as they were before ``apply``."""
        server = self.data_server(before)
        try:
            yield server.update_listeners
        except BaseException:
            # The next action on it tries again.
            self.store.save(before.replace(pending="update"))
            raise
        yield self.store.saving(before)

    def save(self, before: Session, after: Session, transaction: Transaction) -> Steps[None]:
        """Save a session that an action changed, and register how to undo this."""
        after.require_storable()
        if not self.check_mode and after != before:
            transaction.on_rollback(self.store.save, before)
            yield self.store.saving(after)

    def has_directory(self, uid: str, role: str) -> bool:
        """Tell whether a session has a directory, even if the store does not know it."""
        return orphans.exists(self.policy, uid, role)

    def remove_orphan(self, uid: str, role: str) -> Steps[bool]:
        """Remove a data server whose session the store does not know. Returns whether there was one."""
        if not orphans.exists(self.policy, uid, role):
            return False
        if not self.check_mode:
            yield lambda: orphans.remove(self.policy, uid, role)
        return True

    def release(self, session: Session) -> Steps[None]:
        """Release everything that a session has.

        Its row is deleted last, so that the rest can be found again. If the release fails, the session is kept, and the
        next REQ or UPDATE restarts what has been stopped.
        """
        server = self.data_server(session, lenient=True)
        # On a full disk there may be no space for this, but the release frees some.
        with suppress(ScistreamError):
            yield self.store.saving(session.replace(pending="release"))
        try:
            yield server.release
        except BaseException:
            with suppress(ScistreamError):
                self.store.save(session)
            raise
        if session.pending != "request":
            # With its ports, unless it was never reserved completely, perhaps because of them.
            with suppress(StoreError):
                yield self.store.retiring(session)
                return
        # Without, because there is no space for them on a full disk.
        yield self.store.deleting(session.uid, session.role)
