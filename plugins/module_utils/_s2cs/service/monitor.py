# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots of a gateway, which any number of viewers share."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, printable, reason
from ansible_collections.scistream.gateway.plugins.module_utils._common.history import History
from ansible_collections.scistream.gateway.plugins.module_utils._common.problems import (
    PROBLEM,
    Problem,
    gateway_problems,
    session_problems,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_view import (
    SessionView,
    session_views,
)

#: A function that returns the result of s2cs_info.
GetInfo = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Snapshot:
    """The state of a gateway at one time.

    Args:
        time: When it was taken.
        info: The result of s2cs_info. None if S2CS did not respond.
        error: Why S2CS did not respond, or empty.
        sessions: The sessions.
        rates: The rates of the sessions in bytes per second by direction, in the same order.
        problems: The problems, worst first.
        series: Throughput of the last hour.
    """

    time: float
    info: Mapping[str, Any] | None
    error: str
    sessions: Sequence[SessionView]
    rates: Sequence[Sequence[float | None]]
    problems: Sequence[Problem]
    series: Mapping[str, Any]

    @property
    def gateway(self) -> Mapping[str, Any]:
        """The policy and its usage. Empty if S2CS did not respond."""
        found: Mapping[str, Any] = (self.info or {}).get("gateway") or {}
        return found


class Monitor:
    """Takes snapshots of a gateway.

    Args:
        get_info: A function that returns the result of s2cs_info.
        clock: A function that returns the time.
    """

    def __init__(self, get_info: GetInfo, clock: Callable[[], float] = time.time) -> None:
        self._get_info = get_info
        self._clock = clock
        self._lock = threading.Lock()
        self._history = History()
        self._snapshot: Snapshot | None = None
        self._taken = 0.0

    def snapshot(self, max_age: float = 1.0) -> Snapshot:
        """Return a snapshot, which is at most some seconds old unless S2CS is slow."""
        # While another thread waits for S2CS, the previous snapshot is used.
        if not self._lock.acquire(blocking=self._snapshot is None) and self._snapshot is not None:
            return self._snapshot
        try:
            if self._snapshot is None or time.monotonic() - self._taken > max_age:
                self._snapshot = self._take()
                self._taken = time.monotonic()
            return self._snapshot
        finally:
            self._lock.release()

    def _take(self) -> Snapshot:
        try:
            info = self._get_info()
        except (ScistreamError, OSError, ValueError) as error:
            return take_snapshot(None, self._history, self._clock(), printable(reason(error)))
        if info.get("failed"):
            return take_snapshot(None, self._history, self._clock(), printable(info.get("msg") or "S2CS failed"))
        return take_snapshot(info, self._history, self._clock())


def take_snapshot(info: Mapping[str, Any] | None, history: History, now: float, error: str = "") -> Snapshot:
    """Return a snapshot from a result of s2cs_info, and record its counters in a history."""
    sessions = session_views(info or {})
    if info is not None:
        history.record(sessions, now)
    problems = list(gateway_problems(info or {}))
    for session in sessions:
        problems += session_problems(session, now)
    return Snapshot(
        time=now,
        info=info,
        error=error,
        sessions=sessions,
        rates=[history.rates(session) for session in sessions],
        problems=sorted(problems, key=lambda problem: problem.level != PROBLEM),
        series=history.series(),
    )
