# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line of a process that was forked, as others see it."""

from __future__ import annotations

import ctypes
import os


def change(words: list[str]) -> bool:
    """Replace the command line of this process. Returns whether there was enough room."""
    try:
        with open("/proc/self/stat", "rb") as stream:
            # The second field is the name in parentheses, which may contain anything.
            start, end = map(int, stream.read().rpartition(b")")[2].split()[45:47])
    except (OSError, ValueError):
        return False
    text = b"".join(os.fsencode(word) + b"\0" for word in words)
    if not start or len(text) > end - start:
        return False
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, text, len(text))
    return True
