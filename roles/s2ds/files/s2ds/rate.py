# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A limit on the bytes per second of one direction of a whole session: a token bucket."""

from __future__ import annotations

from timers import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from timers import Timer, Timers

    Wake = Callable[[], None]

BURST_SECONDS = 0.05
SMALLEST_BURST = 16384


class Bucket:
    def __init__(self, timers: Timers) -> None:
        self.rate = 0.0  # bytes per second, 0: no limit
        self._timers = timers
        self._timer: Timer | None = None
        self._burst = self._quantum = self._tokens = self._moment = 0.0
        self._waiting: list[Wake] = []
        self._chosen: Wake | None = None  # whose turn it is
        self._served = False  # and whether it took anything

    def set(self, bits_per_second: float | None) -> None:
        rate = (bits_per_second or 0) / 8
        if rate == self.rate:
            return
        self.rate = rate
        self._burst = max(rate * BURST_SECONDS, SMALLEST_BURST)
        # Waiting for a good part of the burst, rather than for single bytes, keeps the pieces large.
        self._quantum = self._burst / 4
        self._tokens = min(self._tokens, self._burst)
        self._moment = now()
        self._arm()

    def allow(self, wanted: int, who: Wake) -> int:
        """How many bytes may pass now; 0: wait(). `who` is what wait() would be called with."""
        if not self.rate:
            return wanted
        if self._waiting:
            # One share each, also when there is more because we come late: the others are next.
            if who is not self._chosen or self._served:
                return 0
            wanted = min(wanted, int(self._quantum))
        moment = now()
        self._tokens = min(self._burst, self._tokens + (moment - self._moment) * self.rate)
        self._moment = moment
        if self._tokens < self._quantum:
            return 0
        return min(wanted, int(self._tokens))

    def spend(self, count: int) -> None:
        self._tokens -= count
        self._served = True

    def wait(self, who: Wake) -> None:
        """Have `who` called when it may try again. First come, first served: everybody gets a turn."""
        if who is self._chosen and not self._served:
            self._waiting.insert(0, who)  # It was too early.
        else:
            self._waiting.append(who)
        if who is self._chosen:
            self._chosen = None
        if self._timer is None or self._waiting[0] is who:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            seconds = max(0.001, (self._quantum - self._tokens) / self.rate) if self.rate else 0.0
            self._timer = self._timers.after(seconds, self._release)

    def _release(self) -> None:
        self._timer = None
        if self.rate:
            self._chosen = self._waiting.pop(0)
            self._served = False
            self._chosen()
            self._arm()
        else:
            waiting, self._waiting = self._waiting, []
            for wake in waiting:
                wake()
