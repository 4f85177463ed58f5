# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running a function in a process of its own, which keeps what it loads to itself and then ends."""

from __future__ import annotations

import errno
import gc
import os
import select
import signal
import time

from log import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

SECONDS = 20.0
PART = 65536


def run(function: Callable[[], bytes], meanwhile: Callable[[], object] = lambda: None) -> bytes:
    """Return what a function returns in a process of its own. The other function runs in this process meanwhile.

    Raises:
        OSError: There was no such process, it took too long, or it failed.
    """
    output, write_end = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            pid = os.fork()
            if not pid:
                _answer(function, write_end)
        finally:
            os.close(write_end)
        try:
            meanwhile()
            found = _read(output)
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            raise
        finally:
            _pid, status = os.waitpid(pid, 0)
    finally:
        os.close(output)
    if status:
        raise OSError(errno.ECHILD, f"a process ended with status {status}")
    return found


def _read(output: int) -> bytes:
    found, end = b"", time.monotonic() + SECONDS
    while select.select([output], [], [], max(0.0, end - time.monotonic()))[0]:
        part = os.read(output, PART)
        if not part:
            return found
        found += part
    raise OSError(errno.ETIMEDOUT, f"a process took more than {SECONDS:.0f} seconds")


def _answer(function: Callable[[], bytes], write_end: int) -> None:
    """Write the result. Does not return."""
    status = 1
    try:
        # Signals are for the process that waits for the result.
        signal.set_wakeup_fd(-1)
        # It ends before that pays, and collections would write to memory that is shared.
        gc.disable()
        with open(write_end, "wb", closefd=False) as file:
            file.write(function())
        status = 0
    except BaseException:
        Log().unexpected()
    finally:
        os._exit(status)
