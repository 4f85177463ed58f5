# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attempts of the service to restart data servers, with increasing pauses."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from typing import Mapping

# Pauses between attempts in seconds.
_FIRST_PAUSE, _MAX_PAUSE = 5.0, 300.0
# Maximum number of attempts, in about 20 minutes. One more is made each day.
MAX_ATTEMPTS = 10
_DAY = 86400.0
# After this time without a failure, the attempts are forgotten.
PROBATION_SECONDS = 600.0
_NAME = "restarts.json"
_MAX_BYTES = 16 << 20


@dataclass(frozen=True)
class Attempts:
    """Attempts to restart one data server.

    Args:
        count: Their number.
        last: Time of the last one.
    """

    count: int = 0
    last: float = 0.0

    @property
    def due(self) -> float:
        """Time of the next attempt."""
        return self.last + min(_MAX_PAUSE, _FIRST_PAUSE * 2.0**self.count)

    @property
    def given_up(self) -> bool:
        """Whether there were too many attempts."""
        return self.count >= MAX_ATTEMPTS and time.time() - self.last < _DAY

    def add(self, now: float) -> Attempts:
        """Return these attempts and another one."""
        return Attempts(min(self.count, MAX_ATTEMPTS) + 1, now)

    def describe(self) -> str:
        """Return a description for the reason of a session's health."""
        times = "once" if self.count == 1 else f"{self.count} times"
        outlook = "repeat REQ or UPDATE to restart it" if self.given_up else "it will be restarted again"
        return f"the service has restarted it {times}; {outlook}"


def read(state_dir: str) -> dict[str, Attempts]:
    """Return the attempts by the names of data servers."""
    try:
        with open(os.path.join(state_dir, _NAME), encoding="ascii") as stream:
            document = json.loads(stream.read(_MAX_BYTES))
        return {str(name): Attempts(int(item["count"]), float(item["last"])) for name, item in document.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def write(state_dir: str, attempts: Mapping[str, Attempts]) -> None:
    """Write the attempts atomically."""
    path = os.path.join(state_dir, _NAME)
    descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        json.dump({name: asdict(item) for name, item in attempts.items()}, stream)
    os.rename(f"{path}.new", path)
