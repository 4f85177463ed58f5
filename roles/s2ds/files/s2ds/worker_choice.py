# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many workers a session may have, unless its configuration says so.

Encryption in user space, and copying, keep a processor busy for each worker, so they need all processors.

Splicing does not: one worker moves several GB in a second, and the kernel's own work for its connections, some of which
is done on other processors, takes about as long. More workers only help where processors are idle. Elsewhere they take
turns, find fewer bytes at each turn, and need more time for the same number of bytes.
"""

from __future__ import annotations

import contextlib
import os

MAX_WORKERS = 8
# Processors that one worker and the kernel's work for its connections use.
PROCESSORS_FOR_SPLICING = 2


def automatic(spliced: bool, running: int) -> int:
    """Return the maximum number of workers now.

    Args:
        spliced: Whether no byte of the session enters user space.
        running: Number of its workers, whose load is not that of others.
    """
    load = 0.0
    with contextlib.suppress(OSError):
        load = os.getloadavg()[0]
    return most(spliced, len(os.sched_getaffinity(0)), (load - running) / (os.cpu_count() or 1))


def most(spliced: bool, processors: int, busy: float) -> int:
    """Return the maximum number of workers on some processors, which others keep busy for this share of the time."""
    if spliced:
        processors = int(processors * min(1.0, 1.0 - busy)) // PROCESSORS_FOR_SPLICING
    return max(1, min(MAX_WORKERS, processors))
