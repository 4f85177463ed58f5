# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A limit of the bytes per second of one direction of a whole session: a token bucket."""

from __future__ import annotations

from timers import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from timers import Timer, Timers

    Wake = Callable[[], None]

# Share of a connection if several are waiting: small, so that each turn is short.
SHARE_SECONDS = 0.002
SMALLEST_SHARE = 4096
# Maximum number of seconds for which tokens accumulate.
BURST_SECONDS = 0.05
SHORTEST_WAIT = 0.0005


class TokenBucket:
    def __init__(self, timers: Timers) -> None:
        self.rate = 0.0  # bytes per second; 0: no limit
        self._timers = timers
        self._timer: Timer | None = None
        self._share = 0
        self._burst = self._tokens = self._moment = 0.0
        self._waiting: dict[Wake, None] = {}  # in the order of their requests
        self._chosen: Wake | None = None  # the one whose turn it is

    def set(self, bits_per_second: float | None) -> None:
        rate = (bits_per_second or 0) / 8
        if rate == self.rate:
            return
        self.rate = rate
        self._share = max(int(rate * SHARE_SECONDS), SMALLEST_SHARE)
        self._burst = max(rate * BURST_SECONDS, self._share)
        self._tokens = min(self._tokens, self._burst)
        self._moment = now()
        self._arm()

    def allow(self, wanted: int, who: Wake) -> int:
        """Return how many bytes may pass now. If 0, call wait() with the same `who`.

        A share is granted as soon as any token is available, and paid off before the next one. So the rate is kept over
        time, and pieces remain large.
        """
        if not self.rate:
            return wanted
        if who is self._chosen:
            self._chosen = None  # One share each, then it is the others' turn.
        elif self._waiting:
            return 0
        self._fill()
        return min(wanted, self._share) if self._tokens > 0 else 0

    def spend(self, count: int) -> None:
        self._tokens -= count

    def wait(self, who: Wake) -> None:
        """Call `who` when it may try again. The order is first come, first served."""
        self._waiting[who] = None
        if self._timer is None:
            self._arm()

    def _fill(self) -> None:
        moment = now()
        self._tokens = min(self._burst, self._tokens + (moment - self._moment) * self.rate)
        self._moment = moment

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            seconds = max(SHORTEST_WAIT, -self._tokens / self.rate) if self.rate and self._tokens <= 0 else 0.0
            self._timer = self._timers.after(seconds, self._release)

    def _release(self) -> None:
        self._timer = None
        if not self.rate:
            waiting, self._waiting = self._waiting, {}
            for wake in waiting:
                wake()
            return
        self._fill()
        if self._tokens > 0:
            # A connection that has nothing to move misses its turn, and the next one follows immediately.
            self._chosen = next(iter(self._waiting))
            del self._waiting[self._chosen]
            self._chosen()
        self._arm()
