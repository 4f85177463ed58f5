# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client of the S2CS service, which only imports the standard library.

The role s2cs also installs this file as the program ``s2cs``. The command ``call`` starts quickly, because it needs
nothing else. All other commands are in the library that is installed with the program.
"""

from __future__ import annotations

import importlib
import os
import socket
import struct
import sys
from typing import Sequence

SOCKET = "/run/scistream/s2cs.sock"
_COMMANDS = "ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.commands"
# Maximum sizes of a request and an answer in bytes.
MAX_REQUEST = 4 << 20
MAX_ANSWER = 256 << 20
# Time limits in seconds of the service for an action, and for waiting until it begins. What waits for something else
# waits a little longer, so that the reason for a failure arrives at the caller.
ACTION_SECONDS, QUEUE_SECONDS = 900.0, 60.0
_SECONDS = ACTION_SECONDS + QUEUE_SECONDS + 60
# Time limit in seconds for a place in the backlog of the socket.
_CONNECT_SECONDS = 60

#: Exit codes if there is no service, and if it exited before it answered.
NO_SERVICE, NO_ANSWER = 3, 4


class NoServiceError(Exception):
    """There is no service on this host. Nothing was done."""


class NoAccessError(NoServiceError):
    """This user may not use the service. Nothing was done."""


class NoAnswerError(Exception):
    """The service exited before it answered. The action may have been carried out or not."""


def ask(request: bytes, path: str | None = None) -> bytes:
    """Send a request to the service, and return the answer.

    Args:
        request: The request.
        path: Path of the socket. By default, that of the service of this host.

    Raises:
        NoServiceError: There is no service, or this user may not use it.
        NoAnswerError: The service exited before it answered.
    """
    path = path or SOCKET
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        # A connect() with a timeout of Python's would fail at once while the backlog is full.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _CONNECT_SECONDS, 0))
        try:
            connection.connect(path)
        except PermissionError:
            remedy = f": have an administrator add it to the group {_group(path)}, and log in again"
            raise NoAccessError(
                f"this user may not use the S2CS service of this gateway ({path}){remedy if path == SOCKET else ''}"
            ) from None
        except BlockingIOError:
            raise NoAnswerError(f"the service at {path} has too many calls at the moment; repeat the call") from None
        except (OSError, ValueError) as error:
            raise NoServiceError(f"no service answers at {path}: {error}") from None
        connection.settimeout(_SECONDS)
        try:
            # A service that refuses an incomplete request has sent an answer.
            try:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass
            return _read(connection, path)
        except OSError as error:
            raise NoAnswerError(f"the service at {path} did not answer: {error}; repeat the call") from None


def _group(path: str) -> str:
    """Return the name of the group that may use a socket."""
    import grp

    try:
        return grp.getgrgid(os.stat(path).st_gid).gr_name
    except (OSError, KeyError):
        return "of its users"


def _read(connection: socket.socket, path: str) -> bytes:
    parts = []
    size = 0
    while True:
        try:
            part = connection.recv(1 << 18)
        except ConnectionResetError:
            # After the answer, if the service has not read the whole request.
            part = b""
        if not part:
            break
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER:
            raise NoAnswerError(f"the service at {path} answered with more than {MAX_ANSWER} bytes")
    answer = b"".join(parts)
    if not answer.endswith(b"\n"):
        raise NoAnswerError(f"the service at {path} exited before it answered; repeat the call")
    return answer


def call(arguments: Sequence[str]) -> int:
    """Run the command ``call``, and return the exit code."""
    path = SOCKET
    if len(arguments) == 2 and arguments[0] == "--socket":
        path = arguments[1]
    elif arguments:
        sys.stderr.write(
            "usage: s2cs call [--socket PATH]\n\nSends a JSON request from standard input to the service of this "
            "gateway, and prints the answer.\n\nexit codes: 0 with any answer; 2 invalid arguments; 3 no service on "
            "this host; 4 the service exited before it\nanswered\n"
        )
        return 0 if arguments[0] in ("-h", "--help") else 2
    request = sys.stdin.buffer.read(MAX_REQUEST + 1)
    try:
        answer = ask(request, path)
    except NoServiceError as error:
        sys.stderr.write(f"s2cs: {error}\n")
        return NO_SERVICE
    except NoAnswerError as error:
        sys.stderr.write(f"s2cs: {error}\n")
        return NO_ANSWER
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
    return 0


def main() -> int:
    """Run the program ``s2cs``."""
    if sys.argv[1:2] == ["call"]:
        return call(sys.argv[2:])
    # The link is resolved, so that an upgrade does not affect running processes.
    sys.path.insert(0, os.path.realpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib")))
    # These commands need packages of the distribution.
    if sys.flags.no_site:
        importlib.import_module("site").main()
    # By name, so that modules are sent without the library of the service.
    commands = importlib.import_module(_COMMANDS)
    code: int = commands.run(sys.argv[1:])
    return code


if __name__ == "__main__":
    raise SystemExit(main())
