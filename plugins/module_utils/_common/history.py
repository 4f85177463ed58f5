# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Throughput of the last hour and current rates, calculated from counters.

The hour is divided into slots. Bytes that are transferred between two samples are distributed evenly over the slots
between them. Times without samples are gaps, not zero.
"""

from __future__ import annotations

from array import array
from collections import deque
from typing import Any, Iterable

from ansible_collections.scistream.gateway.plugins.module_utils._common.session_view import SessionView

DIRECTIONS = ("to_consumer", "to_producer")
SPAN, STEP = 3600, 10
# Maximum number of seconds between two samples. The throughput between others is unknown.
_MAX_GAP = 120.0
# Period of rates in seconds. Shorter ones fluctuate, because data servers transfer large blocks.
_RATE_SECONDS = 5.0


class History:
    """Samples of counters.

    Args:
        span: Number of seconds to keep.
        step: Length of a slot in seconds.
    """

    def __init__(self, span: int = SPAN, step: int = STEP) -> None:
        self._step = step
        self._size = span // step
        self._clear()

    def _clear(self) -> None:
        self._bytes = {direction: array("d", bytes(8 * self._size)) for direction in DIRECTIONS}
        # Number of seconds of each slot that samples cover.
        self._seconds = array("d", bytes(8 * self._size))
        self._newest: int | None = None
        self._samples: dict[tuple[str, str], deque[tuple[float, tuple[int, ...]]]] = {}
        self._last: float | None = None

    def record(self, sessions: Iterable[SessionView], now: float) -> None:
        """Record the current counters of all sessions."""
        if self._last is not None and now <= self._last:
            if now > self._last - _MAX_GAP:
                return
            # The clock was set back, so that the history is in the future.
            self._clear()
        before, self._last = self._last, now
        samples, self._samples = self._samples, {}
        total = [0.0] * len(DIRECTIONS)
        for session in sessions:
            if not session.transferred:
                continue
            counts = tuple(session.transferred.get(direction) or 0 for direction in DIRECTIONS)
            earlier = samples.get(session.key)
            if earlier is None:
                earlier = deque()
                # A data server that started after the last sample has transferred everything since then.
                if before is not None and session.since is not None and session.since >= before:
                    earlier.append((session.since, (0,) * len(DIRECTIONS)))
            if earlier:
                # Counters that are lower bounds can decrease.
                total = [one + max(0, new - old) for one, new, old in zip(total, counts, earlier[-1][1])]
            earlier.append((now, counts))
            while len(earlier) > 2 and earlier[1][0] <= now - _RATE_SECONDS:
                earlier.popleft()
            self._samples[session.key] = earlier
        self._distribute(before, now, total)

    def rates(self, session: SessionView) -> tuple[float | None, ...]:
        """Return the current rate of each direction in bytes per second, or None if it is unknown."""
        samples = self._samples.get(session.key)
        if not samples or len(samples) < 2 or samples[-1][0] - samples[0][0] > _MAX_GAP:
            return (None,) * len(DIRECTIONS)
        (begin, old), (end, new) = samples[0], samples[-1]
        return tuple(max(0, after - before) / max(end - begin, 0.1) for before, after in zip(old, new))

    def series(self) -> dict[str, Any]:
        """Return the throughput: its start, step and maximum span, and bytes per second in each direction.

        Times without samples have None.
        """
        newest, span = self._newest, self._size * self._step
        if newest is None:
            return {"start": None, "step": self._step, "span": span, **{direction: [] for direction in DIRECTIONS}}
        slots = [number % self._size for number in range(newest - self._size + 1, newest + 1)]
        rates: dict[str, list[float | None]] = {
            direction: [round(counts[slot] / self._seconds[slot]) if self._seconds[slot] else None for slot in slots]
            for direction, counts in self._bytes.items()
        }
        # The series begins with the first sample.
        first = next((index for index, slot in enumerate(slots) if self._seconds[slot]), len(slots))
        start = (newest - self._size + 1 + first) * self._step
        return {
            "start": start,
            "step": self._step,
            "span": span,
            **{key: values[first:] for key, values in rates.items()},
        }

    def _distribute(self, begin: float | None, end: float, total: list[float]) -> None:
        """Add the bytes that were transferred between two samples to the slots between them."""
        newest = int(end // self._step)
        if self._newest is not None:
            for number in range(max(self._newest + 1, newest - self._size + 1), newest + 1):
                self._seconds[number % self._size] = 0.0
                for counts in self._bytes.values():
                    counts[number % self._size] = 0.0
        self._newest = newest
        if begin is None or end - begin > _MAX_GAP:
            return
        for number in range(int(begin // self._step), newest + 1):
            seconds = min(end, (number + 1) * self._step) - max(begin, number * self._step)
            self._seconds[number % self._size] += seconds
            for direction, count in zip(DIRECTIONS, total):
                self._bytes[direction][number % self._size] += count * seconds / (end - begin)
