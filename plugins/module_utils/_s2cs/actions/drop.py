# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""DROP: close the connections of a stream without releasing it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import options
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.action_type import ActionType
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.base import Action, Change
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.concurrent_tasks import Steps
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.control_messages import Release, read_release
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.ownership import check_permission
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import STREAMING, Session
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.transaction import Transaction


@dataclass(frozen=True)
class _One:
    """A session whose connections are to be closed."""

    uid: str
    role: str
    secret: str | None = field(repr=False)


class DropAction(Action[_One]):
    """DROP: close all connections by restarting the data servers. Listeners, targets and counters are kept."""

    independent = True

    def items(self, messages: Sequence[Release]) -> list[_One]:
        """Return each session once. Without a role, those of both roles that exist here."""
        found: dict[tuple[str, str], _One] = {}
        for message in messages:
            here = [session.role for session in self.store.all(message.uid) if session.role in message.roles]
            for role in here or message.roles[:1]:
                found[message.uid, role] = _One(message.uid, role, message.secret)
        return list(found.values())

    def check_unlocked(self, item: _One, session: Session) -> None:
        """Check the permission of the caller."""
        check_permission(self.policy, session, item.secret, "interrupt", self.manager.caller)

    def act(self, item: _One, transaction: Transaction) -> Steps[Change]:
        """Close the connections of one session."""
        session = yield from self.manager.require(item.uid, item.role)
        check_permission(self.policy, session, item.secret, "interrupt", self.manager.caller)
        session.require_state(STREAMING)
        if not self.check_mode:
            # If this is killed, the next action or the service restarts the data server.
            self.store.save(session.replace(pending="update"))
            yield self.manager.data_server(session).stop
            yield from self.manager.repair(session)
            self.store.save(session)
        return Change(item.uid, item.role, session, session, repaired=True)


DROP = ActionType("drop", options.DROP, read_release, DropAction)
