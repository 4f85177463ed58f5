# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


"""A lock for each session, which is held during an action so that actions on the same session do not overlap.

Locks are released when their process ends, even if it crashes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import time
from contextlib import contextmanager, suppress
from typing import Iterable, Iterator

# Pauses in seconds between attempts to acquire a lock within a time limit.
_MIN_PAUSE, _MAX_PAUSE = 0.005, 0.1


class SessionLocks:
    """The locks of the sessions of one S2CS.

    Until the lock file is opened, as in check mode, no locks are acquired.

    Args:
        path: The lock file, in which one byte is locked for each session.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: int | None = None

    def open(self) -> None:
        """Open the lock file, and create it if it does not exist."""
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def open_if_possible(self) -> None:
        """Open the lock file if it is a regular file and can be opened. It is not created."""
        with suppress(OSError):
            found = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            if stat.S_ISREG(os.fstat(found).st_mode):
                self._file = found
            else:
                os.close(found)

    def close(self) -> None:
        """Close the lock file, which releases the locks."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @contextmanager
    def hold(self, keys: Iterable[tuple[str, str]], wait: bool = True, seconds: float | None = None) -> Iterator[bool]:
        """Acquire the locks of sessions, always in the same order, and release them at the end of the context.

        Args:
            keys: Uid and role of each session.
            wait: Whether to wait for locks that are held by another process.
            seconds: Maximum time in seconds to wait, or None for no limit.

        Yields:
            Whether all locks were acquired. Always true with ``wait`` and no limit.
        """
        if self._file is None:
            yield True
            return
        locked: list[int] = []
        try:
            complete = True
            deadline = None if seconds is None else time.monotonic() + seconds
            for position in sorted({_position(uid, role) for uid, role in keys}):
                if not self._lock(self._file, position, wait, deadline):
                    complete = False
                    break
                locked.append(position)
            yield complete
        finally:
            for position in locked:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, position)

    @staticmethod
    def _lock(file: int, position: int, wait: bool, deadline: float | None) -> bool:
        """Acquire one lock, and return whether that was possible."""
        blocking = wait and deadline is None
        pause = _MIN_PAUSE
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | (0 if blocking else fcntl.LOCK_NB), 1, position)
                return True
            except BlockingIOError:
                if not wait or deadline is None or time.monotonic() > deadline:
                    return False
            time.sleep(pause)
            pause = min(2 * pause, _MAX_PAUSE)

    def is_locked(self, uid: str, role: str) -> bool:
        """Tell whether another process holds the lock of a session."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, _position(uid, role))
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False


def _position(uid: str, role: str) -> int:
    """Return the position of a session's lock in the lock file, one of 2**62, so that no two sessions share it."""
    return int.from_bytes(hashlib.sha256(f"{role}-{uid}".encode()).digest()[:8], "big") >> 2
