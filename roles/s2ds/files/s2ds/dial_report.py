# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which peer listeners have connections that wait: a worker reports it, and the dispatcher returns it as its status."""

from __future__ import annotations

import json
import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from timers import Timers

# So many of the peer listeners are named.
MOST = 16
MAX_ERROR_LENGTH = 200
# Changes within this time are reported together.
SECONDS = 0.2


class DialReport:
    def __init__(self, channel: socket.socket, timers: Timers) -> None:
        self._channel = channel
        self._timers = timers
        self._counts: list[int] = []
        self._without: list[int] | None = None
        self._since = 0.0
        self._error: str | None = None
        self._scheduled = False

    def expect(self, listeners: int) -> None:
        """Report about so many peer listeners."""
        self._counts = (self._counts + [0] * listeners)[:listeners]
        self._changed()
        self._later()

    def waiting(self, index: int, count: int) -> None:
        """Record how many connections of a peer listener wait."""
        if index < len(self._counts):
            self._counts[index] = count
            self._changed()

    def failed(self, reason: str) -> None:
        if self._without != []:
            self._error = reason[:MAX_ERROR_LENGTH]
            self._later()

    def _changed(self) -> None:
        without = [index for index, count in enumerate(self._counts) if not count]
        if without == self._without:
            return
        if self._without is None or bool(without) != bool(self._without):
            self._since = time.time()
        if not without:
            self._error = None
        self._without = without
        self._later()

    def _later(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._timers.after(SECONDS, self._send)

    def _send(self) -> None:
        self._scheduled = False
        found = {"without": (self._without or [])[:MOST], "since": self._since, "error": self._error}
        try:
            self._channel.send(json.dumps({"dial": found}).encode(), socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._later()
        except OSError:
            return  # The dispatcher has ended.


class DialStatus:
    """What the dispatcher knows."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._found: dict[str, Any] = {}
        self.reset(None)

    def expect(self, names: list[str]) -> None:
        """Await reports about these peer listeners."""
        if names != self._names:
            self._names = names
            self.reset(None)

    def reset(self, error: str | None) -> None:
        """Begin again, because no worker has any connection."""
        without = list(range(min(len(self._names), MOST)))
        self._found = {"without": without, "since": time.time() if without else None, "error": error}

    def take(self, found: dict[str, Any]) -> None:
        self._found = found

    def document(self, role: str, waiting: int) -> dict[str, Any]:
        names, found = self._names, self._found
        without = [names[index] for index in found["without"] if index < len(names)]
        return {"role": role, "waiting": waiting, **found, "without": without}
