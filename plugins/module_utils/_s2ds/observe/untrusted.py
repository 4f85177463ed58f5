# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that a data server writes below its directory: read without limits of its own making, and kept from growing.

A data server that somebody took over cannot make us read anything else than a file of its own, nor without end.
"""

from __future__ import annotations

import ctypes
import os
import stat
import time
from contextlib import contextmanager
from typing import Iterator

LARGEST = 1 << 20
LONGEST_LINE = 4096
_PART = 1 << 16

_KEEP_SIZE, _PUNCH_HOLE = 1, 2
_BLOCK = 4096
# Of what is enough to know a file again.
_MARK = 32


@contextmanager
def opened(directory: str, name: str, write: bool = False) -> Iterator[int | None]:
    """OpenConnections a file below a directory; None where there is none, or what is there is not a file of its own."""
    flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    path = os.path.join(directory, name)
    try:
        # Opening a device can do something already.
        if not _is_own(os.lstat(path)):
            yield None
            return
        descriptor = os.open(path, flags)
    except OSError:
        yield None
        return
    try:
        yield descriptor if _is_own(os.fstat(descriptor)) else None
    finally:
        os.close(descriptor)


def read(directory: str, name: str, skip: int = 0, limit: int = LARGEST) -> str:
    """Return a file below a directory without its first bytes, and no more than a limit; empty where there is none."""
    with opened(directory, name) as descriptor:
        if descriptor is None:
            return ""
        try:
            return _exactly(descriptor, skip, limit).decode("utf-8", "replace")
        except OSError:
            return ""


def size(directory: str, name: str) -> int:
    """Return how long a file below a directory is; 0 where there is none."""
    with opened(directory, name) as descriptor:
        return 0 if descriptor is None else os.fstat(descriptor).st_size


def before(descriptor: int, offset: int) -> str:
    """Return a few bytes of a file before an offset, as far as ``free`` leaves them, in hexadecimal digits."""
    length = min(_MARK, offset % _BLOCK)
    try:
        return os.pread(descriptor, length, offset - length).hex()
    except OSError:
        return ""


class Lines:
    """The complete lines of a file from an offset on, but empty ones, and those that are longer than a limit.

    Args:
        descriptor: The file.
        offset: Where to begin.
        skipping: Whether the line that begins there is the rest of one that is too long.
        deadline: When to end before all is read, by the monotonic clock.

    Attributes:
        offset: Up to where has been read.
        skipping: Whether what comes next is the rest of a line that is too long.
        left_out: How many lines were too long.
        complete: Whether all was read that was there.
    """

    def __init__(self, descriptor: int, offset: int, skipping: bool, deadline: float) -> None:
        self.offset = offset
        self.skipping = skipping
        self.left_out = 0
        self.complete = False
        self._descriptor = descriptor
        self._deadline = deadline

    def __iter__(self) -> Iterator[str]:
        """Return them one by one; the attributes count once all have been taken."""
        rest = b""
        while time.monotonic() < self._deadline:
            part = os.pread(self._descriptor, _PART, self.offset + len(rest))
            if not part:
                self.complete = True
                return
            end = part.rfind(b"\n") + 1
            if not end:
                rest += part
                if len(rest) > LONGEST_LINE:
                    self._leave_out(len(rest))
                    rest = b""
                continue
            whole, rest = rest + part[:end], part[end:]
            self.offset += len(whole)
            for line in whole[:-1].split(b"\n"):
                if self.skipping:
                    self.skipping = False
                elif len(line) > LONGEST_LINE:
                    self.left_out += 1
                elif line:
                    yield line.decode("utf-8", "replace")

    def _leave_out(self, length: int) -> None:
        self.left_out += not self.skipping
        self.skipping = True
        self.offset += length


def free(descriptor: int, end: int) -> None:
    """Have a file take no more room for its bytes up to an offset; what is appended meanwhile stays.

    Where the file system cannot do that, the file stays as it is.
    """
    whole = end - end % _BLOCK
    if whole:
        _fallocate(descriptor, _KEEP_SIZE | _PUNCH_HOLE, 0, whole)


def reserve(descriptor: int, length: int) -> None:
    """Have so much room behind the end of a file, so that what is appended gets its place also on a full disk."""
    _fallocate(descriptor, _KEEP_SIZE, os.fstat(descriptor).st_size, length)


def _fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    function = getattr(libc, "fallocate64", None) or getattr(libc, "fallocate", None)
    if function is not None:
        function(descriptor, mode, ctypes.c_int64(offset), ctypes.c_int64(length))


def _is_own(about: os.stat_result) -> bool:
    return stat.S_ISREG(about.st_mode) and about.st_nlink == 1


def _exactly(descriptor: int, skip: int, limit: int) -> bytes:
    found = bytearray()
    while len(found) < limit:
        part = os.pread(descriptor, min(_PART, limit - len(found)), skip + len(found))
        if not part:
            break
        found += part
    return bytes(found)
