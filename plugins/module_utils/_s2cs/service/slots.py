# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Limits of the number of concurrent calls of all users and of one user, so that a few users cannot take all."""

from __future__ import annotations

from collections import Counter


class Slots:
    """A number of concurrent calls.

    Args:
        total: Maximum number of calls.
        for_user: Maximum number of calls of one user.
        first: Of these, the number that is reserved for root, and for users who have no other call.
        root: Of these, the number that is reserved for root, or None if root is neither limited nor counted.
    """

    def __init__(self, total: int, for_user: int, first: int, root: int | None = None) -> None:
        self._total = total
        self._for_user = for_user
        self._first = first
        self._root = root
        self._taken: Counter[int] = Counter()

    def take(self, uid: int) -> bool:
        """Take a slot for a user, and return whether that was possible."""
        if not uid and self._root is None:
            return True
        own, reserved = self._taken[uid], 0
        if uid:
            if own >= self._for_user:
                return False
            reserved = max(self._first if own else 0, self._root or 0)
        if sum(self._taken.values()) >= self._total - reserved:
            return False
        self._taken[uid] += 1
        return True

    def free(self, uid: int) -> None:
        """Release a slot of a user."""
        if uid or self._root is not None:
            self._taken[uid] -= 1
            if self._taken[uid] <= 0:
                del self._taken[uid]
