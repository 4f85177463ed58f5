# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unix sockets of a running data server: one request, one answer, even if the answering process is compromised.

A data server can put anything at the name of its socket, and answer anything at any pace. So no link is followed, the
one who answers has to be the one who made the socket and to work in the directory, and the whole answer has one
deadline and a largest size.
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
LARGEST = 1 << 20
_PAUSE = 0.02
_CREDENTIALS = struct.Struct("3i")

# Says of the process and the user that answer whether they may.
Accept = Callable[[int, int], bool]


class NotListening(S2DSException):
    """There is no socket, or nothing listens at it: what made it has ended, or is not there yet."""


def ask(
    directory: str,
    name: str,
    request: str,
    deadline: float | None = None,
    one_line: bool = False,
    accept: Accept | None = None,
) -> str:
    """Send a request to a socket below a directory and return all that it replies.

    Args:
        directory: The directory of an instance.
        name: The socket below it.
        request: What to send; the end of the line is added.
        deadline: Until when the answer has to be complete, by the monotonic clock. If omitted, within 5 s.
        one_line: Whether the answer is over at the end of its first line.
        accept: Whether to listen to this process and user. If omitted, to a process that works in the directory.

    Raises:
        NotListening: There is no such socket, or nobody listens.
        S2DSException: The answer is not complete in time, or too long, or somebody else would give it.
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
                if len(answer) > LARGEST:
                    raise S2DSException(f"the answer at {name} of the data server is longer than {LARGEST} bytes")
    except socket.timeout:
        raise S2DSException(f"the data server does not answer at {name} within {SECONDS:.0f} s") from None
    except OSError as error:
        raise S2DSException(f"the data server does not answer at {name}: {error.strerror or error}") from None
    text = answer.decode("utf-8", "replace")
    return text.partition("\n")[0] if one_line else text


@contextmanager
def _connected(path: str, name: str, deadline: float, accept: Accept) -> Iterator[socket.socket]:
    """Connect to the very socket that was looked at, whatever is at its name by then."""
    try:
        held = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotListening(f"the data server has no {name}") from None
    try:
        about = os.fstat(held)
        if not stat.S_ISSOCK(about.st_mode) or about.st_nlink != 1:
            raise S2DSException(f"{name} is not owned by the data server and is not used")
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
            # A socket's path may have 107 bytes, a directory's many more.
            _connect(connection, f"/proc/self/fd/{held}", name, deadline)
            pid, user, _group = _CREDENTIALS.unpack(
                connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            )
            if user != about.st_uid or not accept(pid, user):
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
            # As many wait to be let in as may.
            time.sleep(min(_PAUSE, _left(deadline)))
        except (ConnectionRefusedError, FileNotFoundError):
            raise NotListening(f"nothing listens at {name} of the data server") from None


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise socket.timeout
    return left
