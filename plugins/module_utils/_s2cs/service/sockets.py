# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sockets of the service, the users at the other end of connections, and passing of descriptors."""

from __future__ import annotations

import array
import errno
import os
import select
import socket
import struct
from contextlib import suppress

_FIRST = 3
_CREDENTIALS, _NUMBER = struct.Struct("3i"), struct.Struct("i")
# Not in the module socket.
_SO_PEERPIDFD = 77
_BACKLOG = 128


def listen(path: str, mode: int = 0o600) -> socket.socket:
    """Return the listening socket passed by systemd, or else create one."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        os.set_inheritable(_FIRST, False)
        return socket.socket(fileno=_FIRST)
    with suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    os.chmod(path, mode)
    listener.listen(_BACKLOG)
    return listener


def peer(connection: socket.socket) -> tuple[int, int]:
    """Return the PID and the user at the other end of a connection, according to the kernel."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _gid = _CREDENTIALS.unpack(data)
    return pid, uid


class PeerProcess:
    """The process at the other end of a connection.

    Linux 6.5 and newer have a reference to the process itself. With others, a process that has exited after its call
    could be mistaken for another one that was given the same PID in the meantime.

    Attributes:
        pid: Its PID.

    Args:
        connection: The connection.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.pid, _uid = peer(connection)
        self._reference = -1
        try:
            data = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, _NUMBER.size)
        except OSError as error:
            # ESRCH: the process has exited. Otherwise, the kernel does not have the option.
            self._exited = error.errno == errno.ESRCH
            return
        self._exited = False
        self._reference = _NUMBER.unpack(data)[0]

    def has_exited(self) -> bool:
        """Tell whether the process has exited. Without a reference, this is not known, and False."""
        if self._reference < 0:
            return self._exited
        poll = select.poll()
        poll.register(self._reference, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close the reference."""
        if self._reference >= 0:
            os.close(self._reference)
            self._reference = -1


def is_accepted(item: socket.socket, path: str) -> bool:
    """Tell whether a socket is a connection that was accepted on a listening socket, so that its peer is the caller.

    The credentials of the peer of any other socket say nothing about a caller. Those of a listening socket, and of the
    connecting end of a connection, are of the process that listens, which is often root. A listening
    process has a name, in contrast to a caller.

    Args:
        item: Any socket.
        path: Path of the listening socket.
    """
    try:
        return (
            item.family == socket.AF_UNIX
            and item.type == socket.SOCK_STREAM
            and not item.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            and item.getsockname() == path
            and item.getpeername() in ("", b"")
        )
    except OSError:
        return False


def send_descriptor(connection: socket.socket, data: bytes, descriptor: int) -> None:
    """Send data together with a descriptor."""
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))
    sent = connection.sendmsg([data], [rights])
    connection.sendall(data[sent:])


def receive_descriptors(connection: socket.socket, most: int) -> tuple[bytes, list[socket.socket]]:
    """Return received data and the sockets passed with it. Other descriptors are closed."""
    space = socket.CMSG_SPACE(4 * array.array("i").itemsize)
    data, ancillary, _flags, _address = connection.recvmsg(most, space, socket.MSG_CMSG_CLOEXEC)
    found = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(content[: len(content) - len(content) % found.itemsize])
    passed = []
    for number in found:
        try:
            passed.append(socket.socket(fileno=number))
        except OSError:
            os.close(number)
    return data, passed
