# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The workers of a session: started on demand, replaced when they die, ended when idle."""

from __future__ import annotations

import array
import contextlib
import gc
import json
import os
import signal
import socket
import time

from counters import ADMITTED, CLOSED, TAKEN, WAITING, Counters
from worker import Worker
from worker_choice import automatic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from event_loop import EventLoop
    from log import Log
    from splice import Splice

MAX_WORKERS = 64
# Long enough for the longest report of a worker.
REPORT = 65536
TICK_SECONDS = 5.0
IDLE_TICKS = 6
END_SECONDS = 2.0


class Slot:
    """The place of a worker. Its counters remain when the worker ends and another one takes its place."""

    def __init__(self, block: memoryview) -> None:
        self.block = block
        self.pid = 0
        self.channel: socket.socket | None = None
        self.credentials = b""  # the ones that were sent last
        self.handed = 0
        self._lost = 0
        self.idle_ticks = 0

    def open(self) -> int:
        return int(self.handed + self.block[TAKEN] - self._lost - self.block[CLOSED])

    def handshakes(self) -> int:
        return max(0, self.open() - self.block[ADMITTED] - self.block[WAITING])

    def running_channel(self) -> socket.socket:
        if self.channel is None:
            raise RuntimeError(f"the worker {self.pid} is not running")
        return self.channel

    def lose(self) -> int:
        lost = self.open()
        self._lost += lost
        self.block[ADMITTED] = self.block[WAITING] = 0
        return lost


class WorkerPool:
    def __init__(
        self,
        loop: EventLoop,
        splice: Splice | None,
        log: Log,
        close_in_child: Callable[[], None],
        lost_connections: Callable[[], None],
        reported: Callable[[dict[str, Any]], None],
        died: Callable[[], None],
    ) -> None:
        """Create a pool without workers.

        `close_in_child` closes, in a new worker, everything that belongs to the dispatcher alone. `lost_connections` is
        called after a worker died with open connections: a worker counts bytes after it has passed them on, so its last
        ones may not have been counted. `reported` is called with what a worker says, and `died` after any worker died.
        """
        self.counters = Counters(MAX_WORKERS)
        self._slots = [Slot(self.counters.block(number)) for number in range(MAX_WORKERS)]
        self._loop = loop
        self._splice = splice
        self._log = log
        self._close_in_child = close_in_child
        self._lost_connections = lost_connections
        self._reported = reported
        self._died = died
        self._ticking = False
        self._credentials = b""
        self.keeps = False  # workers do not end when they are idle

    def handed(self) -> int:
        return sum(slot.handed for slot in self._slots)

    def open(self) -> int:
        return sum(slot.open() for slot in self._slots)

    def admitted(self) -> int:
        return self.counters.total(ADMITTED)

    def handshakes(self) -> int:
        """Return the number of connections whose clients have not yet shown who they are."""
        return sum(slot.handshakes() for slot in self._slots)

    def running(self) -> list[Slot]:
        return [slot for slot in self._slots if slot.channel is not None]

    def send_credentials(self, credentials: dict[str, str] | None) -> bool:
        """Send these credentials to a worker before its next connection. Returns whether they are different ones."""
        message = json.dumps({"tls": credentials}).encode()
        if message == self._credentials:
            return False
        self._credentials = message
        return True

    def dispatch(self, message: bytes, descriptor: int, workers: int, spliced: bool) -> None:
        """Pass a connection to the worker with the fewest connections.

        Args:
            message: What applies to the connection.
            descriptor: Its socket.
            workers: Maximum number of workers; 0: automatic.
            spliced: Whether its bytes do not enter user space if they can be spliced.
        """
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))
        running = len(self.running())
        slot = self._send(workers or automatic(spliced and self._splice is not None, running), message, [rights])
        slot.handed += 1
        slot.idle_ticks = 0

    def command(self, message: bytes) -> None:
        """Send a message to the only worker, which is started if necessary."""
        self._send(1, message, [])

    def _send(self, workers: int, message: bytes, rights: list[tuple[int, int, array.array[int]]]) -> Slot:
        """Send a message to the worker with the fewest connections, of this number of them."""
        while True:
            slot = self._pick(workers)
            channel = slot.running_channel()
            try:
                # Sent over the same channel before the connection, so that it uses the credentials of the last reload.
                if slot.credentials is not self._credentials:
                    channel.send(self._credentials, socket.MSG_DONTWAIT)
                    slot.credentials = self._credentials
                channel.sendmsg([message], rights, socket.MSG_DONTWAIT)
            except ConnectionError:
                self._ended(slot)
            else:
                return slot

    def broadcast(self, message: bytes) -> None:
        for slot in self.running():
            channel = slot.running_channel()
            try:
                channel.send(message, socket.MSG_DONTWAIT)
            except OSError as error:
                self._log.line(f"worker {slot.pid} could not be notified: {error.strerror}")

    def give_way(self) -> None:
        """Have the worker with the most handshakes close one of them."""
        slot = max(self.running(), key=Slot.handshakes, default=None)
        if slot is not None:
            # If it has too much to do, nothing else can be passed to it either.
            with contextlib.suppress(OSError):
                slot.running_channel().send(b'{"give_way": true}', socket.MSG_DONTWAIT)

    def stop(self) -> None:
        left = {slot.pid for slot in self.running()}
        for slot in self.running():
            self._close(slot)
        end = time.monotonic() + END_SECONDS
        while left:
            for pid in list(left):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    left.discard(pid)
                elif time.monotonic() > end:
                    os.kill(pid, signal.SIGKILL)
            if left:
                time.sleep(0.005)

    def _pick(self, limit: int) -> Slot:
        slots = self._slots[:limit]
        best = min((slot for slot in slots if slot.channel is not None), key=Slot.open, default=None)
        free = next((slot for slot in slots if slot.channel is None), None)
        if best is not None and (free is None or not best.open()):
            return best
        if free is None:
            raise RuntimeError("all workers have been started, but none is running")
        try:
            self._start(free)
        except OSError as error:
            if best is None:
                raise
            self._log.line(f"cannot start another worker: {error.strerror}")
            return best
        return free

    def _start(self, slot: Slot) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        gc.freeze()  # so that existing objects remain shared with the workers
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if not pid:
            self._work(slot, ours, theirs)
        theirs.close()
        slot.pid, slot.channel, slot.idle_ticks, slot.credentials = pid, ours, 0, b""
        self._loop.watch(ours.fileno(), lambda: self._hear(slot))
        self._tick_later()

    def _work(self, slot: Slot, ours: socket.socket, theirs: socket.socket) -> None:
        """Run the worker in the new process. Does not return."""
        try:
            # Signals to all processes are for the dispatcher, which ends workers by closing their channels.
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            # An open copy of another worker's channel would keep that worker from ending with the dispatcher.
            for other in self.running():
                if other.channel is not None:
                    other.channel.close()
            ours.close()
            self._close_in_child()
            Worker(theirs, self.counters, slot.block, self._splice, self._log).run()
        except BaseException:
            self._log.unexpected()
            os._exit(1)
        os._exit(0)

    def _hear(self, slot: Slot) -> None:
        """Receive the report of a worker, or the end of its channel."""
        try:
            message = slot.running_channel().recv(REPORT, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if message:
            self._reported(json.loads(message))
        else:
            self._ended(slot)

    def _ended(self, slot: Slot) -> None:
        """Handle the death of a worker, which closes its channel."""
        self._close(slot)
        _pid, status = os.waitpid(slot.pid, 0)
        lost = slot.lose()
        self._log.line(f"worker {slot.pid} died with status {status}: {lost} connections lost")
        if lost:
            self._lost_connections()
        self._died()

    def _close(self, slot: Slot) -> None:
        channel = slot.running_channel()
        self._loop.forget(channel.fileno())
        channel.close()
        slot.channel = None

    def _tick_later(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._loop.timers.after(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        """Send the clock to the workers: in their loops, waiting with a time limit would be slower."""
        self._ticking = False
        for slot in self.running():
            slot.idle_ticks = 0 if slot.open() else slot.idle_ticks + 1
            if slot.idle_ticks > IDLE_TICKS and not self.keeps:
                self._close(slot)
                os.waitpid(slot.pid, 0)
        self.broadcast(b'{"tick": true}')
        if self.running():
            self._tick_later()
