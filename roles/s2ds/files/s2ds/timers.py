# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Timers for a loop that waits for events."""

from __future__ import annotations

import heapq
import itertools
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

now = time.monotonic


class Timer:
    __slots__ = ("action",)

    def __init__(self, action: Callable[[], None]) -> None:
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        self.action = None


class Timers:
    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        timer = Timer(action)
        heapq.heappush(self._heap, (now() + seconds, next(self._order), timer))
        return timer

    def wait(self) -> float:
        """Return the seconds until the next timer, or -1 if there is none."""
        heap = self._heap
        while heap and heap[0][2].action is None:
            heapq.heappop(heap)
        return max(0.0, heap[0][0] - now()) if heap else -1

    def run(self) -> None:
        heap = self._heap
        if not heap:
            return
        moment = now()
        while heap and heap[0][0] <= moment:
            action = heapq.heappop(heap)[2].action
            if action is not None:
                action()
