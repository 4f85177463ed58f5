# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""REL: give everything back."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.action import Action, Change
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.ownership import check_right
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.request import Release


@dataclass(frozen=True)
class _One:
    """A session that is to be released."""

    uid: str
    role: str
    secret: str | None = field(repr=False)


class ReleaseAction(Action[_One]):
    """REL: give everything back; what is not there is released already, and what cannot be keeps nothing else."""

    all_or_nothing = False

    def items(self, given: Sequence[Release]) -> list[_One]:
        """Return each session once, whether it was named with its role or by the stream."""
        found: dict[tuple[str, str], _One] = {}
        for item in given:
            for role in item.roles:
                known = found.get((item.uid, role))
                found[item.uid, role] = _One(item.uid, role, item.secret or (known.secret if known else None))
        return list(found.values())

    def act(self, item: _One, undo: ExitStack) -> Change:
        """Release one session."""
        before = self.store.get(item.uid, item.role)
        if before is None:
            swept = self.keeper.sweep(item.uid, item.role)
            return Change(item.uid, item.role, None, None, mended=swept)
        # Nobody owns what expired: any action gives it back.
        if not before.is_expired:
            check_right(self.policy, before, item.secret, "release")
        if not self.check_mode:
            self.keeper.drop(before)
        return Change(item.uid, item.role, before, None)
