# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ctrl-C and SIGTERM in a worker that opens streams: it has time to release what it opened.

Ansible would end the worker at once. Here the call that goes on is waited for, for some seconds, since an answer says
what there is to release.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

#: How long a call that goes on when the run is interrupted may still take, in seconds.
GRACE = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptedRun(BaseException):
    """Somebody ended the run. Not an Exception, so that nothing on the way takes it for a failure of its own."""


class Interruption:
    """Whether somebody ended the run."""

    def __init__(self) -> None:
        self.noticed = False
        self._armed = True

    def look(self) -> None:
        """Stop here if somebody ended the run.

        Raises:
            InterruptedRun: Somebody did.
        """
        if self.noticed and self._armed:
            raise InterruptedRun

    def disarm(self) -> None:
        """From now on nothing is stopped: what was opened is being released, or all is open."""
        self._armed = False
        if self.noticed:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _notice(self, _number: int, _frame: Any) -> None:
        if not self.noticed and self._armed:
            # Until then, the alarm is that of the time limit of the task.
            signal.signal(signal.SIGALRM, self._stop)
            signal.setitimer(signal.ITIMER_REAL, GRACE)
        self.noticed = True

    def _stop(self, _number: int, _frame: Any) -> None:
        self.look()


@contextlib.contextmanager
def interruption() -> Iterator[Interruption]:
    """Notice for a while what would end this process."""
    state = Interruption()
    before = {signal.SIGALRM: signal.getsignal(signal.SIGALRM)}
    before.update({number: signal.signal(number, state._notice) for number in _SIGNALS})
    try:
        yield state
    finally:
        state.disarm()
        for number, handler in before.items():
            signal.signal(number, handler)
