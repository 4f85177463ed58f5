# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Closes descriptors that came from callers, without waiting.

A caller can send descriptors with its request, for example of a TCP connection that lingers. The process that closes
the last reference to such a connection waits for as long as the caller has chosen, also if it closes a connection
from which the descriptor has not been received yet. Only an exiting process does not wait. A forked process therefore
holds these descriptors while they are closed here, and then exits.
"""

from __future__ import annotations

import array
import asyncio
import os
import signal
import socket

# All descriptors that can be sent at once, so that none is dropped while receiving.
_MAX_DESCRIPTORS = 253
_SPACE = socket.CMSG_SPACE(_MAX_DESCRIPTORS * array.array("i").itemsize)
# Time in seconds in which descriptors are collected, and after which a failed fork is repeated.
_PAUSE, _RETRY = 0.02, 0.5


class Disposal:
    """Closes descriptors. Needs a running event loop, and a process that starts no others."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pending: list[int] = []
        # Forked processes are not waited for.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    def close(self, descriptors: list[int]) -> None:
        """Close descriptors soon."""
        if descriptors and not self._pending:
            self._loop.call_later(_PAUSE, self._close_pending)
        self._pending += descriptors

    async def receive(self, connection: socket.socket, most: int) -> tuple[bytes, bool]:
        """Receive data from a caller. Descriptors that it sent are closed.

        Returns:
            The data, and whether there were descriptors.
        """
        while True:
            try:
                data, ancillary, _flags, _address = connection.recvmsg(most, _SPACE, socket.MSG_CMSG_CLOEXEC)
                break
            except BlockingIOError:
                await self._readable(connection)
        received = array.array("i")
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received.frombytes(content[: len(content) - len(content) % received.itemsize])
        self.close(list(received))
        return data, bool(received)

    async def _readable(self, connection: socket.socket) -> None:
        number = connection.fileno()
        ready = asyncio.Event()
        self._loop.add_reader(number, ready.set)
        try:
            await ready.wait()
        finally:
            self._loop.remove_reader(number)

    def _close_pending(self) -> None:
        wait, wake = os.pipe()
        try:
            forked = os.fork()
        except OSError:
            os.close(wait)
            os.close(wake)
            self._loop.call_later(_RETRY, self._close_pending)
            return
        if not forked:
            # Nothing else: other threads of this process may have held locks.
            os.close(wake)
            os.read(wait, 1)
            os._exit(0)
        os.close(wait)
        pending, self._pending = self._pending, []
        # The forked process has these as well, so that this does not close them for good.
        for descriptor in pending:
            os.close(descriptor)
        os.close(wake)
