# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line of a process that was forked, as others see it."""

from __future__ import annotations

import ctypes
import os

from records import read_small

#: Where the command line begins and ends in memory, after it was looked up. A forked process inherits it.
place: tuple[int, int] | None = None


def look_up() -> tuple[int, int]:
    """Return where the command line begins and ends in memory, twice 0 if that is unknown."""
    global place
    if place is None:
        try:
            # The second field is the name in parentheses, which may contain anything.
            fields = read_small("/proc/self/stat").rpartition(b")")[2].split()
            place = int(fields[45]), int(fields[46])
        except (OSError, ValueError, IndexError):
            place = 0, 0
    return place


def change(words: list[str]) -> bool:
    """Replace the command line of this process. Returns whether there was enough room."""
    start, end = look_up()
    text = b"".join(os.fsencode(word) + b"\0" for word in words)
    if not start or len(text) > end - start:
        return False
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, text, len(text))
    return True
