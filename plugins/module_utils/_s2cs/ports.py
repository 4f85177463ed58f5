# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Selection of ports for new sessions."""

from __future__ import annotations

import errno
import random
import socket
from typing import Callable, Collection, List, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError

#: Selects ports, given the ports that are taken and the last one that was assigned.
PortChooser = Callable[[Sequence[int], int], List[int]]

_ADDRESS_ERRORS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def is_free(address: str, port: int) -> bool:
    """Tell whether a port is free for TCP and UDP, by briefly binding to it.

    Args:
        address: An address of this host.
        port: The port.

    Raises:
        RefusedError: This host does not have the address.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM:
                # Old connections in TIME_WAIT do not prevent a listener from using this port.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno in _ADDRESS_ERRORS:
                    raise RefusedError(
                        f"this gateway does not have the listener address {address}: correct listen in its policy",
                        "listen",
                    ) from None
                return False
    return True


def port_chooser(address: str, port_range: tuple[int, int], count: int, random_start: bool = False) -> PortChooser:
    """Return a function that selects free ports, starting after the last one that was assigned.

    A released port is therefore reused as late as possible, so that late clients of an old stream do not connect to a
    new one.

    Args:
        address: Address of the listeners.
        port_range: First and last port.
        count: Number of ports.
        random_start: Whether to start at a random port instead. Two control servers that share a range and have chosen
            the same ports would otherwise choose the same ports again.
    """
    low, high = port_range
    # Results of earlier tests, because the store is locked for others during the second call.
    free: dict[int, bool] = {}

    def choose(taken: Sequence[int], last: int) -> list[int]:
        start = last + 1 if low <= last < high else low
        if random_start:
            # This does not have to be secret, only different from the other control server.
            start = random.SystemRandom().randint(low, high)
        unavailable = set(taken)
        found: list[int] = []
        for port in (*range(start, high + 1), *range(low, start)):
            if port in unavailable:
                continue
            if port not in free:
                free[port] = is_free(address, port)
            if free[port]:
                found.append(port)
                if len(found) == count:
                    return found
        raise RefusedError(_too_few(address, port_range, count, unavailable, free), "port_range")

    return choose


def _too_few(
    address: str, port_range: tuple[int, int], count: int, taken: Collection[int], free: Mapping[int, bool]
) -> str:
    """Return the message for too few free ports: how many are free, and what uses the others."""
    low, high = port_range
    own = [port for port in range(low, high + 1) if port in taken]
    others = [port for port in range(low, high + 1) if port not in taken and not free.get(port, True)]
    left = high - low + 1 - len(own) - len(others)
    held = f", and other programs or connections use {len(others)}, including {others[0]}" if others else ""
    advice = "release sessions" if own else "stop these programs"
    return (
        f"num_conn: {count} ports are needed at {address}, but {left} are free in the range {low}-{high}; "
        f"{len(own)} belong to sessions of this gateway{held}: {advice}, or widen port_range in the policy"
    )
