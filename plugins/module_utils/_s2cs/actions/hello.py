# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HELLO: an application announces itself, and its gateway gets the certificate and the key that it is to use."""

from __future__ import annotations

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import options
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.action_type import ActionType
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.base import Action, Change
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.concurrent_tasks import Steps
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.control_messages import Hello, read_hello
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError, StateError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import (
    ANNOUNCED,
    RESERVED,
    STREAMING,
    Session,
    format_endpoints,
    secret_matches,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.transaction import Transaction
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.data_server import S2DS, Plan


class HelloAction(Action[Hello]):
    """HELLO: announce applications, which prove with the secret that they belong to their streams."""

    def check_unlocked(self, item: Hello, session: Session) -> None:
        """Check the secret."""
        _check_secret(item, session)

    def act(self, item: Hello, transaction: Transaction) -> Steps[Change]:
        """Announce one application."""
        before = yield from self.manager.require(item.uid, item.role)
        transaction.independent = before.state == STREAMING
        _check_secret(item, before)
        before.require_state(RESERVED, ANNOUNCED, STREAMING)
        if len(item.producer_listeners) > before.num_conn:
            raise ValueRefused(
                "producer_listeners",
                format_endpoints(item.producer_listeners),
                f"the session has num_conn {before.num_conn}: announce at most that many",
            )
        after = before.replace(update_timeout=item.update_timeout)
        if item.announce:
            after = after.replace(
                producer_listeners=format_endpoints(item.producer_listeners),
                state=ANNOUNCED if before.state == RESERVED else before.state,
            )
        after = after.with_deadline()
        if item.certificate is None:
            yield from self.manager.save(before, after, transaction)
            return Change(item.uid, item.role, before, after)
        return (
            yield from self._with_credentials(
                before, after.replace(certificate=item.certificate), item.key, transaction
            )
        )

    def _with_credentials(
        self, before: Session, after: Session, key: str | None, transaction: Transaction
    ) -> Steps[Change]:
        """Announce an application with a certificate and a key. The key is only passed to the data server."""
        which = f"session {before.uid} ({before.role})"
        if before.encryption == "none":
            raise StateError(f"certificate: {which} has encryption none, which does not use certificates; omit it")
        if before.state == STREAMING and after.certificate != before.certificate:
            raise StateError(f"certificate: {which} is streaming with a different one; release it first (s2cs_release)")
        after.require_storable()
        server = self.manager.data_server(after, key)
        plan: Plan = yield server.plan_credentials
        if plan.needed and not self.check_mode:
            transaction.on_rollback(_restore_credentials, server.with_spec(before.spec(server.key)))
            # If killed from here on, the session has no certificate, and the next HELLO provides one.
            transaction.on_rollback(self.store.save, before)
            if before.certificate is not None:
                yield self.store.saving(before.replace(certificate=None))
            yield lambda: server.carry_out(plan)
            yield self.store.saving(after)
        else:
            yield from self.manager.save(before, after, transaction)
        return Change(before.uid, before.role, before, after, repaired=plan.needed)


def _check_secret(item: Hello, session: Session) -> None:
    if not secret_matches(session.secret_hash, item.secret):
        raise RefusedError(f"secret: this is not the secret of session {item.uid} ({item.role})")


def _restore_credentials(before: S2DS) -> Steps[None]:
    """Restore the previous files of certificate and key."""
    yield before.write_credentials


HELLO = ActionType("hello", options.HELLO, read_hello, HelloAction)
