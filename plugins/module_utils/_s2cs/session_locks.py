# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


"""A lock for each session, held during an action, so that actions on the same session do not overlap.

It ends with its process, so that a crash leaves no lock behind.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from contextlib import contextmanager, suppress
from typing import Iterable, Iterator


class SessionLocks:
    """The locks of the sessions of one S2CS; none is held before they are opened, as in check mode.

    Args:
        path: The file whose bytes they are.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: int | None = None

    def open(self) -> None:
        """Open the file, and make it where there is none."""
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def open_if_possible(self) -> None:
        """Open the file if it is there, is one, and can be opened; make nothing."""
        with suppress(OSError):
            found = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            if stat.S_ISREG(os.fstat(found).st_mode):
                self._file = found
            else:
                os.close(found)

    def close(self) -> None:
        """Close the file, which ends the locks."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @contextmanager
    def hold(self, keys: Iterable[tuple[str, str]], wait: bool = True) -> Iterator[bool]:
        """Hold the locks of sessions, in one order for everybody; yields False if others hold one and wait is off."""
        if self._file is None:
            yield True
            return
        held: list[int] = []
        try:
            complete = True
            for position in sorted({_position(uid, role) for uid, role in keys}):
                try:
                    fcntl.lockf(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, position)
                except BlockingIOError:
                    complete = False
                    break
                held.append(position)
            yield complete
        finally:
            for position in held:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, position)

    def is_locked(self, uid: str, role: str) -> bool:
        """Tell whether an action of another process holds the lock of a session."""
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
    """Place of a session's lock in the lock file: one byte of 2**62, so that no two sessions share one."""
    return int.from_bytes(hashlib.sha256(f"{role}-{uid}".encode()).digest()[:8], "big") >> 2
