# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel's socket tables: the sockets of processes, and the bytes that they transferred.

Used for proxies that count a connection only when it ends. Queried with netlink, so that no program is required.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import struct
from dataclasses import dataclass
from typing import Collection, Iterable, Iterator

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301
_ERROR, _DONE = 2, 3
_WITH_INFO = 1 << 1
_INFO_ATTRIBUTE = 2
# Offsets in struct tcp_info: of tcpi_last_data_recv, in milliseconds; of tcpi_bytes_acked and tcpi_bytes_received; of
# tcpi_total_retrans; of tcpi_busy_time and tcpi_rwnd_limited, in microseconds, which Linux before 4.10 lacks.
_QUIET_AT = 52
_BYTES_AT = 120
_RETRANSMITTED_AT = 100
_BUSY_AT = 168
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI48x")
_MESSAGE = struct.Struct("=BBBB2s2s16s16s12xIIIII")
_NUMBER = struct.Struct("=I")
# Offset of the last field of a message.
_INODE_AT = _HEADER.size + _MESSAGE.size - _NUMBER.size
_SECONDS = 5.0
LISTEN = 10
# The kernel counts the end of a stream as a byte: ours once it is acknowledged, the peer's once it has arrived.
_END_CONFIRMED = (5,)  # FIN_WAIT2
_END_RECEIVED = (8, 9, 11)  # CLOSE_WAIT, LAST_ACK, CLOSING

_INODE = re.compile(r"socket:\[([0-9]+)\]")


@dataclass(frozen=True)
class Socket:
    """A socket of a process.

    Attributes:
        protocol: Its protocol.
        state: Its TCP state.
        local: Local address.
        remote: Remote address.
        sent: Bytes that the peer has acknowledged.
        received: Bytes that the peer has sent.
        quiet: Seconds since the last byte of the peer.
        retransmitted: Number of segments that were sent again.
        busy: Seconds in which there was something to send.
        window_limited: Seconds of these in which the peer accepted no more.
    """

    protocol: int
    state: int
    local: Endpoint
    remote: Endpoint
    sent: int
    received: int
    quiet: float = 0.0
    retransmitted: int = 0
    busy: float = 0.0
    window_limited: float = 0.0

    @property
    def listens(self) -> bool:
        """Whether it is a TCP listener."""
        return self.protocol == socket.IPPROTO_TCP and self.state == LISTEN


def held_by(pids: Iterable[int]) -> set[int]:
    """Return the inodes of the sockets of processes."""
    inodes: set[int] = set()
    for pid in pids:
        try:
            for name in os.listdir(f"/proc/{pid}/fd"):
                try:
                    match = _INODE.fullmatch(os.readlink(f"/proc/{pid}/fd/{name}"))
                except OSError:
                    continue
                if match:
                    inodes.add(int(match.group(1)))
        except OSError:
            continue
    return inodes


def sockets(inodes: Collection[int]) -> list[Socket]:
    """Return the TCP and UDP sockets with these inodes."""
    found: list[Socket] = []
    for family in (socket.AF_INET, socket.AF_INET6):
        for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
            found += _dump(family, protocol, inodes)
    return found


def bound(protocol: str) -> set[Endpoint]:
    """Return the addresses on which any process of this network namespace listens, or receives datagrams.

    Args:
        protocol: ``tcp`` or ``udp``.
    """
    number = socket.IPPROTO_TCP if protocol == "tcp" else socket.IPPROTO_UDP
    return {
        item.local
        for family in (socket.AF_INET, socket.AF_INET6)
        for item in _dump(family, number)
        if (item.listens if protocol == "tcp" else not item.remote.port)
    }


def connected_to(remote: Endpoint) -> list[Socket]:
    """Return the TCP sockets of any process of this network namespace that are connected to an address."""
    family = socket.AF_INET6 if ":" in remote.host else socket.AF_INET
    return [item for item in _dump(family, socket.IPPROTO_TCP) if item.remote == remote]


def _dump(family: int, protocol: int, inodes: Collection[int] | None = None) -> Iterator[Socket]:
    """Return all sockets, or those with these inodes. A host may have many thousands of others."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as connection:
        connection.settimeout(_SECONDS)
        request = _REQUEST.pack(family, protocol, _WITH_INFO, 0, 0xFFFFFFFF)
        connection.send(_HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + request)
        while True:
            data = connection.recv(1 << 18)
            while len(data) >= _HEADER.size:
                length, kind = _HEADER.unpack_from(data)[:2]
                if kind in (_ERROR, _DONE) or not _HEADER.size <= length <= len(data):
                    return
                if length >= _HEADER.size + _MESSAGE.size and (
                    inodes is None or _NUMBER.unpack_from(data, _INODE_AT)[0] in inodes
                ):
                    yield _socket(protocol, data[_HEADER.size : length])
                data = data[(length + 3) & ~3 :]


def _socket(protocol: int, message: bytes) -> Socket:
    family, state, _timer, _retries, local_port, remote_port, local, remote, *_rest = _MESSAGE.unpack_from(message)
    sent, received, quiet = 0, 0, 0.0
    retransmitted, busy, limited = 0, 0, 0
    attributes = message[_MESSAGE.size :]
    while len(attributes) >= 4:
        length, kind = struct.unpack_from("=HH", attributes)
        if not 4 <= length <= len(attributes):
            break
        if kind == _INFO_ATTRIBUTE and length >= 4 + _BYTES_AT + 16:
            sent, received = struct.unpack_from("=QQ", attributes, 4 + _BYTES_AT)
            sent -= state in _END_CONFIRMED
            received -= state in _END_RECEIVED
            quiet = struct.unpack_from("=I", attributes, 4 + _QUIET_AT)[0] / 1000
            retransmitted = struct.unpack_from("=I", attributes, 4 + _RETRANSMITTED_AT)[0]
            if length >= 4 + _BUSY_AT + 16:
                busy, limited = struct.unpack_from("=QQ", attributes, 4 + _BUSY_AT)
        attributes = attributes[(length + 3) & ~3 :]
    ends = _end(family, local, local_port), _end(family, remote, remote_port)
    return Socket(protocol, state, *ends, sent, received, quiet, retransmitted, busy / 1e6, limited / 1e6)


def _end(family: int, address: bytes, port: bytes) -> Endpoint:
    size = 4 if family == socket.AF_INET else 16
    return Endpoint(str(ipaddress.ip_address(address[:size])), int.from_bytes(port, "big"))
