# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""UPDATE: set the targets of the listeners, and start forwarding."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import (
    OTHER_VERSION,
    Endpoint,
    fits,
    parse_endpoint,
    parse_endpoints,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES, RUNTIMES
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import MAX_PROBE_LIFETIME
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import options
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.action_type import ActionType
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.base import Action, Change
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.concurrent_tasks import Steps
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.control_messages import (
    Update,
    no_target,
    read_update,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import StateError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.name_lookup import NameLookup
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.ownership import check_permission
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import (
    ANNOUNCED,
    STREAMING,
    Session,
    format_endpoints,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session_manager import SessionManager
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.target_resolution import resolve_targets
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.transaction import Transaction
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.target_probe import find_unreachable


class UpdateAction(Action[Update]):
    """UPDATE: set the targets of the listeners, and start forwarding."""

    def __init__(self, manager: SessionManager) -> None:
        super().__init__(manager)
        self._names = NameLookup()

    def prepare(self, items: Sequence[Update]) -> None:
        """Resolve the targets before the sessions are locked, because name servers can be slow."""
        targets = [target for item in items for target in self._announced(item)]
        self._names.resolve(target.host for target in targets if target.address is None)

    def _announced(self, item: Update) -> Sequence[Endpoint]:
        if item.remote_listeners is not None:
            return item.remote_listeners
        # If this fails, the action reports it.
        with suppress(ScistreamError):
            session = self.store.get(item.uid, item.role)
            if session is not None:
                return parse_endpoints("producer_listeners", session.producer_listeners)
        return []

    def check_unlocked(self, item: Update, session: Session) -> None:
        """Check the permission of the caller."""
        check_permission(self.policy, session, item.secret, "update", self.manager.caller)

    def act(self, item: Update, transaction: Transaction) -> Steps[Change]:
        """Set the targets of one session."""
        before = yield from self.manager.require(item.uid, item.role)
        transaction.independent = before.state == STREAMING
        check_permission(self.policy, before, item.secret, "update", self.manager.caller)
        if item.remote_listeners is None and item.role == "consumer" and not before.is_turned:
            raise no_target(None)
        before.require_state(ANNOUNCED, STREAMING)
        _check_for_probe(item, before)
        if item.for_probe and item.role == "producer":
            targets = yield lambda: self._temporary_target(item, before, transaction)
        else:
            targets = yield lambda: self._targets(item, before)
        after = before.replace(
            state=STREAMING,
            expires=before.end,
            peer_certificate=_peer_certificate(item, before),
            for_probe=item.for_probe,
            **{**targets, **self._peers(item, before)},
        )
        repaired = yield from self.manager.apply(before, after, transaction)
        change = Change(item.uid, item.role, before, after, repaired=repaired)
        if item.probe and not self.check_mode and change.after is not None:
            change.after["unreachable_targets"] = yield lambda: self._unreachable(before, after)
        return change

    def _temporary_target(self, update: Update, session: Session, transaction: Transaction) -> dict[str, Any]:
        """Start the temporary endpoint of a probe, which no rule of the policy has to allow, and return the targets."""
        clients = [str(item) for item in self.policy.check_clients("clients", session.role, update.clients)]
        if self.check_mode or session.state == STREAMING:
            return {"clients": clients}
        # Only loaded for probes, because the service keeps in memory what it has loaded.
        from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import probe_endpoint

        left = int((session.end or 0) - time.time())
        started = probe_endpoint.start(self.policy.layout.directory(session.name), left, session.egress)
        transaction.on_rollback(started.stop)
        return {"targets": [str(started.endpoint)], "resolved": [str(started.endpoint)], "clients": clients}

    def _unreachable(self, before: Session, after: Session) -> list[dict[str, str]]:
        """Return the targets that do not accept connections. If this fails, the update is still valid."""
        with suppress(ScistreamError, OSError):
            targets = after.resolved
            if before.state == STREAMING and self._was_used(after):
                targets = [target for target in targets if target not in before.resolved]
            return unreachable(after, targets)
        return []

    def _was_used(self, session: Session) -> bool:
        """Tell whether a session has had connections. If its data server does not know, assume that it has."""
        counters = self.manager.data_server(session).status().counters or {}
        connections: Mapping[str, Any] = counters.get("connections") or {}
        return connections.get("total") != 0

    def _peers(self, update: Update, session: Session) -> dict[str, Any]:
        """Return where the producer's gateway connects to the consumer's, or from where it may."""
        which = f"session {session.uid} ({session.role})"
        if not session.is_turned:
            for option in ("peer_listeners", "peer_clients"):
                if getattr(update, option):
                    raise StateError(f"{option}: {which} has dial {session.dial}, which does not use them; omit it")
            return {}
        if session.role == "consumer":
            if update.remote_listeners is not None:
                raise StateError(
                    f"remote_listeners: {which} has dial {session.dial}, so the other gateway connects to it"
                )
            allowed = self.policy.check_clients("peer_clients", "producer", update.peer_clients)
            return {"peer_clients": [str(item) for item in allowed]}
        if update.clients:
            raise StateError(f"clients: {which} has dial {session.dial}, so nothing connects to it; omit it")
        if update.peer_listeners is None:
            if not session.peer_listeners:
                raise StateError(
                    f"peer_listeners: {which} has dial {session.dial}: specify where the consumer's gateway waits, as "
                    "shown by the session there"
                )
            return {"clients": []}
        if len(update.peer_listeners) != session.num_conn:
            raise ValueRefused(
                "peer_listeners",
                format_endpoints(update.peer_listeners),
                f"specify one for each connection; the session has num_conn {session.num_conn}",
            )
        for index, listener in enumerate(update.peer_listeners):
            if not fits(listener, session.peer_egress):
                raise ValueRefused(
                    f"peer_listeners[{index}]",
                    str(listener),
                    f"it cannot be reached from the egress address {session.peer_egress}: {OTHER_VERSION}",
                )
        return {"peer_listeners": format_endpoints(update.peer_listeners), "clients": []}

    def _targets(self, update: Update, session: Session) -> dict[str, Any]:
        if update.remote_listeners is None and session.role == "consumer":
            return {"targets": [], "resolved": [], "clients": self._allowed(update, session)}
        if update.remote_listeners is None:
            option = "producer_listeners"
            targets = parse_endpoints(option, session.producer_listeners)
        else:
            option, targets = "remote_listeners", list(update.remote_listeners)
        if len(targets) > session.num_conn:
            raise ValueRefused(
                option,
                format_endpoints(targets),
                f"the session has num_conn {session.num_conn}: specify at most that many targets",
            )
        resolved = resolve_targets(self.policy, session, option, targets, self._names.find)
        return {
            "targets": format_endpoints(targets),
            "resolved": format_endpoints(resolved),
            "clients": self._allowed(update, session),
        }

    def _allowed(self, update: Update, session: Session) -> list[str]:
        """Return the networks that may connect to the listeners."""
        if update.for_probe and PROXIES[session.proxy].restricts_clients:
            return session.own_clients
        return [str(item) for item in self.policy.check_clients("clients", session.role, update.clients)]


def unreachable(session: Session, targets: Sequence[str]) -> list[dict[str, str]]:
    """Return the targets of a session that do not accept connections from this gateway, with the reasons.

    UDP targets cannot be probed, nor those of Janus, to which another host connects.

    Args:
        session: The session.
        targets: The resolved targets to probe.
    """
    if session.transport == "udp" or session.runtime == "janus":
        return []
    names = dict(zip(session.resolved, session.targets))
    found = [parse_endpoint("targets", target) for target in targets]
    failed = find_unreachable([(target.host, target.port) for target in found], session.egress)
    return [{"target": names[str(Endpoint(item.host, item.port))], "msg": item.reason} for item in failed]


def _check_for_probe(update: Update, session: Session) -> None:
    """Check that a session can be one for a probe.

    Raises:
        ValueRefused: It cannot.
    """
    if not update.for_probe and not session.for_probe:
        return
    if not update.for_probe:
        why = f"session {session.uid} ({session.role}) is for a probe: request another one for an application"
    elif session.state == STREAMING and not session.for_probe:
        why = f"session {session.uid} ({session.role}) is streaming already: request another one"
    elif session.lifetime is None or session.lifetime > MAX_PROBE_LIFETIME:
        why = f"a session for a probe must have a lifetime of at most {MAX_PROBE_LIFETIME} s"
    elif session.transport == "udp":
        why = "a session for a probe must have the transport tcp or both"
    elif not RUNTIMES[session.runtime].listens_here:
        why = f"data servers of the runtime {session.runtime} cannot reach a temporary endpoint on this gateway"
    else:
        return
    raise ValueRefused("probe", update.for_probe, why)


def _peer_certificate(update: Update, session: Session) -> str | None:
    """Return the certificate that the other gateway must present.

    Raises:
        StateError: The session is encrypted and has no certificate, or is not encrypted and was given one.
    """
    which = f"session {session.uid} ({session.role})"
    if session.encryption == "none":
        if update.peer_certificate is not None:
            raise StateError(f"peer_certificate: {which} has encryption none, which does not use certificates; omit it")
        return None
    if session.certificate is None:
        raise StateError(
            f"certificate: {which} is encrypted and has no certificate of this gateway yet: provide certificate and "
            "key in a HELLO first (s2cs_hello)"
        )
    found = update.peer_certificate or session.peer_certificate
    if found is None:
        raise StateError(
            f"peer_certificate: {which} is encrypted: specify the certificate of the other gateway, as shown by the "
            "session there"
        )
    return found


UPDATE = ActionType("update", options.UPDATE, read_update, UpdateAction)
