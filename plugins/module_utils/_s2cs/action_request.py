# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""REQ: reserve listeners."""

from __future__ import annotations

import errno
import os
import time
from contextlib import ExitStack, suppress
from typing import Callable, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import ports
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.action import Action, Change, Outcome
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError, StateError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.keeper import Keeper
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.ownership import invoking_user
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.request import Request
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import (
    Session,
    hash_secret,
    secret_matches,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.data_server import S2DS
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.endpoint import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import S2DSException

# How often other ports are chosen when something on the host takes those that were free a moment ago.
_PORT_TRIES = 8
_PORT_TAKEN = os.strerror(errno.EADDRINUSE)


class RequestAction(Action[Request]):
    """REQ: reserve listeners for each; the same request again finds its session as it is."""

    def __init__(self, keeper: Keeper) -> None:
        super().__init__(keeper)
        # In check mode: what this call would have reserved by now.
        self._planned: list[Session] = []

    def act(self, item: Request, undo: ExitStack) -> Outcome:
        """Reserve the listeners of one session, and start what holds them."""
        address = self.policy.check_role(item.role)
        fresh = self._fresh_session(item)
        server = self.keeper.data_server(fresh)
        before = self.keeper.present(item.uid, item.role)
        if before is not None and not before.is_expired:
            return self._again(item, fresh, before)
        server.check(fresh.instance())
        choose = ports.chooser(address, self.policy.port_range, item.num_conn)
        if self.check_mode:
            return Change(item.uid, item.role, None, self._plan(fresh, address, choose))
        if before is not None:
            self.keeper.drop(before)
        undo.callback(self.keeper.give_back, fresh)

        def launch(again: bool = False) -> Session:
            picks = choose
            if again:
                picks = ports.chooser(address, self.policy.port_range, item.num_conn, anywhere=True)
            # Ports are tried outside of the transaction, in which nobody else can write.
            with suppress(RefusedError):
                self.store.choose(address, item.num_conn, picks)
            reserved = self.store.reserve(fresh.changed(pending="request"), address, picks, self.policy.limits)
            server.start(reserved.instance())
            return reserved

        launched = launch()
        return lambda: self._finish(server, launched, launch)

    def _plan(self, fresh: Session, address: str, choose: ports.Choose) -> Session:
        """Return the session that would be reserved."""
        live = [session for session in self.store.all() if not session.is_expired]
        self.policy.limits.check(fresh, [*live, *self._planned])
        planned = [
            listener.port
            for session in self._planned
            for listener in session.instance().listeners
            if listener.host == address
        ]

        def choose_others(taken: Sequence[int], last: int) -> list[int]:
            return choose([*taken, *planned], last)

        found = self.store.choose(address, fresh.num_conn, choose_others)
        session = fresh.changed(listeners=[str(Endpoint(address, port)) for port in found])
        self._planned.append(session)
        return session

    def _finish(self, server: S2DS, session: Session, launch: Callable[[bool], Session]) -> Change:
        """Wait for the listeners; where something else took a port a moment ago, try with others."""
        for left in reversed(range(_PORT_TRIES)):
            try:
                server.wait_ready(session.instance())
                break
            except S2DSException as error:
                self.keeper.drop(session)
                # What the data server says counts too: the other one may have let go again by now.
                free = all(ports.is_free(item.host, item.port) for item in session.instance().listeners)
                if not left or (free and _PORT_TAKEN not in str(error)):
                    raise
                session = launch(True)
        reserved = session.changed(pending="").awaiting_hello()
        self.store.save(reserved)
        return Change(session.uid, session.role, None, reserved)

    def _again(self, wanted: Request, fresh: Session, before: Session) -> Change:
        differences = before.differences(fresh, wanted.asked)
        if not secret_matches(before.secret_hash, wanted.secret):
            differences.append("the secret is another one")
        if differences:
            owner = "" if before.owner == fresh.owner else f" of {before.owner}"
            raise StateError(
                f"uid: session {before.uid} ({before.role}){owner} exists with other parameters: "
                f"{'; '.join(differences)}; release it first, or use another uid "
                "(a stream gets one by another name)"
            )
        mended = self.keeper.mend(before)
        return Change(before.uid, before.role, before, before, mended)

    def _fresh_session(self, wanted: Request) -> Session:
        session = Session(
            uid=wanted.uid,
            role=wanted.role,
            proxy=wanted.proxy,
            runtime=wanted.runtime,
            encryption=wanted.encryption,
            num_conn=wanted.num_conn,
            rate=wanted.rate,
            hello_timeout=wanted.hello_timeout,
            lifetime=wanted.lifetime,
            labels=wanted.labels,
            transport=wanted.transport,
            owner=invoking_user(),
            secret_hash=hash_secret(wanted.secret),
            created=time.time(),
            expires=None,
            egress=self.policy.egress.get(wanted.role),
            clients=[str(network) for network in self.policy.check_clients("clients", wanted.role, [])],
        )
        return session.awaiting_hello()
