# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Limits of the memory that the calls of all users, and of one user, take in the frontend."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import Callable, Iterator


class Budget:
    """A number of bytes for all users, of which one user can have a part. Root is not limited, but counted.

    Args:
        total: Maximum for all users.
        for_user: Maximum for one user.
        least: What each user can have in any case, so that small requests are served while others send large ones.
    """

    def __init__(self, total: int, for_user: int, least: int = 0) -> None:
        self._total = total
        self._for_user = for_user
        self._least = least
        self._reserved: Counter[int] = Counter()

    @contextmanager
    def account(self, uid: int) -> Iterator[Callable[[int], bool]]:
        """Yield a function that reserves bytes and returns whether that was possible. They are released at the end."""
        reserved = 0

        def reserve(count: int) -> bool:
            nonlocal reserved
            used = self._reserved[uid] + count
            full = sum(self._reserved.values()) + count > self._total
            if uid and (used > self._for_user or (full and used > self._least)):
                return False
            reserved += count
            self._reserved[uid] = used
            return True

        try:
            yield reserve
        finally:
            self._reserved[uid] -= reserved
            if self._reserved[uid] <= 0:
                del self._reserved[uid]
