# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The unprivileged part of the service: reads the requests of users, validates them and forwards them to the backend.

The backend does not trust this part to identify the caller. Each request is forwarded together with the connection of
its caller, and the backend asks the kernel for the user at the other end.

Slow or excessive callers only delay themselves: requests must arrive within a time limit, and the number of concurrent
calls and the size of incomplete requests are limited for each user.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections import Counter
from contextlib import suppress
from typing import Callable

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import sockets
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.protocol import read_request, refusal
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_client import MAX_ANSWER, MAX_REQUEST
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_protocol import (
    BAD_REQUEST,
    BUSY,
    INTERNAL,
    TOO_LARGE,
    ServiceError,
)

# Time limits in seconds for receiving a request, sending the answer, and the action.
RECEIVE_SECONDS = 10.0
_SEND_SECONDS = 30.0
_ACTION_SECONDS = 900.0
# Maximum number of concurrent calls. Calls of root are not limited, so that it can always act.
MAX_CALLS, MAX_USER_CALLS = 128, 8
# Maximum size of all incomplete requests.
_MAX_BYTES, _MAX_USER_BYTES = 48 << 20, 2 * MAX_REQUEST
_PIECE = 1 << 16


class Frontend:
    """Serves the calls of users.

    Args:
        listener: Listening socket for users.
        backend: Path of the backend's socket.
    """

    def __init__(self, listener: socket.socket, backend: str) -> None:
        self._listener = listener
        self._backend = backend
        self._calls: Counter[int] = Counter()
        self._bytes: Counter[int] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Serve calls until this task is cancelled."""
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        while True:
            try:
                connection, _address = await loop.sock_accept(self._listener)
            except OSError as error:
                print(f"a connection could not be accepted: {error}", file=sys.stderr)
                await asyncio.sleep(0.1)
                continue
            connection.setblocking(False)
            task = loop.create_task(self._handle(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _handle(self, connection: socket.socket) -> None:
        with connection:
            _pid, uid = sockets.peer(connection)
            if uid and (sum(self._calls.values()) >= MAX_CALLS or self._calls[uid] >= MAX_USER_CALLS):
                await self._answer(connection, refusal(ServiceError(BUSY, _busy("calls"))))
                return
            self._calls[uid] += uid > 0
            try:
                await self._call(connection, uid)
            except Exception as error:  # pylint: disable=broad-except
                # An error in one call must not affect others.
                print(f"a call of user {uid} failed: {type(error).__name__}: {error}", file=sys.stderr)
                await self._answer(connection, refusal(ServiceError(INTERNAL, "the service failed; see its log")))
            finally:
                self._calls[uid] -= uid > 0
                if self._calls[uid] <= 0:
                    del self._calls[uid]

    async def _call(self, connection: socket.socket, uid: int) -> None:
        try:
            data = await self._receive(connection, uid)
            if not data:
                return
            read_request(data)
            answer = await asyncio.wait_for(self._forward(connection, data), _ACTION_SECONDS)
        except ServiceError as error:
            answer = refusal(error)
        await self._answer(connection, answer)

    async def _receive(self, connection: socket.socket, uid: int) -> bytes:
        """Return a request, or nothing if the caller has disconnected."""
        received = [0]

        def reserve(count: int) -> bool:
            if uid and (self._bytes[uid] + count > _MAX_USER_BYTES or sum(self._bytes.values()) + count > _MAX_BYTES):
                return False
            received[0] += count
            self._bytes[uid] += count
            return True

        try:
            return await asyncio.wait_for(_read(connection, MAX_REQUEST, reserve), RECEIVE_SECONDS)
        except asyncio.TimeoutError:
            seconds = f"{RECEIVE_SECONDS:.0f} s"
            message = (
                f"the request was incomplete after {seconds}: shut down the sending side of the connection after it"
            )
            raise ServiceError(BAD_REQUEST, message) from None
        except (ConnectionError, BrokenPipeError):
            return b""
        finally:
            self._bytes[uid] -= received[0]
            if self._bytes[uid] <= 0:
                del self._bytes[uid]

    async def _forward(self, connection: socket.socket, data: bytes) -> bytes:
        """Forward a request to the backend, and return the answer."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as backend:
            backend.setblocking(False)
            try:
                await _connect(backend, self._backend)
                sockets.send_descriptor(backend, b"\n", connection.fileno())
                await loop.sock_sendall(backend, data)
                backend.shutdown(socket.SHUT_WR)
                answer = await _read(backend, MAX_ANSWER, lambda _count: True)
            except OSError as error:
                raise ServiceError(
                    INTERNAL,
                    f"the backend of the service does not answer ({error.strerror}): check journalctl -u "
                    "scistream-s2csd, and repeat the call",
                ) from None
        if not answer.endswith(b"\n"):
            raise ServiceError(
                INTERNAL,
                "the backend of the service exited during the call: repeat the call, which completes or repairs the "
                "interrupted action",
            )
        return answer

    @staticmethod
    async def _answer(connection: socket.socket, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        # If this fails, the caller has disconnected.
        with suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(loop.sock_sendall(connection, data), _SEND_SECONDS)


async def _read(connection: socket.socket, most: int, reserve: Callable[[int], bool]) -> bytes:
    loop = asyncio.get_running_loop()
    data = bytearray()
    while True:
        piece = await loop.sock_recv(connection, _PIECE)
        if not piece:
            return bytes(data)
        if len(data) + len(piece) > most:
            raise ServiceError(TOO_LARGE, f"the request is larger than {most} bytes: specify fewer sessions")
        if not reserve(len(piece)):
            raise ServiceError(BUSY, _busy("requests"))
        data += piece


async def _connect(connection: socket.socket, path: str) -> None:
    """Connect, and wait if the backlog of the socket is full."""
    while True:
        try:
            connection.connect(path)
            return
        except BlockingIOError:
            await asyncio.sleep(0.02)


def _busy(what: str) -> str:
    return f"too many concurrent {what} on this gateway: wait until others have finished, and repeat the call"


def serve(path: str, backend: str) -> None:
    """Serve calls until the process ends."""
    os.umask(0o077)
    listener = sockets.listen(path, 0o660)
    asyncio.run(Frontend(listener, backend).serve())
