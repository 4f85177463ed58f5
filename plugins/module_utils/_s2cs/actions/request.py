# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""REQ: reserve listeners."""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from functools import partial
from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import (
    S2DSException,
    ScistreamError,
    ValueRefused,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import ports
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.base import Action, Change
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.control_messages import Request
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError, StateError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.ownership import (
    check_administrator,
    invoking_user,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import (
    Session,
    hash_secret,
    secret_matches,
    timestamp,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session_manager import SessionManager
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.steps import Steps, wait_turn
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.transaction import Transaction
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.data_server import S2DS
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.x509_der import parse

# How often other ports are chosen when something on the host takes those that were free a moment ago.
_PORT_TRIES = 8
_PORT_TAKEN = os.strerror(errno.EADDRINUSE)


class RequestAction(Action[Request]):
    """REQ: reserve listeners for each; the same request again finds its session as it is."""

    reserves = True

    def __init__(self, manager: SessionManager) -> None:
        super().__init__(manager)
        # In check mode: what this call would have reserved by now.
        self._planned: list[Session] = []

    def act(self, item: Request, transaction: Transaction) -> Steps[Change]:
        """Reserve the listeners of one session, and start what holds them."""
        address = self.policy.check_role(item.role)
        fresh = self._fresh_session(item)
        before = yield from self.manager.find(item.uid, item.role)
        if before is not None and not before.is_expired:
            transaction.independent = True
            yield wait_turn
            return (yield from self._again(item, fresh, before, transaction))
        if before is None and self.manager.has_directory(item.uid, item.role):
            check_administrator(self.policy, item.uid, item.role)
        server = self.manager.data_server(fresh)
        yield server.check
        # Which session gets which port is the same in check mode, and each time.
        yield wait_turn
        if self.check_mode:
            return Change(item.uid, item.role, None, self._plan(fresh, address))
        if before is not None:
            yield from self.manager.release(before)
        yield from self.manager.remove_orphan(item.uid, item.role)
        reserved = yield from self._reserve(server, fresh, address, transaction)
        reserved = reserved.replace(pending="").with_deadline()
        self.store.save(reserved)
        return Change(item.uid, item.role, None, reserved)

    def _reserve(self, server: S2DS, fresh: Session, address: str, transaction: Transaction) -> Steps[Session]:
        """Reserve ports, start and wait; where something else took a port a moment ago, try with others."""
        for left in reversed(range(_PORT_TRIES)):
            random_start = left < _PORT_TRIES - 1
            picks = ports.port_chooser(address, self.policy.port_range, fresh.num_conn, random_start=random_start)
            # Ports are tried outside of the transaction, which blocks other writers.
            with suppress(RefusedError):
                self.store.choose(address, fresh.num_conn, picks)
            reserved = self.store.reserve(fresh.replace(pending="request"), address, picks, self.policy.limits)
            transaction.on_rollback(self.manager.release, reserved)
            try:
                yield partial(_launch, server.as_specified(reserved.spec()))
                return reserved
            except S2DSException as error:
                try:
                    yield from self.manager.release(reserved)
                except (ScistreamError, OSError):
                    # It is tried again after the rollback, and reported then.
                    raise error from None
                transaction.clear()
                # What the data server says counts too: the other one may have let go again by now.
                free = all(ports.is_free(item.host, item.port) for item in reserved.spec().listeners)
                if not left or (free and _PORT_TAKEN not in str(error)):
                    raise
        raise AssertionError("the last try returns or raises")

    def _plan(self, fresh: Session, address: str) -> Session:
        """Return the session that would be reserved."""
        choose = ports.port_chooser(address, self.policy.port_range, fresh.num_conn)
        live = [session for session in self.store.all() if not session.is_expired]
        self.policy.limits.check(fresh, [*live, *self._planned])
        planned = [
            listener.port
            for session in self._planned
            for listener in session.spec().listeners
            if listener.host == address
        ]

        def choose_others(taken: Sequence[int], last: int) -> list[int]:
            return choose([*taken, *planned], last)

        found = self.store.choose(address, fresh.num_conn, choose_others)
        session = fresh.replace(listeners=[str(Endpoint(address, port)) for port in found])
        self._planned.append(session)
        return session

    def _again(self, wanted: Request, fresh: Session, before: Session, transaction: Transaction) -> Steps[Change]:
        """Find a session as it is; change what can be without cutting a connection, and restart its deadline."""
        differences = before.differences(fresh, wanted.specified)
        if not secret_matches(before.secret_hash, wanted.secret):
            differences.append("the secret is different")
        if differences:
            owner = "" if before.owner == fresh.owner else f" of {before.owner}"
            raise StateError(
                f"uid: session {before.uid} ({before.role}){owner} exists with different parameters: "
                f"{'; '.join(differences)}; release it first, or use another uid "
                "(give the stream a different name)"
            )
        after = before.updated(fresh, wanted.specified)
        _check_lifetime(before, after)
        if after.rate == before.rate:
            # What is only written down does not wait for the data server.
            repaired = yield from self.manager.repair(after)
            self.manager.save(before, after, transaction)
        else:
            repaired = yield from self.manager.apply(before, after, transaction)
        return Change(before.uid, before.role, before, after, repaired)

    def _fresh_session(self, wanted: Request) -> Session:
        settings = self.policy.proxies.get(wanted.proxy, {}).get("settings", {})
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
            half_close=settings.get("half_close") is not False,
            egress=self.policy.egress.get(wanted.role),
            clients=[str(network) for network in self.policy.check_clients("clients", wanted.role, [])],
        )
        return session.with_deadline()


def _launch(server: S2DS) -> None:
    server.start(checked=True)
    server.wait_ready()


def _check_lifetime(before: Session, after: Session) -> None:
    """Refuse another lifetime that is over already, or that the session's certificate does not last for."""
    if after.lifetime == before.lifetime:
        return
    if after.is_expired:
        raise ValueRefused(
            "lifetime",
            after.lifetime,
            f"session {before.uid} ({before.role}) was created at {timestamp(before.created)} and would have expired; "
            "give a longer lifetime, or release it (s2cs_release)",
        )
    longer = after.end is None or (before.end is not None and after.end > before.end)
    if before.certificate is None or not longer:
        return
    ends = parse(before.certificate).ends
    if after.end is None or after.end > ends:
        raise ValueRefused(
            "lifetime",
            after.lifetime,
            f"the certificate of session {before.uid} ({before.role}) expires at {timestamp(ends)}; give a lifetime "
            "that ends earlier, or release the stream and open it again",
        )
