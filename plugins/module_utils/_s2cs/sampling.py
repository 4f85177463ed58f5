# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Samples of the counters of sessions within one call, from which a caller can calculate rates."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_number
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Status

MAX_SAMPLES, MIN_INTERVAL, MAX_SECONDS = 100, 0.1, 10.0


@dataclass(frozen=True)
class Sampling:
    """How often to sample the counters after the first time.

    Args:
        count: Number of further samples.
        interval: Seconds between two samples.
    """

    count: int = 0
    interval: float = 1.0


def read_sampling(options: Mapping[str, Any]) -> Sampling:
    """Return the sampling in the options of ``s2cs_info``.

    Raises:
        ValueRefused: It would take too long.
    """
    count = check_number("samples", options.get("samples") or 0, 0, MAX_SAMPLES)
    interval = 1.0 if options.get("interval") is None else options["interval"]
    if not MIN_INTERVAL <= interval <= MAX_SECONDS:
        raise ValueRefused("interval", interval, f"must be from {MIN_INTERVAL} to {MAX_SECONDS:.0f} seconds")
    if count * interval > MAX_SECONDS:
        allowed = f"must be at most {int(MAX_SECONDS / interval)} with an interval of {interval:g} s"
        raise ValueRefused("samples", count, f"{allowed}, because a call can take {MAX_SECONDS:.0f} s at most")
    return Sampling(count, interval)


def take_samples(
    statuses: Sequence[tuple[Status, float]],
    sampling: Sampling,
    query: Callable[[Sequence[int]], Sequence[tuple[Status, float]]],
) -> list[tuple[Status, list[dict[str, Any]]]]:
    """Return the last status of each session, and its samples.

    Only sessions with open connections are sampled repeatedly. If there are none, this returns at once.

    Args:
        statuses: The first status of each session, with its time.
        sampling: How often to sample.
        query: Returns the current statuses of some sessions.
    """
    latest = [status for status, _time in statuses]
    samples = [[sample] if sample else [] for sample in (_sample(*item) for item in statuses)]
    busy = [index for index, status in enumerate(latest) if samples[index] and _is_busy(status)]
    begun = time.monotonic()
    for number in range(1, sampling.count + 1):
        # Data servers that do not respond make the other samples late.
        if not busy or time.monotonic() - begun > MAX_SECONDS:
            break
        time.sleep(max(0.0, begun + number * sampling.interval - time.monotonic()))
        for index, (status, when) in zip(busy, query(busy)):
            sample = _sample(status, when)
            # A data server that does not respond in between keeps its previous counters.
            if status.running and sample:
                latest[index] = status
                samples[index].append(sample)
    return list(zip(latest, samples))


def _is_busy(status: Status) -> bool:
    return status.running and bool(((status.counters or {}).get("connections") or {}).get("open"))


def _sample(status: Status, when: float) -> dict[str, Any] | None:
    counted = (status.counters or {}).get("bytes")
    return {"time": round(when, 3), **counted} if counted else None
