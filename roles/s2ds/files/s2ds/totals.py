# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The totals of a session, across restarts of the forwarder.

They are stored in a small file, which is replaced at most once a second while something changes, and at the end. If the
forwarder was killed, it may have counted more than it saved: from then on, the totals are lower bounds.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from log import Log

NAME = "run/counters.json"
MAX_FILE_SIZE = 4096
MAX_TOTAL = (1 << 63) - 1
LATEST = float(1 << 40)

CONNECTIONS = ("total", "refused", "failed")
BYTES = ("to_consumer", "to_producer")
COUNTED = CONNECTIONS + BYTES


class Totals:
    def __init__(self, log: Log) -> None:
        self._log = log
        self._written: dict[str, Any] = {}
        self._silent = False
        self.restarts = 0
        self.exact = True
        self.last_byte: float | None = None
        self.since = time.time()
        self._before = dict.fromkeys(COUNTED, 0)
        self._moved = 0
        self._restore()

    def set_inexact(self) -> None:
        """Make the totals lower bounds from now on."""
        self.exact = False

    def _restore(self) -> None:
        try:
            text = _read()
            # A file that was created for the forwarder contains null until it is written.
            if text is not None and text.strip() != b"null":
                self._load(json.loads(text))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            self.exact = False
            self._log.line(f"{NAME} cannot be used: counters of the session start again at 0")

    def _load(self, found: Any) -> None:
        counted = {name: _whole(found[name]) for name in COUNTED}
        since, last = _moment(found["since"]), found["last_byte"]
        last = None if last is None else _moment(last)
        restarts = _whole(found["restarts"]) + 1
        self.exact = found["exact"] is True and found["ended"] is True
        self._before, self.since, self.last_byte, self.restarts = counted, since, last, restarts

    def all(self, now: dict[str, int]) -> dict[str, int]:
        """Return the totals of this process and the ones before it."""
        moved = sum(now[name] for name in BYTES)
        if moved != self._moved:
            self._moved = moved
            self.last_byte = time.time()
        return {name: min(MAX_TOTAL, self._before[name] + now[name]) for name in COUNTED}

    def save(self, now: dict[str, int], ended: bool = False) -> bool:
        """Save the totals if they have changed. Returns whether they have."""
        document = {
            **self.all(now),
            "since": self.since,
            "restarts": self.restarts,
            "last_byte": self.last_byte,
            "exact": self.exact,
            "ended": ended,
        }
        if document == self._written:
            return False
        try:
            _write(json.dumps(document))
            self._silent = False
        except OSError as error:
            # On a full disk, streaming and counting continue, and saving is tried again.
            if not self._silent:
                self._log.line(f"{NAME}: {error.strerror}")
            self._silent = True
        else:
            self._written = document
        return True


def _read() -> bytes | None:
    """Return the content of the file, or None if there is none.

    Raises:
        ValueError: It is not a regular file.
    """
    try:
        descriptor = os.open(NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(NAME)
        return file.read(MAX_FILE_SIZE)


def _write(text: str) -> None:
    temporary = f"{NAME}.new"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        os.rename(temporary, NAME)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if error.errno != errno.EBUSY:
            raise
        # In a container, it is a mounted file of the host, which survives the container.
        with open(os.open(NAME, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC), "w") as file:
            file.write(text)


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_TOTAL:
        raise ValueError(value)
    return value


def _moment(value: Any) -> float:
    # The comparison also refuses NaN.
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < LATEST:
        raise ValueError(value)
    return float(value)
