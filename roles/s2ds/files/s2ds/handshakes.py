# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The connections of a worker whose clients have not yet shown who they are. If there are too many, one gives way.

They are divided into those that have said nothing useful yet, and those whose first message was answered. The larger
part gives way, in it the address with the most connections, and of these the oldest. So a flood of one kind or from one
address displaces itself, and clients in a normal handshake have the time for it.
"""

from __future__ import annotations

from validation import number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Protocol

    class Waiting(Protocol):
        """The interface of a connection in a handshake."""

        def give_way(self) -> None: ...

    # Those of each address, the oldest first.
    Part = Dict[int, Dict[Waiting, None]]

# A single client usually has a network of this size, or a larger one.
SINGLE_NETWORK_BITS = 64


class Handshakes:
    def __init__(self) -> None:
        self._parts: tuple[Part, Part] = ({}, {})
        self._places: dict[Waiting, tuple[bool, int]] = {}
        self._sizes = [0, 0]

    def add(self, connection: Waiting, address: str) -> None:
        self._put(connection, False, _source(address))

    def answered(self, connection: Waiting) -> None:
        """Record that the first message of a client was complete, and was answered."""
        answered, source = self._places[connection]
        if not answered:
            self.remove(connection)
            self._put(connection, True, source)

    def remove(self, connection: Waiting) -> None:
        """Forget a connection, whether it is known or not."""
        place = self._places.pop(connection, None)
        if place is None:
            return
        answered, source = place
        part = self._parts[answered]
        del part[source][connection]
        if not part[source]:
            del part[source]
        self._sizes[answered] -= 1

    def give_way(self) -> None:
        """Close one connection, if there is any."""
        if self._places:
            part = self._parts[self._sizes[True] > self._sizes[False]]
            most = max(part, key=lambda source: len(part[source]))
            next(iter(part[most])).give_way()

    def _put(self, connection: Waiting, answered: bool, source: int) -> None:
        self._parts[answered].setdefault(source, {})[connection] = None
        self._places[connection] = (answered, source)
        self._sizes[answered] += 1


def _source(address: str) -> int:
    value = number(address)
    return value >> SINGLE_NETWORK_BITS if ":" in address else value
