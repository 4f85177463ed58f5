# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TLS in the kernel (linux/tls.h): what it takes, sends and receives on a connected socket."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import termios

from tls_keys import RECORD_OVERHEAD, SUITES, TrafficKeys

TCP_ULP = 31
SOL_TLS = 282
TLS_TX, TLS_RX = 1, 2
SET_RECORD_TYPE, GET_RECORD_TYPE = 1, 2
ALERT, HANDSHAKE, DATA = 21, 22, 23
CLOSE_NOTIFY = b"\x01\x00"
# A message of the handshake: KeyUpdate, of one byte, which asks for no answer.
KEY_UPDATE = b"\x18\x00\x00\x01\x00"
ROOM = socket.CMSG_SPACE(1)

PROBE_SECONDS = 2.0
BYTES_ACKED = 120  # the offset of tcpi_bytes_acked in struct tcp_info
INFO_SIZE = BYTES_ACKED + 8

# Errors that apply to every connection. Others, for example because the peer has ended it, apply to a single one.
UNAVAILABLE = frozenset(
    {errno.ENOENT, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS}
)


def attach(sock: socket.socket) -> None:
    """Prepare an established connection for keys. Nothing changes until it gets one."""
    sock.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")


def set_key(sock: socket.socket, direction: int, keys: TrafficKeys) -> None:
    """Set the key of one direction. The same key is never set twice, as this would repeat its nonces."""
    sock.setsockopt(SOL_TLS, direction, keys.info())


def send_control(sock: socket.socket, kind: int, message: bytes) -> None:
    """Send a record that does not contain data."""
    sock.sendmsg([message], [(SOL_TLS, SET_RECORD_TYPE, bytes([kind]))])


def receive(sock: socket.socket, buffer: memoryview) -> tuple[int, int]:
    """Receive data, or a control record. Returns the number of bytes and the type of the record, or 0 at the end."""
    count, extra, _flags, _address = sock.recvmsg_into([buffer], ROOM)
    for level, kind, data in extra:
        if level == SOL_TLS and kind == GET_RECORD_TYPE and data:
            return count, data[0]
    return count, DATA if count else 0


def renews() -> bool:
    """Return whether this kernel takes another key for a connection that has one (Linux 6.14 and newer)."""
    suite = SUITES[0]
    try:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            with socket.create_connection(listener.getsockname(), timeout=PROBE_SECONDS) as sock:
                attach(sock)
                # Two keys, which nothing is encrypted with.
                set_key(sock, TLS_TX, TrafficKeys(suite, os.urandom(suite.key)))
                set_key(sock, TLS_TX, TrafficKeys(suite, os.urandom(suite.key)))
    except OSError:
        return False
    return True


class Outflow:
    """How much of what the kernel has accepted it has also passed to TCP.

    A record that the kernel accepted may not be in TCP yet, and shutting the connection down, or closing it, would lose
    it. No event tells when it is. But it can be computed, from what TCP has sent or queued since the key was set.
    """

    __slots__ = ("_base", "_controls", "_keys", "_records", "_sock")

    def __init__(self, sock: socket.socket, keys: TrafficKeys) -> None:
        self._sock = sock
        self._keys = keys
        self._base = self._in_tcp()
        self._controls = 0  # bytes in control records
        self._records = 0  # records with earlier keys

    def send_control(self, kind: int, message: bytes) -> None:
        send_control(self._sock, kind, message)
        self._controls += len(message)

    def renew(self) -> None:
        """Use the next key, after a KeyUpdate."""
        self._records += self._sequence()
        self._keys.renew()
        set_key(self._sock, TLS_TX, self._keys)

    def is_in_tcp(self, data: int) -> bool:
        """Return whether TCP has all records.

        Args:
            data: Number of bytes that the kernel has accepted, without control records.
        """
        records = self._records + self._sequence()
        return self._in_tcp() - self._base >= data + self._controls + RECORD_OVERHEAD * records

    def _sequence(self) -> int:
        """Return the number of records with the current key."""
        info = self._sock.getsockopt(SOL_TLS, TLS_TX, self._keys.suite.info_size())
        return int.from_bytes(info[-8:], "big")

    def _in_tcp(self) -> int:
        # In this order, an acknowledgement between the two calls makes the sum too small, never too large.
        info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, INFO_SIZE)
        queue = fcntl.ioctl(self._sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
        return int(struct.unpack_from("=Q", info, BYTES_ACKED)[0]) + int(struct.unpack("i", queue)[0])
