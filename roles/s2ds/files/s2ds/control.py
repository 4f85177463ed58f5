# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control socket: each request and each reply is one line of JSON."""

from __future__ import annotations

import contextlib
import json
import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from event_loop import EventLoop

    Answer = Callable[[str], "dict[str, Any]"]

# Relative to the session's directory, because paths of sockets are limited to 107 bytes. S2CS creates the directory
# `run`, the only one that the forwarder's user can write to.
DIRECTORY = "run"
NAME = f"{DIRECTORY}/control.sock"
MAX_MESSAGE_SIZE = 65536
# Requests are short, and a larger buffer would be allocated and freed for each of them.
PIECE_SIZE = 4096
CLIENTS = 64


class ControlError(Exception):
    pass


def listen() -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.makedirs(DIRECTORY, mode=0o700, exist_ok=True)
        _remove_stale()
        before = os.umask(0o177)
        try:
            sock.bind(NAME)
        finally:
            os.umask(before)
        sock.listen(16)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ControlError(f"{NAME}: {error.strerror or error}") from None
    return sock


def _remove_stale() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(NAME)
        except FileNotFoundError:
            return
        except OSError:
            os.unlink(NAME)
            return
    raise ControlError(f"{NAME}: another forwarder serves this directory")


class Controller:
    def __init__(self, sock: socket.socket, loop: EventLoop, answer: Answer) -> None:
        self._sock = sock
        self._loop = loop
        self._answer = answer
        self._clients: dict[int, Client] = {}
        loop.watch(sock.fileno(), self._accept)

    def close(self) -> None:
        self._sock.close()
        for client in self._clients.values():
            client.sock.close()

    def end(self) -> None:
        """Close and remove the socket at the end of the session."""
        # The directory may have been removed already.
        with contextlib.suppress(OSError):
            os.unlink(NAME)
        self.close()

    def _accept(self) -> None:
        try:
            sock, _address = self._sock.accept()
        except OSError:
            return
        if len(self._clients) >= CLIENTS:
            sock.close()
            return
        self._clients[sock.fileno()] = Client(sock, self._answer)
        self._loop.watch(sock.fileno(), lambda: self._serve(sock.fileno()))

    def _serve(self, fd: int) -> None:
        client = self._clients[fd]
        if not client.serve():
            self._loop.forget(fd)
            del self._clients[fd]
            client.sock.close()


class Client:
    """A client of the control socket, which may send several requests."""

    def __init__(self, sock: socket.socket, answer: Answer) -> None:
        self.sock = sock
        self._answer = answer
        self._input = b""
        sock.setblocking(False)

    def serve(self) -> bool:
        """Serve a client. Returns False when it is to be closed."""
        try:
            data = self.sock.recv(PIECE_SIZE)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._input += data
        while b"\n" in self._input:
            line, _newline, self._input = self._input.partition(b"\n")
            reply = json.dumps(self._reply(line)).encode() + b"\n"
            try:
                # The buffer of the socket holds any reply. Clients that do not read are disconnected.
                if self.sock.send(reply) != len(reply):
                    return False
            except OSError:
                return False
        return bool(data) and len(self._input) < MAX_MESSAGE_SIZE

    def _reply(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except ValueError:
            return {"ok": False, "error": "not JSON"}
        if not isinstance(request, dict) or set(request) != {"op"} or not isinstance(request["op"], str):
            return {"ok": False, "error": 'a request is {"op": "status"} or {"op": "reload"}'}
        return self._answer(request["op"])
