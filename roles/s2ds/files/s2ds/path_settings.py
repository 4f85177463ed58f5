# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings of a connection's sockets that depend on the length of their paths, which is measured when it is opened.

Buffers are not among them: setting their sizes would turn off the kernel's own adjustment, which finds larger ones. A
worker tells the dispatcher about its latest connection by a number for each leg, in the memory that they share.
"""

from __future__ import annotations

import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TCP_NOTSENT_LOWAT = 25  # Python has no name for it before version 3.13.
# Of struct tcp_info, in microseconds: smoothed and smallest round trip, the latter since Linux 4.6.
INFO_SIZE, SMOOTHED_AT, SMALLEST_AT = 192, 68, 148
UNKNOWN = (0, 0xFFFFFFFF)
# Beyond this round trip, a path leaves the region. In microseconds.
LONG = 10_000
# A connection over a long path may have sent this much less than TCP could take: several turns of a worker, and not as
# much again as is on its way, which can be hundreds of MiB.
UNSENT = 4 << 20
ALLOWED = "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
USUAL = "/proc/sys/net/ipv4/tcp_congestion_control"
MAX_SIZE = 4096
FAR, NEAR = "bbr", "cubic"
CHOICES = ("", FAR, NEAR)
RTT_BITS, CHOICE_BITS = 26, 2


def round_trip(sock: socket.socket) -> int:
    """Return the smallest round trip of a connection in microseconds, 0 if it is not known."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, INFO_SIZE)
    except OSError:
        return 0
    for offset in (SMALLEST_AT, SMOOTHED_AT):
        value = int.from_bytes(info[offset : offset + 4], sys.byteorder)
        if value not in UNKNOWN:
            return min(value, (1 << RTT_BITS) - 1)
    return 0


class PathSettings:
    """Adapts the sockets of a worker."""

    def __init__(self, counters: memoryview, fields: tuple[int, int]) -> None:
        self._counters = counters
        self._fields = fields
        self._allowed = _words(ALLOWED)

    def adapt(self, number: int, leg: int, sock: socket.socket, fixed: bool) -> None:
        """Adapt the socket of one leg of a connection.

        Args:
            number: Number of the connection.
            leg: 0 for the client, 1 for the target.
            sock: The socket.
            fixed: Whether the configuration determines the congestion control.
        """
        # At this point, nothing has been sent but the handshakes.
        measured = round_trip(sock)
        choice = ""
        try:
            if measured >= LONG:
                sock.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT)
                choice = "" if fixed else self._choose(sock, FAR, "")
            elif measured and not fixed:
                # BBR is for long paths.
                choice = self._choose(sock, NEAR, FAR)
        except OSError:
            # Multipath TCP does not have all of these options everywhere.
            choice = ""
        packed = measured << CHOICE_BITS | CHOICES.index(choice)
        self._counters[self._fields[leg]] = number << (RTT_BITS + CHOICE_BITS) | packed

    def _choose(self, sock: socket.socket, wanted: str, instead_of: str) -> str:
        """Select a congestion control if the host lets programs without privileges do so. Returns its name, or "".

        Args:
            sock: The socket.
            wanted: The name.
            instead_of: The only one that is replaced, or "" for any.
        """
        if wanted not in self._allowed:
            return ""
        used = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()
        if used == wanted or (instead_of and used != instead_of):
            return ""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, wanted.encode())
        return wanted


def latest(packed: list[int], configured: str | None) -> dict[str, Any] | None:
    """Return the round trip in milliseconds and the congestion control of the latest connection, None before the first.

    Args:
        packed: The numbers of the workers for one leg.
        configured: Congestion control of the configuration, or None for that of the host.
    """
    value = max(packed)
    if not value:
        return None
    choice = CHOICES[min(value & ((1 << CHOICE_BITS) - 1), len(CHOICES) - 1)]
    rtt = value >> CHOICE_BITS & ((1 << RTT_BITS) - 1)
    used = choice or configured or next(iter(_words(USUAL)), None)
    return {"rtt": rtt / 1000 if rtt else None, "congestion": used}


def _words(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.read(MAX_SIZE).split()
    except (OSError, ValueError):
        return []
