# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sessions of a gateway with their data servers: finding, mending, giving back. What all actions need."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import StateError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session, session_name
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.store import Store
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.data_server import S2DS
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.instance import Instance
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.registry import PROXIES, data_server


class Keeper:
    """Keeps the sessions in the store and their data servers in step.

    Args:
        policy: The administrator's policy.
        check_mode: Decide as always, but change nothing.
    """

    def __init__(self, policy: Policy, check_mode: bool = False) -> None:
        self.policy = policy
        self.check_mode = check_mode
        self.store = Store(policy.site.state_dir, read_only=check_mode)
        self.mended: set[tuple[str, str]] = set()

    def needed(self, uid: str, role: str) -> Session:
        """Return a session that must be there."""
        session = self.present(uid, role)
        if session is None:
            others = [other.role for other in self.store.all(uid)]
            here = f"; here it has the role {', '.join(others)}" if others else ""
            raise StateError(
                f"uid: gateway {self.policy.gateway} has no session {uid} with the role {role}{here}; "
                "request it first (s2cs_request)"
            )
        return session

    def present(self, uid: str, role: str) -> Session | None:
        """Return a session, repaired if the last action on it was killed."""
        session = self.store.get(uid, role)
        if session is None or not session.pending or self.check_mode:
            return session
        if session.pending != "update":
            self.drop(session)
            return None
        session = session.changed(pending="")
        # Where that fails, the action that comes now meets the same fault and tells of it.
        with suppress(ScistreamError):
            self.mend(session)
            self.store.save(session)
        return session

    def mend(self, session: Session) -> bool:
        """Bring the data server of a session to what the session says, if it is not; returns whether it was not."""
        server = self.data_server(session)
        instance = session.instance()
        if not server.needs_update(instance):
            return False
        if not self.check_mode:
            server.update_listeners(instance)
            self.mended.add((session.uid, session.role))
        return True

    def reclaim(self, wanted: Sequence[tuple[str, str]]) -> None:
        """Give back what expired sessions hold; those in use by another action are left to it."""
        for session in self.store.all():
            key = (session.uid, session.role)
            if not session.is_expired or key in wanted:
                continue
            with self.store.locked([key], wait=False) as held:
                current = self.store.get(*key) if held else None
                if current is not None and current.is_expired:
                    # One that cannot be given back must not keep others from theirs; the next action tries again.
                    self.give_back(current)

    def data_server(self, session: Session) -> S2DS:
        """Return what forwards for a session; it may have been taken off the offer since."""
        settings = self.policy.proxies.get(session.proxy, {}).get("settings", {})
        return data_server(self.policy.site, session.proxy, session.runtime, settings)

    def point_back(self, before: Session) -> None:
        """Return a data server, and its session, to where they were before an UPDATE."""
        with suppress(ScistreamError):
            self.data_server(before).update_listeners(before.instance())
            self.store.save(before)

    def sweep(self, uid: str, role: str) -> bool:
        """Remove what a session left that the store knows nothing of; returns whether there was anything."""
        name = session_name(uid, role)
        if not os.path.isdir(self.policy.site.directory(name)):
            return False
        if not self.check_mode:
            for proxy, item in self.policy.proxies.items():
                for runtime in item.get("runtimes", ()):
                    data_server(self.policy.site, proxy, runtime, item.get("settings", {})).release(Instance(name, ()))
            for proxy in PROXIES:
                data_server(self.policy.site, proxy, "process", {}).release(Instance(name, ()))
        return True

    def give_back(self, session: Session) -> None:
        """Undo a REQ; what cannot be given back now is marked in the store, and the next action finds it."""
        with suppress(ScistreamError):
            self.drop(session)

    def drop(self, session: Session) -> None:
        """Give back everything that a session has; the row goes last, so that what is left can be found again."""
        self.store.save(session.changed(pending="release"))
        self.data_server(session).release(session.instance())
        self.store.delete(session)
