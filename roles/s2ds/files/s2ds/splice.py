# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""splice(2): os.splice since Python 3.10, otherwise the function of the C library."""

from __future__ import annotations

import errno
import functools
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    Splice = Callable[[int, int, int], int]

MOVE = 1
NONBLOCK = 2
FLAGS = MOVE | NONBLOCK

# Errors of splice(2) if it is not available for these descriptors, in this kernel or in this sandbox.
UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})


def find() -> Splice | None:
    """Return the function splice(source, destination, count) -> bytes moved, non-blocking, or None."""
    native = getattr(os, "splice", None)
    return _from_libc() if native is None else _from_os(native)


def _from_os(native: Callable[..., int]) -> Splice:
    # Faster than a function of Python.
    return functools.partial(native, flags=FLAGS)


def _from_libc() -> Splice | None:
    # Imported here, because importing ctypes takes longer than everything else.
    try:
        import ctypes

        call = ctypes.CDLL(None, use_errno=True).splice
    except (ImportError, OSError, AttributeError):
        return None
    pointer, number, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
    call.argtypes = (number, pointer, number, pointer, size, ctypes.c_uint)
    call.restype = ctypes.c_ssize_t
    get_errno = ctypes.get_errno

    def splice(source: int, destination: int, count: int) -> int:
        while True:
            moved: int = call(source, None, destination, None, count, FLAGS)
            if moved >= 0:
                return moved
            code = get_errno()
            if code != errno.EINTR:
                raise OSError(code, os.strerror(code))

    return splice
