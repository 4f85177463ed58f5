# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""REL: release everything that a session has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Collection, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import options
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.action_type import ActionType
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.base import Action, Change
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.concurrent_tasks import Steps
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.control_messages import Release, read_release
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RowError, UnusableStoreError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.ownership import (
    check_administrator,
    check_permission,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.transaction import Transaction


@dataclass(frozen=True)
class ReleaseItem:
    """A session to release."""

    uid: str
    role: str
    secret: str | None = field(repr=False)


class ReleaseAction(Action[ReleaseItem]):
    """REL: release everything that sessions have. Sessions that do not exist are ignored."""

    independent = True
    releases = True
    # Streams with a directory on this gateway when the action began.
    _present: Collection[str] = ()

    def items(self, messages: Sequence[Release]) -> list[ReleaseItem]:
        """Return each session once, whether it was specified with its role or by its stream."""
        found: dict[tuple[str, str], ReleaseItem] = {}
        for message in messages:
            for role in message.roles:
                known = found.get((message.uid, role))
                secret = message.secret or (known.secret if known else None)
                found[message.uid, role] = ReleaseItem(message.uid, role, secret)
        self._present = {uid for uid, role in found if self.manager.has_directory(uid, role)}
        return list(found.values())

    def check_unlocked(self, item: ReleaseItem, session: Session) -> None:
        """Check the permission of the caller."""
        check_permission(self.policy, session, item.secret, "release", self.manager.caller)

    def act(self, item: ReleaseItem, transaction: Transaction) -> Steps[Change]:
        """Release one session."""
        try:
            before = self.store.get(item.uid, item.role)
        except RowError:
            return (yield from self._unknown(item, has_row=True))
        except UnusableStoreError as error:
            # Sessions in the store may only be released by a version that can read it. Without a directory, there is
            # nothing to release.
            if (item.uid, item.role) in error.known or item.uid not in self._present:
                raise
            return (yield from self._unknown(item, has_row=False))
        if before is None:
            return (yield from self._unknown(item, has_row=False))
        # An expired session has no owner. Any action releases it.
        if not before.is_expired:
            check_permission(self.policy, before, item.secret, "release", self.manager.caller)
        counters = yield from self._counters(before)
        if not self.check_mode:
            yield from self.manager.release(before)
        change = Change(item.uid, item.role, before, None)
        change.counters = counters
        return change

    def _unknown(self, item: ReleaseItem, has_row: bool) -> Steps[Change]:
        """Release a session whose row is missing or cannot be read."""
        if has_row or self.manager.has_directory(item.uid, item.role):
            check_administrator(self.policy, item.uid, item.role, self.manager.caller)
        removed = yield from self.manager.remove_orphan(item.uid, item.role)
        if has_row and not self.check_mode:
            yield self.store.deleting(item.uid, item.role)
        return Change(item.uid, item.role, None, None, repaired=removed or has_row)

    def _counters(self, session: Session) -> Steps[dict[str, Any] | None]:
        """Return the counters of the data server of a session, or None if they are not known."""
        try:
            server = self.manager.data_server(session, lenient=True)
            status = yield server.status
        except (ScistreamError, OSError):
            return None
        counters: dict[str, Any] | None = status.counters
        return counters


RELEASE = ActionType("release", options.RELEASE, read_release, ReleaseAction, lenient=True)
