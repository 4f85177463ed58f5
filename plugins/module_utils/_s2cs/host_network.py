# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the kernel of this host does for connections over long paths. Nothing here changes anything."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import struct
from contextlib import suppress
from typing import Any, Iterable, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import parse_endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.path_capacity import USUAL_RTTS, Buffers

_SYSCTL = "/proc/sys"
_INTERFACES = "/sys/class/net"
_MAX_SIZE = 4096
_MAX_INTERFACES = 256
_GET_ADDRESS = 0x8915  # SIOCGIFADDR
# Since this version, the share of a receive buffer that is for data follows from the packets.
_ADAPTIVE = (6, 6)


def buffers() -> Buffers | None:
    """Return the largest buffers of TCP connections, or None if they are not known here."""
    receive, send = _maximum("net/ipv4/tcp_rmem"), _maximum("net/ipv4/tcp_wmem")
    if receive is None or send is None:
        return None
    return Buffers(receive, send, _received_share())


def describe(addresses: Iterable[str]) -> dict[str, Any]:
    """Return the figures of this host, in the format of ``s2cs_info``. Those that are not known are null.

    Args:
        addresses: Addresses of the gateway, for the speed of their links.
    """
    found = buffers()
    return {
        "receive_buffer": found.receive if found else None,
        "send_buffer": found.send if found else None,
        "congestion": _text("net/ipv4/tcp_congestion_control"),
        "congestion_allowed": (_text("net/ipv4/tcp_allowed_congestion_control") or "").split(),
        "qdisc": _text("net/core/default_qdisc"),
        "slow_start_after_idle": _truth(_text("net/ipv4/tcp_slow_start_after_idle")),
        "links": _speeds(addresses),
        "carries": [found.carries(rtt) for rtt in USUAL_RTTS] if found else [],
    }


def carries(rtt: float | None, addresses: Iterable[str]) -> dict[str, Any] | None:
    """Return what a connection of this host carries at a round trip, in the format of a session, or None.

    Args:
        rtt: The round trip in milliseconds, or None if it is not known.
        addresses: Addresses of the session on this host, for the speed of their links.
    """
    found = buffers() if rtt is not None else None
    if found is None or rtt is None:
        return None
    speeds = list(_speeds(addresses).values())
    return {**found.carries(rtt), "link": min(speeds) if speeds else None}


def session_carries(session: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a connection of a session carries over its path, or None if its request did not say how long it is.

    Args:
        session: The session, as modules return it.
    """
    if session["rtt"] is None:
        return None
    hosts = [parse_endpoint("listeners", item).host for item in session["listeners"]]
    return carries(session["rtt"], [*hosts, *filter(None, [session["egress"]])])


def _received_share() -> float:
    """Return the share of a receive buffer that is for data. With newer kernels, this is a cautious estimate."""
    release = re.match(r"([0-9]{1,4})\.([0-9]{1,4})", os.uname().release)
    text = _text("net/ipv4/tcp_adv_win_scale") or ""
    adaptive = release is not None and (int(release[1]), int(release[2])) >= _ADAPTIVE
    if adaptive or not re.fullmatch(r"-?[0-9]{1,2}", text):
        return 0.5
    scale = int(text)
    return 1 - 2.0**-scale if scale > 0 else 2.0**scale


def _speeds(addresses: Iterable[str]) -> dict[str, int]:
    """Return the speeds of the links that have addresses, in bits per second, as far as they are known."""
    wanted = set(addresses)
    found: dict[str, int] = {}
    with suppress(OSError):
        for name in sorted(os.listdir(_INTERFACES))[:_MAX_INTERFACES]:
            if wanted and (address := _address(name)) in wanted:
                with suppress(OSError, ValueError):
                    # Virtual devices have none, or -1.
                    megabits = int(_read(os.path.join(_INTERFACES, name, "speed")))
                    if megabits > 0:
                        found[str(address)] = megabits * 10**6
    return found


def _address(interface: str) -> str | None:
    """Return the first IPv4 address of an interface."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("256s", interface.encode()[:15])
        return socket.inet_ntoa(fcntl.ioctl(sock.fileno(), _GET_ADDRESS, request)[20:24])
    return None


def _maximum(name: str) -> int | None:
    words = (_text(name) or "").split()
    return int(words[2]) if len(words) == 3 and words[2].isdigit() else None


def _text(name: str) -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        return _read(os.path.join(_SYSCTL, name))
    return None


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read(_MAX_SIZE).strip()


def _truth(text: str | None) -> bool | None:
    return None if text is None else text != "0"
