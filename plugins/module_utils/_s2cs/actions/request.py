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
from ansible_collections.scistream.gateway.plugins.module_utils._common.dial import dial_problem
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import (
    S2DSException,
    ScistreamError,
    ValueRefused,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.rate import rate_problem
from ansible_collections.scistream.gateway.plugins.module_utils._common.x509_der import parse
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import options, ports
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.action_type import ActionType
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.base import Action, Change
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.concurrent_tasks import Steps, wait_turn
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.control_messages import Request, read_request
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError, StateError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.limits import Usage
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.ownership import (
    check_administrator,
    is_administrator,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.port_selection import PortSelection
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import (
    Session,
    hash_secret,
    secret_matches,
    timestamp,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session_manager import SessionManager
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.transaction import Transaction
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.data_server import S2DS

# Maximum number of attempts with other ports, if another program takes ports that were free a moment ago.
_PORT_ATTEMPTS = 8
_PORT_TAKEN = os.strerror(errno.EADDRINUSE)


class RequestAction(Action[Request]):
    """REQ: reserve listeners. Repeating the request returns the existing session."""

    reserves = True

    def __init__(self, manager: SessionManager) -> None:
        super().__init__(manager)
        self._ports = PortSelection(manager, [])
        # In check mode, the sessions that this call would have reserved so far.
        self._planned: list[Session] = []

    def check_unlocked(self, item: Request, session: Session) -> None:
        """Check that the stream is not that of another user."""
        caller = self.manager.caller
        if not is_administrator(self.policy, caller) and not (caller.known and caller.name == session.owner):
            _check_same(item, self._new_session(item), session)

    def prepare(self, items: Sequence[Request]) -> None:
        """Look at the ports that the requests specify together."""
        self._ports = PortSelection(self.manager, items)

    def act(self, item: Request, transaction: Transaction) -> Steps[Change]:
        """Reserve the listeners of one session, and start the data server that binds them."""
        address = self.policy.check_role(item.role)
        new = self._new_session(item)
        before = yield from self.manager.find(item.uid, item.role)
        if before is not None and not before.is_expired:
            transaction.independent = True
            yield wait_turn
            return (yield from self._existing(item, new, before, transaction))
        if before is None and self.manager.has_directory(item.uid, item.role):
            check_administrator(self.policy, item.uid, item.role, self.manager.caller)
        _check_rate(new)
        self._check_dial(new)
        server = self.manager.data_server(new)
        yield server.check
        # Ports are assigned in the order of the sessions, so that check mode predicts them.
        yield wait_turn
        if self.check_mode:
            return Change(item.uid, item.role, None, self._plan(new, address))
        if before is not None:
            yield from self.manager.release(before)
        yield from self.manager.remove_orphan(item.uid, item.role)
        reserved = yield from self._reserve(server, new, address, transaction)
        reserved = reserved.replace(pending="").with_deadline()
        yield self.store.saving(reserved)
        return Change(item.uid, item.role, None, reserved)

    def _reserve(self, server: S2DS, new: Session, address: str, transaction: Transaction) -> Steps[Session]:
        """Reserve ports, start the data server and wait for it. If another program takes a port, try other ports."""
        for attempts_left in reversed(range(_PORT_ATTEMPTS)):
            chooser = self._ports.chooser(new, address, other_ports=attempts_left < _PORT_ATTEMPTS - 1)
            # Ports are tested before the transaction, because it blocks other writers.
            peers = self._peers(new)
            with suppress(RefusedError):
                self.store.choose(address, new.num_listeners, chooser)
                if peers is not None:
                    self.store.choose(peers[0], new.num_conn, peers[1])
            wanted = new.replace(pending="request")
            # Registered before, because this call may be interrupted immediately after the reservation.
            transaction.on_rollback(self.manager.release, wanted)
            try:
                reserved: Session = yield self.store.reserving(
                    wanted, address, chooser, self.policy.limits, self._ports.wished(new), peers
                )
            except ScistreamError:
                transaction.clear()
                raise
            try:
                yield partial(_launch, server.with_spec(reserved.spec()))
                return reserved
            except S2DSException as error:
                try:
                    yield from self.manager.release(reserved)
                except (ScistreamError, OSError):
                    # The rollback tries again, and reports the error if it fails too.
                    raise error from None
                transaction.clear()
                # The port may be free again by now, but the data server reported that it was in use.
                free = all(ports.is_free(item.host, item.port) for item in reserved.own_endpoints)
                fixed = self._ports.is_specified(new)
                if not attempts_left or fixed or (free and _PORT_TAKEN not in str(error)):
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _peers(self, new: Session) -> tuple[str, ports.PortChooser] | None:
        """Return where a session waits for the other gateway, and what selects the ports. None if it does not."""
        if not new.is_turned or new.role != "consumer":
            return None
        address = self.policy.peer_address()
        return address, self._ports.peer_chooser(new, address)

    def _check_dial(self, session: Session) -> None:
        """Refuse a session whose gateways cannot connect the other way round."""
        problem = dial_problem(session.dial, session.proxy, session.runtime, session.transport)
        if session.is_turned and self.policy.settings(session.proxy).get("kernel_tls") is True:
            problem = problem or (
                f"dial: {session.dial} is not supported with kernel_tls true in the settings of {session.proxy}: "
                'set it to "auto" or false, or omit dial'
            )
        if problem:
            raise S2DSException(problem)

    def _plan(self, new: Session, address: str) -> Session:
        """Return the session that would be reserved (check mode)."""
        chooser = self._ports.chooser(new, address)
        live = [session for session in self.store.all() if not session.is_expired]
        self.policy.limits.check(new, Usage.of([*live, *self._planned], new.owner))
        planned = [item for session in self._planned for item in session.own_endpoints]
        listeners = self._choose(new.num_listeners, address, chooser, planned)
        session = new.replace(listeners=[str(item) for item in listeners])
        peers = self._peers(new)
        if peers is not None:
            found = self._choose(new.num_conn, *peers, [*planned, *listeners])
            session = session.replace(peer_listeners=[str(item) for item in found])
        session.require_storable()
        self._planned.append(session)
        return session

    def _choose(
        self, count: int, address: str, chooser: ports.PortChooser, planned: Sequence[Endpoint]
    ) -> list[Endpoint]:
        """Select ports beside those that sessions of this call would get (check mode)."""
        others = [item.port for item in planned if item.host == address]
        found = self.store.choose(address, count, lambda taken, last: chooser([*taken, *others], last))
        return [Endpoint(address, port) for port in found]

    def _existing(self, request: Request, new: Session, before: Session, transaction: Transaction) -> Steps[Change]:
        """Return an existing session with a new deadline, after changes that do not interrupt connections."""
        _check_same(request, new, before)
        after = before.updated(new, request.specified)
        _check_lifetime(before, after)
        if after.rate == before.rate:
            # The data server does not depend on the other options.
            repaired = yield from self.manager.repair(after)
            yield from self.manager.save(before, after, transaction)
        else:
            if after.rate is not None:
                # Nothing else would check it before the data server runs.
                _check_rate(after)
                yield self.manager.data_server(after).check
            repaired = yield from self.manager.apply(before, after, transaction)
        return Change(before.uid, before.role, before, after, repaired)

    def _clients(self, role: str) -> list[str]:
        """Return the networks that may connect to the listeners of a role, if an UPDATE does not restrict them."""
        return [str(network) for network in self.policy.check_clients("clients", role, [])]

    def _new_session(self, request: Request) -> Session:
        session = Session(
            uid=request.uid,
            role=request.role,
            proxy=request.proxy,
            runtime=request.runtime,
            encryption=request.encryption,
            num_conn=request.num_conn,
            rate=request.rate,
            hello_timeout=request.hello_timeout,
            lifetime=request.lifetime,
            labels=request.labels,
            transport=request.transport,
            rtt=request.rtt,
            owner=self.manager.caller.name,
            secret_hash=hash_secret(request.secret),
            created=time.time(),
            expires=None,
            half_close=self.policy.settings(request.proxy).get("half_close") is not False,
            egress=self.policy.egress.get(request.role),
            clients=self._clients(request.role),
            dial=request.dial,
            peer_clients=self._clients("producer") if request.dial == "producer" and request.role == "consumer" else [],
            peer_egress=self.policy.egress.get("consumer") if request.dial == request.role == "producer" else None,
        )
        return session.with_deadline()


def _check_same(request: Request, new: Session, before: Session) -> None:
    """Check that a request is for the existing session.

    Raises:
        StateError: It is for a different one.
    """
    differences = before.differences(new, request.specified)
    present = [listener.port for listener in before.spec().listeners]
    if request.ports and list(request.ports) != present:
        differences.append(f"ports is {present}, requested {list(request.ports)}")
    if not secret_matches(before.secret_hash, request.secret):
        differences.append("the secret is different")
    if differences:
        own = before.owner == new.owner
        remedy = "release it first" if own else f"ask {before.owner} to release it"
        raise StateError(
            f"uid: session {before.uid} ({before.role}){'' if own else f' of {before.owner}'} exists with different "
            f"parameters: {'; '.join(differences)}; {remedy}, or use another uid (which follows from the name of the "
            "stream)"
        )


def _check_rate(session: Session) -> None:
    """Refuse a rate that cannot be limited. The data server does not have its listeners yet."""
    if session.rate is None:
        return
    problem = rate_problem(session.proxy, session.transport, session.rate, session.num_conn)
    if problem:
        raise S2DSException(problem)


def _launch(server: S2DS) -> None:
    server.start(checked=True)
    server.wait_ready()


def _check_lifetime(before: Session, after: Session) -> None:
    """Refuse a new lifetime that has already ended, or that exceeds the validity of the session's certificate."""
    if after.lifetime == before.lifetime:
        return
    if after.is_expired:
        raise ValueRefused(
            "lifetime",
            after.lifetime,
            f"session {before.uid} ({before.role}) was created at {timestamp(before.created)} and would have expired; "
            "specify a longer lifetime, or release it (s2cs_release)",
        )
    longer = after.end is None or (before.end is not None and after.end > before.end)
    if before.certificate is None or not longer:
        return
    ends = parse(before.certificate).ends
    if after.end is None or after.end > ends:
        raise ValueRefused(
            "lifetime",
            after.lifetime,
            f"the certificate of session {before.uid} ({before.role}) expires at {timestamp(ends)}; specify a lifetime "
            "that ends earlier, or release the stream and open it again",
        )


REQUEST = ActionType("request", options.REQUEST, read_request, RequestAction)
