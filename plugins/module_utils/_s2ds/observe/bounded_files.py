# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that a data server writes below its directory: reading them within limits, and keeping them small.

A compromised data server cannot make this process read anything but its own regular files, nor read without end.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import contextmanager
from typing import Iterator

MAX_SIZE = 1 << 20
MAX_LINE_LENGTH = 4096
_PART = 1 << 16

_KEEP_SIZE, _PUNCH_HOLE = 1, 2
_BLOCK = 4096
# Number of bytes to recognize a file.
_MARK = 32


@contextmanager
def opened(directory: str, name: str, write: bool = False) -> Iterator[int | None]:
    """Open a file below a directory. Yields None if there is none, or if it is not a regular file with one link."""
    flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    path = os.path.join(directory, name)
    try:
        # Opening a device may have side effects.
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


def read(directory: str, name: str, skip: int = 0, limit: int = MAX_SIZE) -> str:
    """Return the content of a file below a directory, or an empty string if there is none.

    Args:
        directory: The directory.
        name: Path of the file below it.
        skip: Number of bytes to skip.
        limit: Maximum number of bytes.
    """
    with opened(directory, name) as descriptor:
        if descriptor is None:
            return ""
        try:
            return _exactly(descriptor, skip, limit).decode("utf-8", "replace")
        except OSError:
            return ""


def size(directory: str, name: str) -> int:
    """Return the size of a file below a directory, or 0 if there is none."""
    with opened(directory, name) as descriptor:
        return 0 if descriptor is None else os.fstat(descriptor).st_size


def before(descriptor: int, offset: int) -> str:
    """Return a few bytes of a file before an offset, as far as ``free`` keeps them, in hexadecimal digits."""
    length = min(_MARK, offset % _BLOCK)
    try:
        return os.pread(descriptor, length, offset - length).hex()
    except OSError:
        return ""


class Lines:
    """The complete lines of a file after an offset, without empty lines and lines that are too long.

    Args:
        descriptor: The file.
        offset: Where to start.
        skipping: Whether the first line is the rest of a line that is too long.
        deadline: When to stop, by the monotonic clock.

    Attributes:
        offset: Offset up to which the file has been read.
        skipping: Whether the file continues there with the rest of a line that is too long.
        omitted: Number of lines that were too long.
        complete: Whether everything was read.
    """

    def __init__(self, descriptor: int, offset: int, skipping: bool, deadline: float) -> None:
        self.offset = offset
        self.skipping = skipping
        self.omitted = 0
        self.complete = False
        self._descriptor = descriptor
        self._deadline = deadline

    def __iter__(self) -> Iterator[str]:
        """Return the lines. The attributes are valid after the last line."""
        rest = b""
        while time.monotonic() < self._deadline:
            part = os.pread(self._descriptor, _PART, self.offset + len(rest))
            if not part:
                self.complete = True
                return
            end = part.rfind(b"\n") + 1
            if not end:
                rest += part
                if len(rest) > MAX_LINE_LENGTH:
                    self._omit(len(rest))
                    rest = b""
                continue
            whole, rest = rest + part[:end], part[end:]
            self.offset += len(whole)
            for line in whole[:-1].split(b"\n"):
                if self.skipping:
                    self.skipping = False
                elif len(line) > MAX_LINE_LENGTH:
                    self.omitted += 1
                elif line:
                    yield line.decode("utf-8", "replace")

    def _omit(self, length: int) -> None:
        self.omitted += not self.skipping
        self.skipping = True
        self.offset += length


def free(descriptor: int, end: int) -> None:
    """Free the disk space of a file up to an offset. Data that is appended meanwhile is kept.

    On file systems that do not support this, nothing happens.
    """
    whole = end - end % _BLOCK
    if whole:
        _fallocate(descriptor, _KEEP_SIZE | _PUNCH_HOLE, 0, whole)


def reserve(descriptor: int, length: int) -> None:
    """Reserve disk space behind the end of a file, so that data can be appended even if the disk is full."""
    _fallocate(descriptor, _KEEP_SIZE, os.fstat(descriptor).st_size, length)


def _fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    # Rarely needed, and it takes memory that the service would hold all the time.
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    function = getattr(libc, "fallocate64", None) or getattr(libc, "fallocate", None)
    if function is not None:
        function(descriptor, mode, ctypes.c_int64(offset), ctypes.c_int64(length))


def _is_own(info: os.stat_result) -> bool:
    return stat.S_ISREG(info.st_mode) and info.st_nlink == 1


def _exactly(descriptor: int, skip: int, limit: int) -> bytes:
    found = bytearray()
    while len(found) < limit:
        part = os.pread(descriptor, min(_PART, limit - len(found)), skip + len(found))
        if not part:
            break
        found += part
    return bytes(found)
