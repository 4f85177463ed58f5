# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When the backend does its housekeeping."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.housekeeping import (
    INTERVAL,
    store_version,
)

# Pauses in seconds before sessions that could not be released are tried again.
_FIRST_PAUSE, _MAX_PAUSE = 5.0, 300.0
# If a round takes longer, another one is started, which skips the sessions that are locked by the first.
_LATE_SECONDS, _MAX_ROUNDS = 3.0, 8
# Minimum time in seconds between rounds that only find out when the sessions of a changed store expire.
_CHANGE_SECONDS = 2.0


@dataclass
class Schedule:
    """The state of the sessions after the last round that released expired ones."""

    state_dir: str = ""
    store: list[int] = field(default_factory=list)
    sessions: int = 0
    next: float | None = None
    retry_at: float | None = None
    pause: float = _FIRST_PAUSE
    started: float = 0.0
    maintained: float = 0.0

    def should_release(self, running: int) -> bool:
        """Return whether to start another round that releases expired sessions.

        Args:
            running: Number of such rounds that are still running.
        """
        now = time.monotonic()
        if running >= _MAX_ROUNDS or (running and now < self.started + _LATE_SECONDS) or not self._is_due():
            return False
        self.started = now
        return True

    def _is_due(self) -> bool:
        """Return whether a session has expired, or the store has changed."""
        now = time.time()
        if self.retry_at is not None and now > self.retry_at:
            return True
        if not self.state_dir:
            return self.retry_at is None
        if self.next is not None and now > self.next:
            return True
        return time.monotonic() > self.started + _CHANGE_SECONDS and store_version(self.state_dir) != self.store

    def should_maintain(self) -> bool:
        """Return whether to start another round that looks after data servers and logs."""
        now = time.monotonic()
        if not self.sessions or now < self.maintained + INTERVAL:
            return False
        self.maintained = now
        return True

    def finished(self, report: Mapping[str, Any] | None) -> None:
        """Evaluate the report of a round that released expired sessions, or None if it failed."""
        if report is None:
            self._postpone()
            return
        self.state_dir, self.store = report["state_dir"], report["store"]
        self.sessions, self.next = report["sessions"], report["next"]
        if not report["overdue"]:
            self.retry_at, self.pause = None, _FIRST_PAUSE
        elif self.retry_at is None or time.time() > self.retry_at:
            self._postpone()

    def _postpone(self) -> None:
        self.retry_at = time.time() + self.pause
        self.pause = min(2 * self.pause, _MAX_PAUSE)
