# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where an address leads according to the routing tables: to this host, to all hosts of a network, or elsewhere."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from typing import Union

_Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

_ROUTE = 0  # NETLINK_ROUTE
_GET_ROUTE, _NEW_ROUTE, _ERROR = 26, 24, 2
_REQUEST = 1
_DESTINATION = 1  # RTA_DST
_HEADER = struct.Struct("=IHHII")
_MESSAGE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_SECONDS = 5.0
_LOCAL = 2
_KINDS = {
    _LOCAL: "an address of this gateway itself",
    3: "a broadcast address",
    4: "an anycast address of this gateway",
}


def describe_special(address: _Address) -> str | None:
    """Return a description of an address that leads to this host or to all hosts of a network, otherwise None."""
    if address.is_loopback:
        return _KINDS[_LOCAL]
    try:
        return _KINDS.get(_type_of_route(address))
    except OSError:
        # Without netlink: only addresses of this host can be bound.
        return _KINDS[_LOCAL] if _can_be_bound(address) else None


def _type_of_route(address: _Address) -> int:
    """Return the type of the route to an address, or 0 if there is none."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(address.packed), _DESTINATION) + address.packed
    body = _MESSAGE.pack(family, address.max_prefixlen, 0, 0, 0, 0, 0, 0, 0) + attribute
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _ROUTE) as connection:
        connection.settimeout(_SECONDS)
        connection.sendto(_HEADER.pack(_HEADER.size + len(body), _GET_ROUTE, _REQUEST, 1, 0) + body, (0, 0))
        answer = connection.recv(65536)
    kind = _HEADER.unpack_from(answer)[1]
    if kind == _NEW_ROUTE:
        return int(_MESSAGE.unpack_from(answer, _HEADER.size)[7])
    if kind == _ERROR and -struct.unpack_from("=i", answer, _HEADER.size)[0] in (errno.EPERM, errno.EOPNOTSUPP):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))
    return 0


def _can_be_bound(address: _Address) -> bool:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
