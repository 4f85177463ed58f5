# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Users with an account, looked up in threads for an event loop, and remembered."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.accounts import NOBODY, has_account

_SECONDS = 60.0
_MAX_KNOWN, _MAX_PENDING, _MAX_THREADS = 4096, 64, 4


class Accounts:
    """Looks up users without blocking the event loop, and remembers them for a minute."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[float, int]] = {}
        self._pending: dict[int, asyncio.Future[bool]] = {}
        self._threads = ThreadPoolExecutor(_MAX_THREADS)

    async def find(self, uid: int) -> int:
        """Return a user, or ``NOBODY`` if it has no account, or cannot be looked up now.

        Users that only the backend can look up are not refused, but share the limits of one user.
        """
        now = time.monotonic()
        known = self._known.get(uid)
        if known is not None and now < known[0]:
            return known[1]
        pending = self._pending.get(uid)
        if pending is None:
            if len(self._pending) >= _MAX_PENDING:
                return NOBODY
            pending = asyncio.get_running_loop().run_in_executor(self._threads, has_account, uid)
            self._pending[uid] = pending
            pending.add_done_callback(lambda _done: self._pending.pop(uid, None))
        found = uid if await asyncio.shield(pending) else NOBODY
        if len(self._known) >= _MAX_KNOWN:
            # Users with an account are few, and are not forgotten because of others.
            self._known = {user: entry for user, entry in self._known.items() if entry[1] != NOBODY}
        self._known[uid] = (now + _SECONDS, found)
        return found
