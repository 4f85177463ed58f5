# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Handling of Ctrl-C and SIGTERM in a worker that opens streams, so that it can release what it opened.

By default, the worker would exit immediately. Instead, it waits some seconds for the current call, because the answer
states what has to be released.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

#: Seconds to wait for the current call when the run is interrupted.
GRACE = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptedRun(BaseException):
    """The run was interrupted. Not an Exception, so that it is not mistaken for a failure of a call."""


class Interruption:
    """The state of a run: whether it was interrupted."""

    def __init__(self) -> None:
        self.noticed = False
        self._armed = True

    def look(self) -> None:
        """Raise an exception if the run was interrupted.

        Raises:
            InterruptedRun: It was.
        """
        if self.noticed and self._armed:
            raise InterruptedRun

    def disarm(self) -> None:
        """Ignore interruptions from now on, because all streams are open or are being released."""
        self._armed = False
        if self.noticed:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _notice(self, _number: int, _frame: Any) -> None:
        if not self.noticed and self._armed:
            # Before that, the time limit of the task uses the alarm.
            signal.signal(signal.SIGALRM, self._stop)
            signal.setitimer(signal.ITIMER_REAL, GRACE)
        self.noticed = True

    def _stop(self, _number: int, _frame: Any) -> None:
        self.look()


@contextlib.contextmanager
def interruption() -> Iterator[Interruption]:
    """Record signals that would end this process, while the context is active."""
    state = Interruption()
    before = {signal.SIGALRM: signal.getsignal(signal.SIGALRM)}
    before.update({number: signal.signal(number, state._notice) for number in _SIGNALS})
    try:
        yield state
    finally:
        state.disarm()
        for number, handler in before.items():
            signal.signal(number, handler)
