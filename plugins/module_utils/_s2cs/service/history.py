# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Throughput of the last hour and rates of now, out of counters that only ever say how much there was in all.

The hour has slots of equal length. What moved between two looks is dealt out evenly to the slots between them; time
of which nothing is known, because nobody could look, is a gap and not zero.
"""

from __future__ import annotations

from array import array
from collections import deque
from typing import Any, Iterable

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.view import View

DIRECTIONS = ("to_consumer", "to_producer")
SPAN, STEP = 3600, 10
# Between looks further apart than this nobody knows how it was.
_LONGEST_GAP = 120.0
# Rates are of this time: data servers that move large blocks would make shorter ones jump.
_RATE_SECONDS = 5.0


class History:
    """What moved when.

    Args:
        span: How many seconds are kept.
        step: Length of a slot.
    """

    def __init__(self, span: int = SPAN, step: int = STEP) -> None:
        self._step = step
        self._size = span // step
        self._clear()

    def _clear(self) -> None:
        self._moved = {direction: array("d", bytes(8 * self._size)) for direction in DIRECTIONS}
        self._known = array("d", bytes(8 * self._size))
        # The number of the newest slot.
        self._newest: int | None = None
        self._seen: dict[tuple[str, str], deque[tuple[float, tuple[int, ...]]]] = {}
        self._last: float | None = None

    def add(self, sessions: Iterable[View], now: float) -> None:
        """Take note of what the sessions have moved until now."""
        if self._last is not None and now <= self._last:
            if now > self._last - _LONGEST_GAP:
                return
            # The clock was set back: what is known belongs to a time that is to come.
            self._clear()
        before, self._last = self._last, now
        seen = self._seen
        self._seen = {}
        moved = [0.0] * len(DIRECTIONS)
        for session in sessions:
            if not session.moved:
                continue
            counts = tuple(session.moved.get(direction) or 0 for direction in DIRECTIONS)
            looks = seen.get(session.key)
            if looks is None:
                looks = deque()
                # All of a data server that is new since the last look moved since then.
                if before is not None and session.since is not None and session.since >= before:
                    looks.append((session.since, (0,) * len(DIRECTIONS)))
            if looks:
                # Lower bounds may fall.
                moved = [total + max(0, new - old) for total, new, old in zip(moved, counts, looks[-1][1])]
            looks.append((now, counts))
            while len(looks) > 2 and looks[1][0] <= now - _RATE_SECONDS:
                looks.popleft()
            self._seen[session.key] = looks
        self._deal_out(before, now, moved)

    def rates(self, session: View) -> tuple[float | None, ...]:
        """Return how fast a session is now, in bytes per second by direction; None is unknown."""
        looks = self._seen.get(session.key)
        if not looks or len(looks) < 2 or looks[-1][0] - looks[0][0] > _LONGEST_GAP:
            return (None,) * len(DIRECTIONS)
        (begin, old), (end, new) = looks[0], looks[-1]
        return tuple(max(0, after - before) / max(end - begin, 0.1) for before, after in zip(old, new))

    def series(self) -> dict[str, Any]:
        """Return the throughput of the hour: the begin, the step, and bytes per second for each slot, None for gaps."""
        newest = self._newest
        if newest is None:
            return {"start": None, "step": self._step, **{direction: [] for direction in DIRECTIONS}}
        slots = [number % self._size for number in range(newest - self._size + 1, newest + 1)]
        rates: dict[str, list[float | None]] = {
            direction: [round(moved[slot] / self._known[slot]) if self._known[slot] else None for slot in slots]
            for direction, moved in self._moved.items()
        }
        # The time before the first look is no part of it.
        first = next((index for index, slot in enumerate(slots) if self._known[slot]), len(slots))
        start = (newest - self._size + 1 + first) * self._step
        return {"start": start, "step": self._step, **{key: values[first:] for key, values in rates.items()}}

    def _deal_out(self, begin: float | None, end: float, moved: list[float]) -> None:
        newest = int(end // self._step)
        if self._newest is not None:
            for number in range(max(self._newest + 1, newest - self._size + 1), newest + 1):
                self._known[number % self._size] = 0.0
                for series in self._moved.values():
                    series[number % self._size] = 0.0
        self._newest = newest
        if begin is None or end - begin > _LONGEST_GAP:
            return
        for number in range(int(begin // self._step), newest + 1):
            seconds = min(end, (number + 1) * self._step) - max(begin, number * self._step)
            self._known[number % self._size] += seconds
            for direction, count in zip(DIRECTIONS, moved):
                self._moved[direction][number % self._size] += count * seconds / (end - begin)
