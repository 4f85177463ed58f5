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
from collections import Counter
from contextlib import suppress
from typing import Callable

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import sockets
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.account_cache import Accounts
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.budget import Budget
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.output import report
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.protocol import read_request, refusal
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.shapes import INFO
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
# Of these, the number that is reserved for users who have no other call, so that a few users cannot take all.
_FIRST_CALLS = 32
# Maximum sizes of all requests until they are forwarded, and of all answers of info until they are sent.
_MAX_BYTES, _MAX_USER_BYTES = 48 << 20, 2 * MAX_REQUEST
_MAX_ANSWER_BYTES, _MAX_USER_ANSWER_BYTES = 160 << 20, 32 << 20
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
        self._accounts = Accounts()
        self._calls: Counter[int] = Counter()
        self._requests = Budget(_MAX_BYTES, _MAX_USER_BYTES)
        self._answers = Budget(_MAX_ANSWER_BYTES, _MAX_USER_ANSWER_BYTES)
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Serve calls until this task is cancelled."""
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        while True:
            try:
                connection, _address = await loop.sock_accept(self._listener)
            except OSError as error:
                report(f"a connection could not be accepted: {error}")
                await asyncio.sleep(0.1)
                continue
            connection.setblocking(False)
            task = loop.create_task(self._handle(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _handle(self, connection: socket.socket) -> None:
        with connection:
            _pid, uid = sockets.peer(connection)
            uid = await self._accounts.find(uid) if uid else uid
            if uid and not self._has_place(uid):
                await self._answer(connection, refusal(ServiceError(BUSY, _busy("calls"))))
                return
            self._calls[uid] += uid != 0
            try:
                await self._call(connection, uid)
            except Exception as error:  # pylint: disable=broad-except
                # An error in one call must not affect others.
                report(f"a call of user {uid} failed: {type(error).__name__}: {error}")
                await self._answer(connection, refusal(ServiceError(INTERNAL, "the service failed; see its log")))
            finally:
                self._calls[uid] -= uid != 0
                if self._calls[uid] <= 0:
                    del self._calls[uid]

    def _has_place(self, uid: int) -> bool:
        """Tell whether a user may have another call."""
        total, own = sum(self._calls.values()), self._calls[uid]
        return own < MAX_USER_CALLS and total < (MAX_CALLS - _FIRST_CALLS if own else MAX_CALLS)

    async def _call(self, connection: socket.socket, uid: int) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as backend:
            backend.setblocking(False)
            with self._answers.account(uid) as reserve:
                try:
                    action = await self._forward(connection, backend, uid)
                    if not action:
                        return
                    # Answers of other actions are as large as their requests, and must not be lost.
                    receive = self._receive_answer(backend, reserve if action == INFO else _unlimited)
                    answer = await asyncio.wait_for(receive, _ACTION_SECONDS)
                except ServiceError as error:
                    answer = refusal(error)
                await self._answer(connection, answer)

    async def _forward(self, connection: socket.socket, backend: socket.socket, uid: int) -> str:
        """Receive and validate a request, and forward it to the backend.

        Returns:
            The action, or nothing if the caller has disconnected.
        """
        with self._requests.account(uid) as reserve:
            try:
                data = await asyncio.wait_for(_read(connection, MAX_REQUEST, reserve), RECEIVE_SECONDS)
            except asyncio.TimeoutError:
                raise ServiceError(
                    BAD_REQUEST,
                    f"the request was incomplete after {RECEIVE_SECONDS:.0f} s: shut down the sending side of the "
                    "connection after it",
                ) from None
            except ConnectionError:
                return ""
            if not data:
                return ""
            action = read_request(data).action
            try:
                await _connect(backend, self._backend)
                sockets.send_descriptor(backend, b"\n", connection.fileno())
                await asyncio.get_running_loop().sock_sendall(backend, data)
                backend.shutdown(socket.SHUT_WR)
            except OSError as error:
                raise _no_backend(error) from None
            return action

    async def _receive_answer(self, backend: socket.socket, reserve: Callable[[int], bool]) -> bytes:
        """Return the answer of the backend."""
        try:
            answer = await _read(backend, MAX_ANSWER, reserve)
        except OSError as error:
            raise _no_backend(error) from None
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
            raise ServiceError(BUSY, _busy("calls"))
        data += piece


async def _connect(connection: socket.socket, path: str) -> None:
    """Connect, and wait if the backlog of the socket is full."""
    while True:
        try:
            connection.connect(path)
            return
        except BlockingIOError:
            await asyncio.sleep(0.02)


def _unlimited(_count: int) -> bool:
    return True


def _no_backend(error: OSError) -> ServiceError:
    return ServiceError(
        INTERNAL,
        f"the backend of the service does not answer ({error.strerror}): check journalctl -u scistream-s2csd, and "
        "repeat the call",
    )


def _busy(what: str) -> str:
    return f"too many concurrent {what} on this gateway: wait until others have finished, and repeat the call"


def serve(path: str, backend: str) -> None:
    """Serve calls until the process ends."""
    os.umask(0o077)
    listener = sockets.listen(path, 0o660)
    asyncio.run(Frontend(listener, backend).serve())
