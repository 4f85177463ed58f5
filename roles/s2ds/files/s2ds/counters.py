# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Counters in memory that the dispatcher and its workers share.

Each worker has a block of its own and is the only one to write to it, so there are no locks. A worker counts bytes
after it has passed them on. A block outlives its worker: the next worker in its place continues counting.
"""

from __future__ import annotations

import mmap

# CLIENT_PATH and TARGET_PATH are about the legs of the latest connection.
# LEFT counts connections whose clients closed them in the handshake, such as probes and monitoring systems.
# Where the producer's gateway dials: WAITING is the number of idle connections between the gateways. TAKEN counts those
# that an application got, at the end that dialled. STRANGERS counts those that were refused or left.
# ADMITTED is the number of open connections that count towards max_connections. The others are in the handshake.
CLOSED, FAILED, REFUSED, TO_CONSUMER, TO_PRODUCER, ENCRYPTION, PATHS, ADMITTED, ONE_KEY, LEFT = range(10)
WAITING, TAKEN, STRANGERS = range(10, 13)
CLIENT_PATH, TARGET_PATH = 14, 15
FIELDS = 16  # two cache lines for each block


class Counters:
    def __init__(self, blocks: int) -> None:
        self._memory = mmap.mmap(-1, blocks * FIELDS * 8)
        self._values = memoryview(self._memory).cast("Q")
        self.blocks = blocks

    def block(self, number: int) -> memoryview:
        return self._values[number * FIELDS : (number + 1) * FIELDS]

    def total(self, field: int) -> int:
        return sum(self.each(field))

    def each(self, field: int) -> list[int]:
        return self._values[field::FIELDS].tolist()
