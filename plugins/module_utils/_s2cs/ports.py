# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Selection of ports for new sessions."""

from __future__ import annotations

import errno
import os
import socket
from itertools import chain
from typing import Callable, Collection, List, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError, StateError

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


def port_chooser(
    address: str,
    port_range: tuple[int, int],
    count: int,
    random_start: bool = False,
    preferred: Sequence[int] = (),
    own: Collection[int] = (),
    reserved: Collection[int] = (),
    avoided: Collection[int] = (),
) -> PortChooser:
    """Return a function that selects free ports, starting after the last one that was assigned.

    A released port is therefore reused as late as possible, so that late clients of an old stream do not connect to a
    new one.

    Args:
        address: Address of the listeners.
        port_range: First and last port.
        count: Number of ports.
        random_start: Whether to start at a random port instead. Two control servers that share a range and have chosen
            the same ports would otherwise choose the same ports again.
        preferred: The ports to select if they are free, for each listener.
        own: Ports that are free although they are in use, because their session will be replaced.
        reserved: Ports that must not be selected, because other sessions of the call specify them.
        avoided: Ports to select only if no others are left.
    """
    low, high = port_range
    # Results of earlier tests, because the store is locked for others during the second call.
    free: dict[int, bool] = dict.fromkeys(own, True)

    def test(port: int) -> bool:
        if port not in free:
            free[port] = is_free(address, port)
        return free[port]

    def choose(taken: Sequence[int], last: int) -> list[int]:
        start = last + 1 if low <= last < high else low
        if random_start:
            # This does not have to be secret, only different from the other control server.
            start = low + int.from_bytes(os.urandom(4), "big") % (high + 1 - low)
        unavailable = {*taken, *reserved}.difference(own)
        kept = {
            index: port
            for index, port in enumerate(preferred[:count])
            if low <= port <= high and port not in unavailable and test(port)
        }
        excluded = unavailable.union(kept.values())
        # Lazily, because each port that is tested takes time, and there can be many.
        others = (
            port
            for last_resort in (False, True)
            for port in chain(range(start, high + 1), range(low, start))
            if port not in excluded and (port in avoided) is last_resort and test(port)
        )
        found = [kept[index] if index in kept else next(others, None) for index in range(count)]
        chosen = [port for port in found if port is not None]
        if len(chosen) < count:
            raise RefusedError(_too_few(address, port_range, count, unavailable, free), "port_range")
        return chosen

    return choose


def specified_chooser(
    address: str, specified: Sequence[int], own: Collection[int], holder: Callable[[int, bool], str]
) -> PortChooser:
    """Return a function that selects the ports that a request specifies, if all of them are free.

    Args:
        address: Address of the listeners.
        specified: The ports.
        own: Ports that are free although they are in use, because their session will be replaced.
        holder: Returns who has a port, given whether that is a session of this gateway, for messages.
    """
    free: dict[int, bool] = dict.fromkeys(own, True)

    def choose(taken: Sequence[int], _last: int) -> list[int]:
        unavailable = set(taken).difference(own)
        problems = []
        for port in specified:
            if port not in unavailable and port not in free:
                free[port] = is_free(address, port)
            if port in unavailable or not free[port]:
                problems.append(f"{port} at {address} is {holder(port, port in unavailable)}")
        if problems:
            raise StateError(f"ports: {'; '.join(problems)}: specify other ports, or release or stop what uses them")
        return list(specified)

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
