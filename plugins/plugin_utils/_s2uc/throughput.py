# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Throughput over time, from samples of counters of several gateways."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.history import DIRECTIONS
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_view import StreamView

Point = tuple[float, ...]
#: Maximum number of points of the plot.
_MAX_POINTS, _MAX_COMPARED = 720, 60
#: Longer times without samples are gaps.
_MAX_GAP = 120.0
#: Shortest interval in seconds.
_MIN_STEP = 0.1


class Throughput:
    """The samples of a run."""

    def __init__(self) -> None:
        self._points: dict[str, list[Point]] = {}
        self._shifts: dict[tuple[str, str], float] = {}

    def add(self, streams: Sequence[StreamView], now: float) -> None:
        """Add the samples of all streams.

        Args:
            streams: The streams.
            now: The time on the control node. The clocks of gateways may differ from it, and from each other.
        """
        for stream in streams:
            side = stream.counted
            if side is None or not side.samples:
                continue
            # If answers are added again, their samples are at the same times.
            shift = now - side.samples[-1][0]
            known = self._shifts.setdefault((side.gateway, side.session.role), shift)
            if abs(known - shift) < _MAX_GAP:
                shift = known
            points = self._points.setdefault(stream.uid, [])
            for time, *counts in side.samples:
                if not points or time + shift > points[-1][0] + _MIN_STEP / 2:
                    points.append((time + shift, *counts))
            if len(points) > 2 * _MAX_POINTS:
                # A run can last for days. Intervals become longer, so that nothing is lost.
                del points[1:-1:2]

    def series(self) -> dict[str, Any]:
        """Return the throughput of all streams together, in the form of the history of a gateway.

        It has ``start``, ``step`` and ``span`` in seconds, and for each direction a list of bytes per second, with None
        for gaps.
        """
        return series(self._points)

    def rates(self, uid: str) -> list[list[float]]:
        """Return the throughput of a stream: the end of each interval, and the bytes per second in each direction."""
        points = self._points.get(uid, [])
        return [
            [round(new[0], 2), *(round(rate) for rate in _rates(old, new))]
            for old, new in itertools.pairwise(points)
            if new[0] - old[0] <= _MAX_GAP
        ]


def compared(names: Sequence[str], measured: Sequence[Sequence[Sequence[float]]]) -> dict[str, Any]:
    """Return two throughputs for comparison, in the form of ``series``, with times since the beginning of each.

    Args:
        names: What they are the throughput of.
        measured: Times in seconds since the beginning and bytes until then, for each.
    """
    points = [[(float(time), int(count)) for time, count in each] for each in measured]
    lengths = [each[-1][0] - each[0][0] for each in points if len(each) > 1]
    step = max([_MIN_STEP, *(length / _MAX_COMPARED for length in lengths)])
    rows = [series({"": [(time, count, 0) for time, count in each]}, step)[DIRECTIONS[0]] for each in points]
    slots = max(map(len, rows), default=0)
    shown = {direction: [*row, *[None] * (slots - len(row))] for direction, row in zip(DIRECTIONS, rows, strict=True)}
    start = 0 if slots else None
    return {"start": start, "step": step, "span": slots * step, "relative": True, "names": list(names), **shown}


def series(points: Mapping[str, Sequence[Point]], step: float | None = None) -> dict[str, Any]:
    """Return the sum of several throughputs.

    Args:
        points: Times and counts of each.
        step: Seconds between two values. If omitted, the usual interval between two samples.
    """
    pairs = [list(itertools.pairwise(each)) for each in points.values()]
    pairs = [[(old, new) for old, new in each if new[0] - old[0] <= _MAX_GAP] for each in pairs]
    times = [time for each in pairs for pair in each for time in (pair[0][0], pair[1][0])]
    if not times:
        return {"start": None, "step": 1.0, "span": 1.0, **{direction: [] for direction in DIRECTIONS}}
    begin, end = min(times), max(times)
    lengths = sorted(new[0] - old[0] for each in pairs for old, new in each)
    # With the usual interval, each slot has a sample.
    step = step or max(_MIN_STEP, lengths[len(lengths) // 2], (end - begin) / _MAX_POINTS)
    slots = max(1, math.ceil((end - begin) / step - 0.01))
    rates: list[list[float | None]] = [[None] * slots for _direction in DIRECTIONS]
    for each in pairs:
        seconds = [0.0] * slots
        counts = [[0.0] * slots for _direction in DIRECTIONS]
        for old, new in each:
            own = _rates(old, new)
            for slot in range(int((old[0] - begin) / step), min(slots, int((new[0] - begin) / step) + 1)):
                part = max(0.0, min(new[0], begin + (slot + 1) * step) - max(old[0], begin + slot * step))
                seconds[slot] += part
                for index, rate in enumerate(own):
                    counts[index][slot] += rate * part
        for slot, covered in enumerate(seconds):
            # Less is the end of the last interval.
            if covered >= step / 4:
                for values, count in zip(rates, counts, strict=True):
                    values[slot] = (values[slot] or 0) + count[slot] / covered
    shown = {
        direction: [None if value is None else round(value) for value in values]
        for direction, values in zip(DIRECTIONS, rates, strict=True)
    }
    return {"start": round(begin, 2), "step": round(step, 3), "span": round(slots * step, 3), **shown}


def _rates(old: Point, new: Point) -> list[float]:
    """Return bytes per second. Counters that are lower bounds can decrease."""
    seconds = max(new[0] - old[0], _MIN_STEP / 2)
    return [max(0.0, after - before) / seconds for before, after in zip(old[1:], new[1:], strict=True)]
