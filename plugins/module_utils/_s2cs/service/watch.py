# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking at a gateway again and again: many viewers cost one look."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, reason
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.history import History
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.problems import (
    Problem,
    of_gateway,
    of_session,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.view import View, views
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.answers import printable

#: What returns the result of s2cs_info.
Ask = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Look:
    """What was seen at one moment.

    Args:
        time: When.
        info: The result of s2cs_info. None: S2CS did not answer.
        error: Why not.
        sessions: The sessions.
        rates: Bytes per second in each direction, in the order of the sessions.
        problems: What is wrong, the worst first.
        series: Throughput of the last hour.
    """

    time: float
    info: Mapping[str, Any] | None
    error: str
    sessions: Sequence[View]
    rates: Sequence[Sequence[float | None]]
    problems: Sequence[Problem]
    series: Mapping[str, Any]

    @property
    def gateway(self) -> Mapping[str, Any]:
        """The policy in force, and what is in use."""
        found: Mapping[str, Any] = (self.info or {}).get("gateway") or {}
        return found


class Watch:
    """Looks at a gateway.

    Args:
        ask: What returns the result of s2cs_info.
        clock: What tells the time.
    """

    def __init__(self, ask: Ask, clock: Callable[[], float] = time.time) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._history = History()
        self._look: Look | None = None
        self._done = 0.0

    def look(self, most: float = 1.0) -> Look:
        """Return what is seen now, or what was seen within some seconds; whoever asks meanwhile gets the same."""
        # While S2CS takes its time, the last look has to do.
        if not self._lock.acquire(blocking=self._look is None) and self._look is not None:
            return self._look
        try:
            if self._look is None or time.monotonic() - self._done > most:
                self._look = self._new()
                self._done = time.monotonic()
            return self._look
        finally:
            self._lock.release()

    def _new(self) -> Look:
        try:
            info = self._ask()
        except (ScistreamError, OSError, ValueError) as problem:
            return look(None, self._history, self._clock(), printable(reason(problem)))
        if info.get("failed"):
            return look(None, self._history, self._clock(), printable(info.get("msg") or "S2CS failed"))
        return look(info, self._history, self._clock())


def look(info: Mapping[str, Any] | None, history: History, now: float, error: str = "") -> Look:
    """Return what is seen of a gateway at one moment, and take note of it in a history."""
    sessions = views(info or {})
    if info is not None:
        history.add(sessions, now)
    found = [*of_gateway(info or {}), *(problem for session in sessions for problem in of_session(session, now))]
    return Look(
        time=now,
        info=info,
        error=error,
        sessions=sessions,
        rates=[history.rates(session) for session in sessions],
        problems=sorted(found, key=lambda problem: problem.level != "problem"),
        series=history.series(),
    )
