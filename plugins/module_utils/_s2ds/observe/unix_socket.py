# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""UNIX sockets of a running data server: one request, one reply, even if the data server is compromised.

A data server can replace its socket with anything, and reply anything at any speed. Therefore links are not followed,
the process that replies must have created the socket and work in the directory, and the size and the time of a reply
are limited.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import time
from contextlib import closing, contextmanager
from typing import Callable, Iterator

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.processes import (
    check_not_stopped,
    works_in,
)

SECONDS = 5.0
MAX_ANSWER_SIZE = 1 << 20
_PAUSE = 0.02
_CREDENTIALS = struct.Struct("3i")

# Returns whether a process and its user may reply.
Accept = Callable[[int, int], bool]


class NotListening(S2DSException):
    """There is no socket, or nothing listens on it: the program has ended, or is not ready yet."""


def ask(
    directory: str,
    name: str,
    request: str,
    deadline: float | None = None,
    one_line: bool = False,
    accept: Accept | None = None,
) -> str:
    """Send a request to a UNIX socket, and return the reply.

    Args:
        directory: The data server's directory.
        name: Path of the socket below it.
        request: The request, without the end of the line.
        deadline: When the reply must be complete, by the monotonic clock. If omitted, within 5 seconds.
        one_line: Whether the reply ends after one line.
        accept: Returns whether to accept replies of a process and a user. If omitted, the process must work in the
            directory.

    Raises:
        NotListening: There is no such socket, or nothing listens on it.
        S2DSException: The reply is not complete in time, or too long, or from another process.
    """
    deadline = time.monotonic() + SECONDS if deadline is None else deadline
    accept = accept or (lambda pid, _user: works_in(pid, directory) is not False)
    try:
        with _connected(os.path.join(directory, name), name, deadline, accept) as connection:
            connection.sendall(request.encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            answer = bytearray()
            while not (one_line and b"\n" in answer):
                connection.settimeout(_left(deadline))
                part = connection.recv(1 << 16)
                if not part:
                    break
                answer += part
                if len(answer) > MAX_ANSWER_SIZE:
                    raise S2DSException(
                        f"the answer at {name} of the data server is longer than {MAX_ANSWER_SIZE} bytes"
                    )
    except socket.timeout:
        raise S2DSException(f"the data server does not answer at {name} within {SECONDS:.0f} s") from None
    except OSError as error:
        raise S2DSException(f"the data server does not answer at {name}: {error.strerror or error}") from None
    text = answer.decode("utf-8", "replace")
    return text.partition("\n")[0] if one_line else text


@contextmanager
def _connected(path: str, name: str, deadline: float, accept: Accept) -> Iterator[socket.socket]:
    """Connect to the socket that was checked, even if it is replaced meanwhile."""
    try:
        held = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotListening(f"the data server has no {name}") from None
    try:
        info = os.fstat(held)
        if not stat.S_ISSOCK(info.st_mode) or info.st_nlink != 1:
            raise S2DSException(f"{name} is not owned by the data server and is not used")
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
            # Paths of sockets are limited to 107 bytes, paths of directories are not.
            _connect(connection, f"/proc/self/fd/{held}", name, deadline)
            pid, user, _group = _CREDENTIALS.unpack(
                connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            )
            if user != info.st_uid or not accept(pid, user):
                raise S2DSException(
                    f"process {pid} of the user {user} listens at {name}, which is not the data server: the "
                    "socket is not used"
                )
            check_not_stopped("the data server", [pid])
            yield connection
    finally:
        os.close(held)


def _connect(connection: socket.socket, path: str, name: str, deadline: float) -> None:
    while True:
        connection.settimeout(_left(deadline))
        try:
            connection.connect(path)
            return
        except BlockingIOError:
            # The backlog of the socket is full.
            time.sleep(min(_PAUSE, _left(deadline)))
        except (ConnectionRefusedError, FileNotFoundError):
            raise NotListening(f"nothing listens at {name} of the data server") from None


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise socket.timeout
    return left
