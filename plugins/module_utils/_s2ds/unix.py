# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unix sockets of a running proxy: one request, one answer."""

from __future__ import annotations

import os
import socket

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import S2DSException

_SECONDS = 5.0
_LARGEST = 1 << 24


def ask(directory: str, name: str, request: str) -> str:
    """Send a request to a socket in a directory and return all that it answers.

    Raises:
        S2DSException: Nobody answers.
    """
    try:
        held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise S2DSException(f"the directory {directory} cannot be opened: {error.strerror}") from None
    answer = bytearray()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_SECONDS)
            # A socket's path may have 107 bytes, a directory's many more.
            connection.connect(f"/proc/self/fd/{held}/{name}")
            connection.sendall(request.encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            while len(answer) < _LARGEST:
                part = connection.recv(1 << 16)
                if not part:
                    break
                answer += part
    except OSError as error:
        raise S2DSException(f"{name} in {directory} does not answer: {error}") from None
    finally:
        os.close(held)
    return answer.decode("utf-8", "replace")
