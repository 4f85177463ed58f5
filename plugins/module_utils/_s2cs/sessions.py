# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sessions of a gateway with their data servers: finding, mending, releasing. What all actions need."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import orphans
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import StateError, StoreUnusable
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.lost_store import LostStore
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import STREAMING, Session
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.steps import Steps, together
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.store import Store
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.turn import Turn
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.data_server import S2DS
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import occupants
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.plan import Plan
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.registry import data_server

# How long an action may spend on the logs of sessions that it has nothing to do with.
_TIDY_SECONDS = 3.0


class SessionManager:
    """Keeps the sessions in the store and their data servers in step.

    Args:
        policy: The administrator's policy.
        check_mode: Decide as always, but change nothing.
        lenient: Do without a store that cannot be used: what runs can be ended all the same.

    Raises:
        StoreError: The store cannot be used.
    """

    def __init__(self, policy: Policy, check_mode: bool = False, lenient: bool = False) -> None:
        self.policy = policy
        self.check_mode = check_mode
        self.store = self._opened(lenient)
        self.mended: set[tuple[str, str]] = set()

    def _opened(self, lenient: bool) -> Store:
        directory = self.policy.site.state_dir
        try:
            store = Store(directory, read_only=self.check_mode)
            if lenient:
                try:
                    # It may be whole at its beginning only.
                    store.all()
                except BaseException:
                    store.close()
                    raise
            return store
        except StoreUnusable as error:
            if not lenient:
                raise
            return LostStore(directory, error)

    def needed(self, uid: str, role: str) -> Steps[Session]:
        """Return a session that must be there; one that has expired is released now."""
        session = yield from self.present(uid, role)
        if session is None:
            others = [other.role for other in self.store.all(uid)]
            here = f"; here it has the role {', '.join(others)}" if others else ""
            raise StateError(
                f"uid: gateway {self.policy.gateway} has no session {uid} with the role {role}{here}; "
                "request it first (s2cs_request)"
            )
        if session.is_expired and not self.check_mode:
            # What went wrong with its release the next action tells that is about it alone.
            with suppress(ScistreamError, OSError):
                yield from self.drop(session)
        session.require_alive()
        return session

    def present(self, uid: str, role: str) -> Steps[Session | None]:
        """Return a session, repaired if the last action on it was killed."""
        session = self.store.get(uid, role)
        if session is None or not session.pending or self.check_mode:
            return session
        if session.pending != "update":
            yield from self.drop(session)
            return None
        session = session.changed(pending="")
        # Where that fails, the current action encounters the same error and reports it.
        with suppress(ScistreamError, OSError):
            yield from self.mend(session)
            self.store.save(session)
        return session

    def mend(self, session: Session) -> Steps[bool]:
        """Bring the data server of a session to what the session says, if it is not; returns whether it was not."""
        server = self.data_server(session)
        try:
            plan: Plan = yield server.plan
            if plan.needed and not self.check_mode:
                yield lambda: server.carry_out(plan)
                self.mended.add((session.uid, session.role))
        except S2DSException as error:
            raise (yield from self.explained(session, error)) from None
        return plan.needed

    def explained(self, session: Session, error: S2DSException) -> Steps[S2DSException]:
        """Return the error of a data server with the reason first, where something else has its listeners."""
        server = self.data_server(session, lenient=True)
        taken: list[str] = []
        # Where nobody can tell whose they are, the error stands as it is.
        with suppress(ScistreamError, OSError):
            taken = yield server.strangers
        if not taken:
            return error
        return S2DSException(
            f"{occupants.in_use(taken)}: stop that program and try again, or release the session and request it "
            "again, which gives it different ports"
        )

    def reclaim(self, wanted: Sequence[tuple[str, str]]) -> None:
        """Release what expired sessions hold; those in use by another action are left to it."""
        with ExitStack() as locks:
            expired: list[Session] = []
            for session in self.store.all():
                key = (session.uid, session.role)
                if not session.is_expired or key in wanted:
                    continue
                held = locks.enter_context(self.store.locks.held([key], wait=False))
                current = self.store.get(*key) if held else None
                if current is not None and current.is_expired:
                    expired.append(current)
            # One that cannot be released must not keep others from theirs; the next action tries again.
            for ended in together([self.drop(session) for session in expired]):
                if ended.error is not None and not isinstance(ended.error, (ScistreamError, OSError)):
                    raise ended.error

    def tidy(self, wanted: Sequence[tuple[str, str]]) -> None:
        """Have the logs of other sessions that grew kept small; those in use by another action are left to it.

        Nobody may ever act on a session again that streams for years.
        """
        until = time.monotonic() + _TIDY_SECONDS
        for session in self.store.all():
            key = (session.uid, session.role)
            if key in wanted or session.state != STREAMING or time.monotonic() > until:
                continue
            with suppress(ScistreamError, OSError):
                server = self.data_server(session, lenient=True)
                if server.has_much_to_tidy():
                    with self.store.locks.held([key], wait=False) as held:
                        if held:
                            server.tidy()

    def data_server(self, session: Session, key: str | None = None, lenient: bool = False) -> S2DS:
        """Return what forwards for a session; it may have been taken off the offer since.

        Args:
            session: The session.
            key: The private key of its certificate, where that is new.
            lenient: Do without settings of the policy that are wrong: to end it, they do not matter.
        """
        settings = self.policy.proxies.get(session.proxy, {}).get("settings", {})
        return data_server(self.policy.site, session.proxy, session.runtime, settings, session.spec(key), lenient)

    def point_back(self, before: Session) -> Steps[None]:
        """Return a data server, and its session, to where they were before an UPDATE."""
        server = self.data_server(before)
        try:
            yield server.update_listeners
        except BaseException:
            # The next action on it tries again.
            self.store.save(before.changed(pending="update"))
            raise
        self.store.save(before)

    def bring(self, before: Session, after: Session, turn: Turn) -> Steps[bool]:
        """Bring a data server and its session from one state to another; returns whether the data server had to be."""
        server = self.data_server(after)
        plan: Plan = yield server.plan
        if self.check_mode:
            return plan.needed
        if not plan.needed:
            self.keep(before, after, turn)
            return False
        # From here on a crash is repaired to the state before: what is new is not yet in the store.
        self.store.save(before.changed(pending="update"))
        try:
            yield lambda: server.carry_out(plan)
        except BaseException as error:
            # It left what was there before, and so does the store.
            with suppress(ScistreamError):
                self.store.save(before)
            if isinstance(error, S2DSException):
                raise (yield from self.explained(after, error)) from None
            raise
        if after != before:
            turn.undo(self.point_back, before)
        self.store.save(after)
        return True

    def keep(self, before: Session, after: Session, turn: Turn) -> None:
        """Write a session that an action changed."""
        if not self.check_mode and after != before:
            turn.undo(self.store.save, before)
            self.store.save(after)

    def has_left(self, uid: str, role: str) -> bool:
        """Tell whether there is anything of a session."""
        return orphans.exists(self.policy, uid, role)

    def sweep(self, uid: str, role: str) -> Steps[bool]:
        """Remove what a session left that the store knows nothing of; returns whether there was anything."""
        if not orphans.exists(self.policy, uid, role):
            return False
        if not self.check_mode:
            yield lambda: orphans.remove(self.policy, uid, role)
        return True

    def drop(self, session: Session) -> Steps[None]:
        """Release everything that a session has; the row goes last, so that what is left can be found again.

        Where it fails, the session stands as it was: what has ended of it the next REQ or UPDATE mends.
        """
        server = self.data_server(session, lenient=True)
        # On a full disk there may be no room for the mark, and it is what ends here that makes some.
        with suppress(ScistreamError):
            self.store.save(session.changed(pending="release"))
        try:
            yield server.release
        except BaseException:
            with suppress(ScistreamError):
                self.store.save(session)
            raise
        self.store.delete(session.uid, session.role)
