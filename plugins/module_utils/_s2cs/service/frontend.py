# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The unprivileged part of the service: reads the requests of users, validates them and forwards them to the backend.

The backend does not trust this part to identify the caller. Each request is forwarded together with the connection of
its caller, and the backend asks the kernel for the user at the other end.

Slow or excessive callers only delay themselves: requests must arrive within a time limit, and the number of concurrent
calls and the size of requests that have not been forwarded are limited for each user. Answers are not kept at all.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import Any, Callable

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import sockets
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.account_cache import Accounts
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.budget import Budget
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.disposal import Disposal
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.hangups import Hangups
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.output import report
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.slots import Slots
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.wire_format import (
    read_request,
    refusal,
    to_request,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_client import (
    ACTION_SECONDS,
    MAX_ANSWER,
    MAX_REQUEST,
    QUEUE_SECONDS,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_protocol import (
    BAD_REQUEST,
    BUSY,
    INTERNAL,
    TOO_LARGE,
    ServiceError,
)

# Time limits in seconds for receiving a request and sending the answer.
RECEIVE_SECONDS = 10.0
_SEND_SECONDS = 30.0
# Time limits in seconds for connecting to the backend, and for its answer to begin. The backend ends an action itself.
_CONNECT_SECONDS = 30.0
_ANSWER_SECONDS = ACTION_SECONDS + QUEUE_SECONDS + 30
# Maximum number of concurrent calls, and the part that is reserved for users who have no other call. Calls of root are
# not limited, so that it can always act.
MAX_CALLS, MAX_USER_CALLS, _FIRST_CALLS = 128, 8, 32
# Maximum size of all requests until they are forwarded, and what each user can have in any case.
_MAX_BYTES, _MAX_USER_BYTES, _LEAST_USER_BYTES = 48 << 20, 2 * MAX_REQUEST, 128 << 10
_PIECE = 1 << 16
# Maximum number of connections, most of which are those of callers who are told that there are too many.
_MAX_CONNECTIONS = 512


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
        self._calls = Slots(MAX_CALLS, MAX_USER_CALLS, _FIRST_CALLS)
        self._requests = Budget(_MAX_BYTES, _MAX_USER_BYTES, _LEAST_USER_BYTES)
        self._tasks: set[asyncio.Task[None]] = set()
        # Connections from which everything has been received.
        self._drained: set[socket.socket] = set()

    async def serve(self) -> None:
        """Serve calls until this task is cancelled."""
        loop = asyncio.get_running_loop()
        hangups, disposal = Hangups(), Disposal()
        self._listener.setblocking(False)
        while True:
            while len(self._tasks) >= _MAX_CONNECTIONS:
                await asyncio.sleep(0.01)
            try:
                connection, _address = await loop.sock_accept(self._listener)
            except OSError as error:
                report(f"a connection could not be accepted: {error}")
                await asyncio.sleep(0.1)
                continue
            connection.setblocking(False)
            task = loop.create_task(self._handle(connection, hangups, disposal))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _handle(self, connection: socket.socket, hangups: Hangups, disposal: Disposal) -> None:
        try:
            await self._serve_one(connection, hangups, disposal)
        finally:
            if connection in self._drained:
                self._drained.remove(connection)
                connection.close()
            else:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                disposal.close([connection.detach()])

    async def _serve_one(self, connection: socket.socket, hangups: Hangups, disposal: Disposal) -> None:
        _pid, uid = sockets.peer(connection)
        uid = await self._accounts.find(uid) if uid else uid
        if not self._calls.take(uid):
            await _answer(connection, refusal(ServiceError(BUSY, _busy("calls"))))
            return
        try:
            await self._call(connection, uid, hangups, disposal)
        except ServiceError as error:
            await _answer(connection, refusal(error))
        except Exception as error:  # pylint: disable=broad-except
            # An error in one call must not affect others.
            report(f"a call of user {uid} failed: {type(error).__name__}: {error}")
            await _answer(connection, refusal(ServiceError(INTERNAL, "the service failed; see its log")))
        finally:
            self._calls.free(uid)

    async def _call(self, connection: socket.socket, uid: int, hangups: Hangups, disposal: Disposal) -> None:
        """Forward a request and its answer.

        Until the request has been forwarded, a caller that disconnects ends its call, and nothing is done. From then on
        the action is completed in any case, because a part of it would be worse, and the caller learns the outcome by
        repeating the call. It also counts for its user until then, but only takes the memory of a connection.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as backend:
            backend.setblocking(False)
            forwarding = asyncio.ensure_future(self._forward(connection, backend, uid, disposal))
            with hangups.watch(connection) as gone:
                waiting: list[asyncio.Future[Any]] = [forwarding, gone]
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            while not forwarding.done():
                # Repeated, because wait_for ignores it if what it waits for has just happened.
                forwarding.cancel()
                await asyncio.wait([forwarding], timeout=0.1)
            if not forwarding.cancelled() and forwarding.result():
                await _relay(backend, connection)

    async def _forward(self, connection: socket.socket, backend: socket.socket, uid: int, disposal: Disposal) -> bool:
        """Receive and validate a request, and forward it to the backend.

        Returns:
            Whether it was forwarded. Otherwise, the caller has disconnected.
        """
        with self._requests.account(uid) as reserve:
            try:
                data = await asyncio.wait_for(_read(connection, MAX_REQUEST, reserve, disposal), RECEIVE_SECONDS)
            except asyncio.TimeoutError:
                raise ServiceError(
                    BAD_REQUEST,
                    f"the request was incomplete after {RECEIVE_SECONDS:.0f} s: shut down the sending side of the "
                    "connection after it",
                ) from None
            except ConnectionError:
                return False
            self._drained.add(connection)
            if not data:
                return False
            short = _shorten(data)
            del data
            if isinstance(short, ServiceError):
                raise short
            try:
                await asyncio.wait_for(_connect(backend, self._backend), _CONNECT_SECONDS)
                sockets.send_descriptor(backend, b"\n", connection.fileno())
                await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(backend, short), _ANSWER_SECONDS)
                backend.shutdown(socket.SHUT_WR)
            except asyncio.TimeoutError:
                raise ServiceError(BUSY, _busy("calls")) from None
            except OSError as error:
                raise _no_backend(error) from None
            return True


async def _relay(backend: socket.socket, connection: socket.socket) -> None:
    """Forward the answer of the backend in pieces, as fast as the caller reads them.

    Raises:
        ServiceError: There is no answer.
    """
    loop = asyncio.get_running_loop()
    try:
        piece = await asyncio.wait_for(loop.sock_recv(backend, _PIECE), _ANSWER_SECONDS)
    except asyncio.TimeoutError:
        piece = b""
    except OSError as error:
        raise _no_backend(error) from None
    if not piece:
        raise ServiceError(
            INTERNAL,
            "the backend of the service exited during the call, or the action took longer than "
            f"{ACTION_SECONDS:.0f} s: repeat the call, which completes or repairs the interrupted action",
        )

    async def send() -> None:
        nonlocal piece
        size = 0
        while piece and size <= MAX_ANSWER:
            size += len(piece)
            await loop.sock_sendall(connection, piece)
            piece = await loop.sock_recv(backend, _PIECE)

    # If this fails, either side has disconnected or the caller does not read. An incomplete answer does not end with a
    # line break, by which the caller notices.
    with suppress(OSError, asyncio.TimeoutError):
        await asyncio.wait_for(send(), _SEND_SECONDS)


async def _answer(connection: socket.socket, data: bytes) -> None:
    # If this fails, the caller has disconnected.
    with suppress(OSError, asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(connection, data), _SEND_SECONDS)


async def _read(connection: socket.socket, most: int, reserve: Callable[[int], bool], disposal: Disposal) -> bytes:
    data = bytearray()
    try:
        while True:
            piece, descriptors = await disposal.receive(connection, _PIECE)
            if descriptors:
                raise ServiceError(BAD_REQUEST, "the request contains descriptors: send data only")
            if not piece:
                return bytes(data)
            if len(data) + len(piece) > most:
                raise ServiceError(TOO_LARGE, f"the request is larger than {most} bytes: specify fewer sessions")
            if not reserve(len(piece)):
                raise ServiceError(BUSY, _busy("calls"))
            data += piece
    finally:
        # The traceback of an error would otherwise keep the data.
        data.clear()


def _shorten(data: bytes) -> bytes | ServiceError:
    """Return a request in its shortest form, or why it is refused, without a traceback that would keep the request."""
    try:
        return to_request(read_request(data))
    except ServiceError as error:
        return ServiceError(error.code, str(error))


async def _connect(connection: socket.socket, path: str) -> None:
    """Connect, and wait if the backlog of the socket is full."""
    while True:
        try:
            connection.connect(path)
            return
        except BlockingIOError:
            await asyncio.sleep(0.02)


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
