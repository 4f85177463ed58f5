# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The temporary endpoint of a probe: a separate program, which only imports the standard library.

It answers instead of an application: it returns what it receives, counts it, or sends. It ends when the session of the
probe is released, which removes the directory, and at the latest when its time is over.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import threading
import time

#: What a client sends first: this, what it wants, and for how many seconds. The endpoint answers with the same word.
WORD = b"SCIPROBE"
REQUEST = struct.Struct("!8scxxxI")
ECHO, RECEIVE, SEND = b"e", b"r", b"s"
COUNT = struct.Struct("!Q")
CHUNK = 1 << 18
#: Maximum number of bytes that are returned on one connection.
MAX_ECHO = 64 << 20
MAX_SECONDS = 60
# Maximum number of concurrent connections.
_CONNECTIONS = 8
# User and group without any rights.
_NOBODY = 65534
_SILENCE_SECONDS = 10.0


def main() -> None:
    """Serve connections of the listener and watch the directory, both of which are inherited descriptors."""
    listener, directory, seconds = (int(text) for text in sys.argv[1:4])
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    serve(socket.socket(fileno=listener), directory)


def serve(listener: socket.socket, directory: int) -> None:
    """Serve connections until the directory is removed."""
    listener.settimeout(0.5)
    slots = threading.BoundedSemaphore(_CONNECTIONS)
    while os.fstat(directory).st_nlink:
        try:
            connection = listener.accept()[0]
        except socket.timeout:
            continue
        except OSError:
            time.sleep(0.1)
            continue
        if slots.acquire(blocking=False):
            threading.Thread(target=_handle, args=(connection, slots), daemon=True).start()
        else:
            connection.close()


def _handle(connection: socket.socket, slots: threading.BoundedSemaphore) -> None:
    try:
        with connection:
            connection.settimeout(_SILENCE_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _answer(connection)
    except OSError:
        # The client has disconnected.
        pass
    finally:
        slots.release()


def _answer(connection: socket.socket) -> None:
    request = b""
    while len(request) < REQUEST.size:
        part = connection.recv(REQUEST.size - len(request))
        if not part:
            return
        request += part
    word, what, seconds = REQUEST.unpack(request)
    if word != WORD or seconds > MAX_SECONDS:
        return
    connection.sendall(WORD)
    if what == ECHO:
        _echo(connection)
    elif what == RECEIVE:
        _receive(connection)
    elif what == SEND:
        _send(connection, seconds)


def _echo(connection: socket.socket) -> None:
    left = MAX_ECHO
    while left > 0:
        part = connection.recv(min(left, CHUNK))
        if not part:
            return
        connection.sendall(part)
        left -= len(part)


def _receive(connection: socket.socket) -> None:
    """Count what arrives, and report it about every 50 ms."""
    buffer = bytearray(CHUNK)
    total, reported = 0, time.monotonic()
    deadline = reported + MAX_SECONDS + _SILENCE_SECONDS
    while time.monotonic() < deadline:
        number = connection.recv_into(buffer)
        if not number:
            return
        total += number
        if time.monotonic() - reported > 0.05:
            reported = time.monotonic()
            connection.sendall(COUNT.pack(total))


def _send(connection: socket.socket, seconds: int) -> None:
    data = os.urandom(CHUNK)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        connection.sendall(data)


if __name__ == "__main__":
    main()
