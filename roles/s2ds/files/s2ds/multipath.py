# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Multipath TCP (RFC 8684) between the gateways, or ordinary TCP where one of them or the network does not have it.

A worker tells the dispatcher about its latest connection by a number in the memory that they share.
"""

from __future__ import annotations

import errno
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from timers import Timers

# Python has no names for them before version 3.10.
IPPROTO_MPTCP = 262
SOL_MPTCP, MPTCP_INFO = 284, 1
# Of struct mptcp_info: subflows beside the first one, and since Linux 6.5 the number of all.
INFO_SIZE, ADDITIONAL_AT, TOTAL_AT = 96, 0, 80
# A kernel without it, a kernel in which it is turned off, a security module, and a kernel before 5.6.
UNAVAILABLE = (errno.EPROTONOSUPPORT, errno.ENOPROTOOPT, errno.EPERM, errno.EACCES, errno.EINVAL, errno.EOPNOTSUPP)
NUMBER_SHIFT, MOST_PATHS = 8, 255
SECONDS = 1.0


def tcp_socket(kind: int, multipath: bool) -> socket.socket:
    """Return a socket of an address family, with Multipath TCP if requested and available."""
    if multipath:
        try:
            return socket.socket(kind, socket.SOCK_STREAM, IPPROTO_MPTCP)
        except OSError as error:
            if error.errno not in UNAVAILABLE:
                raise
    return socket.socket(kind, socket.SOCK_STREAM)


def paths(sock: socket.socket) -> int:
    """Return the number of paths of a connection, or 0 if it is ordinary TCP."""
    try:
        info = sock.getsockopt(SOL_MPTCP, MPTCP_INFO, INFO_SIZE)
    except OSError:
        return 0
    return info[TOTAL_AT] if len(info) > TOTAL_AT else info[ADDITIONAL_AT] + 1


class PathCounter:
    """Follows the number of paths of a worker's latest connection."""

    def __init__(self, counters: memoryview, field: int, timers: Timers) -> None:
        self._counters = counters
        self._field = field
        self._timers = timers
        self._number = 0
        self._sock: socket.socket | None = None

    def follow(self, number: int, sock: socket.socket) -> None:
        """Count the paths of a connection, which replaces the one before."""
        waiting = self._sock is not None
        self._number, self._sock = number, sock
        self._count()
        if not waiting:
            self._timers.after(SECONDS, self._again)

    def _again(self) -> None:
        if self._sock is None or self._sock.fileno() < 0:
            self._sock = None
            return
        self._count()
        self._timers.after(SECONDS, self._again)

    def _count(self) -> None:
        if self._sock is not None:
            self._counters[self._field] = self._number << NUMBER_SHIFT | min(paths(self._sock), MOST_PATHS)


def latest(packed: list[int]) -> dict[str, Any]:
    """Return the paths of the latest connection, None before the first one."""
    value = max(packed)
    return {"paths": value & MOST_PATHS if value else None}
