# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time limits for the start of a program. What ends by itself is told at once; this is for one that hangs."""

from __future__ import annotations

import time

# So often is looked before it is given up: on a busy gateway looks take their time, like everything else.
_LOOKS = 60
_MOST_SECONDS = 60.0
_SHORT, _LONG = 0.1, 0.25
# From then on looking at many would take from them what they need to come up.
_SOON = 2.0


class Patience:
    """The patience with one program.

    Args:
        seconds: For how long it is looked at where looks are quick, and at least.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begun = time.monotonic()
        self._looks = 0
        self._pause = 0.005

    @property
    def waited(self) -> float:
        """For how many seconds has been waited."""
        return time.monotonic() - self._begun

    def is_over(self) -> bool:
        """Count a look in vain; tell whether it was the last."""
        self._looks += 1
        most = self._seconds if self._looks >= _LOOKS else max(self._seconds, _MOST_SECONDS)
        return self.waited > most

    def rest(self) -> None:
        """Wait for the next look."""
        time.sleep(self._pause)
        self._pause = min(self._pause * 1.5, _SHORT if self.waited < _SOON else _LONG)
