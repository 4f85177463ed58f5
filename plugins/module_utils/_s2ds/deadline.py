# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time and size limits for calls that have none, such as those of libraries that only limit the time between bytes."""

from __future__ import annotations

import threading
import time
from typing import Callable, Iterable, TypeVar

Answer = TypeVar("Answer")

# Minimum number of attempts before giving up: on a busy gateway, each attempt takes longer.
_MIN_ATTEMPTS = 60
_MAX_SECONDS = 60.0
_FIRST_PAUSE, _SHORT_PAUSE, _LONG_PAUSE = 0.008, 0.1, 0.25
_GROWTH = 1.6
# After this time, polling many programs often would slow down their start.
_SHORT_PAUSES_SECONDS = 2.0


class DeadlineExceededError(Exception):
    """There was no answer in time."""


def within(seconds: float, action: Callable[[], Answer]) -> Answer:
    """Return what an action returns, or raise what it raises, within a time limit.

    An action that takes longer continues in a thread that does not keep the program from exiting.

    Args:
        seconds: The time limit.
        action: What to call.

    Raises:
        DeadlineExceededError: It takes longer.
    """
    answers: list[Answer] = []
    errors: list[BaseException] = []

    def act() -> None:
        try:
            answers.append(action())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise DeadlineExceededError
    return answers[0]


def read_bounded(parts: Iterable[bytes], limit: int) -> bytes:
    """Return all parts of an answer, joined.

    Args:
        parts: The parts.
        limit: Maximum size in bytes.

    Raises:
        ValueError: The answer is larger.
    """
    data = bytearray()
    for part in parts:
        data += part
        if len(data) > limit:
            raise ValueError(f"its answer has more than {limit} bytes")
    return bytes(data)


class PollTimer:
    """Paces attempts to reach a program, and limits their time. A program that exits is reported immediately.

    Args:
        seconds: Time limit if attempts are quick. Slow attempts extend it to at most 60 seconds.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._started = time.monotonic()
        self._attempts = 0
        self._pause = _FIRST_PAUSE

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def has_expired(self) -> bool:
        """Count a failed attempt, and return whether it was the last one."""
        self._attempts += 1
        limit = self._seconds if self._attempts >= _MIN_ATTEMPTS else max(self._seconds, _MAX_SECONDS)
        return self.elapsed > limit

    def pause(self) -> None:
        """Sleep until the next attempt."""
        time.sleep(self._pause)
        limit = _SHORT_PAUSE if self.elapsed < _SHORT_PAUSES_SECONDS else _LONG_PAUSE
        self._pause = min(self._pause * _GROWTH, limit)
