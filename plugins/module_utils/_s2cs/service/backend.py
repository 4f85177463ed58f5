# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The privileged part of the service: carries out calls that the frontend forwards, and does the housekeeping.

Each call and each round of housekeeping runs in a forked process, like an action in the process of a module. If one
hangs or crashes, no other is affected, and its memory is freed when it exits. The main process does not read any data
of callers. It only receives their connections, because the concurrent calls of each user are limited here too.
"""

from __future__ import annotations

import codecs
import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import sockets
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.backend_call import Passed, handle
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.housekeeping import (
    maintain,
    release_expired,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.output import report
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.rounds import Round, run_round
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.schedule import Schedule
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.slots import Slots
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_client import (
    ACTION_SECONDS,
    QUEUE_SECONDS,
)

# Maximum number of concurrent calls of all users and of one user, and of those that wait. Others wait in the backlog of
# the socket.
_MAX_CALLS, _MAX_USER_CALLS, _MAX_WAITING = 64, 8, 256
# Of the concurrent calls, the numbers that are reserved for root and users who have no other call, and for root.
_FIRST_CALLS, _ROOT_CALLS = 24, 8
# Time limit in seconds for the connection of the caller to arrive.
_ARRIVAL_SECONDS = 30.0
_TICK_SECONDS = 1.0
# Time in seconds for running calls to finish when the service is stopped.
_STOP_SECONDS = 80.0


@dataclass(frozen=True)
class _Running:
    """A call that is carried out.

    Args:
        uid: The user who has a slot for it, or None.
        deadline: When it is killed.
    """

    uid: int | None
    deadline: float


class Backend:
    """Carries out calls and does the housekeeping.

    Args:
        listener: Listening socket for the frontend.
        frontend: User of the frontend.
        config: Path of the policy.
        user_socket: Path of the socket for users.
        limited: Actions of users who may not use all of them.
    """

    def __init__(
        self,
        listener: socket.socket,
        frontend: int,
        config: str,
        user_socket: str,
        limited: Mapping[int, str] | None = None,
    ) -> None:
        self._listener = listener
        self._frontend = frontend
        self._config = config
        self._user_socket = user_socket
        self._limited = limited or {}
        self._selector = selectors.DefaultSelector()
        self._slots = Slots(_MAX_CALLS, _MAX_USER_CALLS, _FIRST_CALLS, _ROOT_CALLS)
        # Connections of the frontend over which the connection of the caller has not arrived, with their deadlines.
        self._arriving: dict[socket.socket, float] = {}
        # Calls that wait for a slot, with their deadlines, in the order of their arrival.
        self._waiting: dict[Passed, float] = {}
        self._calls: dict[int, _Running] = {}
        self._rounds: dict[int, Round] = {}
        self._schedule = Schedule()
        self._reported: dict[str, list[str]] = {}
        self._stopping = False

    def run(self) -> None:
        """Run until SIGTERM, then let running calls finish."""
        self._listener.setblocking(False)
        wake, signals = os.pipe()
        os.set_blocking(signals, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(signals, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        deadline = 0.0
        with self._selector:
            self._selector.register(wake, selectors.EVENT_READ, partial(_drain, wake))
            accepting = False
            while True:
                accept = not self._stopping and len(self._arriving) + len(self._waiting) < _MAX_WAITING
                if accept and not accepting:
                    self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
                elif accepting and not accept:
                    self._selector.unregister(self._listener)
                accepting = accept
                for key, _events in self._selector.select(_TICK_SECONDS):
                    key.data()
                self._reap()
                self._start_calls()
                if self._stopping:
                    # Calls that were accepted are carried out, because their callers would not know what was done.
                    deadline = deadline or time.monotonic() + _STOP_SECONDS
                    if not (self._calls or self._waiting or self._arriving) or time.monotonic() > deadline:
                        return
                    continue
                self._keep_house()

    def _stop(self, _number: int, _frame: Any) -> None:
        self._stopping = True

    def _accept(self) -> None:
        try:
            connection, _address = self._listener.accept()
        except OSError:
            return
        _pid, uid = sockets.peer(connection)
        if uid not in (self._frontend, os.geteuid()):
            report(f"a connection of user {uid} was refused")
            connection.close()
            return
        connection.setblocking(False)
        self._arriving[connection] = time.monotonic() + _ARRIVAL_SECONDS
        self._selector.register(connection, selectors.EVENT_READ, partial(self._arrive, connection))

    def _arrive(self, connection: socket.socket) -> None:
        """Receive the connection of the caller, which determines the user."""
        try:
            data, passed = sockets.receive_descriptors(connection, 1)
        except BlockingIOError:
            return
        except OSError:
            data, passed = b"", []
        self._selector.unregister(connection)
        del self._arriving[connection]
        if not data:
            # The frontend has exited, or its caller has disconnected.
            connection.close()
            return
        caller = passed.pop() if len(passed) == 1 and sockets.is_accepted(passed[0], self._user_socket) else None
        for item in passed:
            item.close()
        self._waiting[Passed(connection, caller)] = time.monotonic() + QUEUE_SECONDS

    def _start_calls(self) -> None:
        """Start the calls for which there is a slot, and refuse those that have waited too long."""
        now = time.monotonic()
        for connection in [item for item, deadline in self._arriving.items() if now > deadline]:
            self._selector.unregister(connection)
            del self._arriving[connection]
            connection.close()
        for call, deadline in list(self._waiting.items()):
            uid: int | None = call.uid
            if not self._slots.take(call.uid):
                if now <= deadline:
                    continue
                # Refused in a process too, which has to read the request first.
                uid = None
            del self._waiting[call]
            pid = self._fork(partial(handle, call, self._config, self._limited, uid is None))
            self._calls[pid] = _Running(uid, now + ACTION_SECONDS)
            call.close()

    def _fork(self, work: Callable[[], None]) -> int:
        """Do some work in a forked process, and return its pid."""
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            return pid
        status = 1
        # It ends before garbage matters.
        gc.disable()
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            self._selector.close()
            self._listener.close()
            # Otherwise the end of other answers would not be noticed before the end of this process.
            for connection in self._arriving:
                connection.close()
            for call in self._waiting:
                call.close()
            for running in self._rounds.values():
                running.close()
            work()
            status = 0
        except BaseException:  # pylint: disable=broad-except
            # Only loaded here, because the service keeps in memory what it has loaded.
            import traceback

            traceback.print_exc(file=sys.stderr)
        finally:
            with suppress(Exception):
                sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        """Collect processes that have exited, and kill those that have passed their deadlines."""
        deadlines = {pid: item.deadline for pid, item in self._calls.items()}
        deadlines.update((pid, item.deadline) for pid, item in self._rounds.items())
        for pid, deadline in deadlines.items():
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            if not os.waitpid(pid, os.WNOHANG)[0]:
                continue
            call, finished = self._calls.pop(pid, None), self._rounds.pop(pid, None)
            if call is not None and call.uid is not None:
                self._slots.free(call.uid)
            if finished is not None:
                self._collect(finished)

    def _collect(self, finished: Round) -> None:
        """Evaluate the report of a round, and log new problems."""
        if finished.is_open:
            self._selector.unregister(finished.pipe)
        found = finished.finish()
        problems = [found["error"]] if "error" in found else found["problems"]
        if finished.name == release_expired.__name__:
            self._schedule.finished(None if "error" in found else found)
        for problem in problems:
            if problem not in self._reported.get(finished.name, ()):
                report(problem)
        self._reported[finished.name] = problems

    def _keep_house(self) -> None:
        """Start the rounds of housekeeping that are due."""
        running = [item.name for item in self._rounds.values()]
        if self._schedule.should_release(running.count(release_expired.__name__)):
            self._start_round(release_expired)
        if maintain.__name__ not in running and self._schedule.should_maintain():
            self._start_round(maintain)

    def _start_round(self, function: Callable[[str], dict[str, Any]]) -> None:
        receive, send = os.pipe()

        def work() -> None:
            os.close(receive)
            run_round(function, self._config, send)

        pid = self._fork(work)
        os.close(send)
        started = Round(function.__name__, receive, time.monotonic() + ACTION_SECONDS)
        self._rounds[pid] = started
        self._selector.register(receive, selectors.EVENT_READ, partial(self._read, started))

    def _read(self, item: Round) -> None:
        if not item.read():
            # In this order: what is closed first stays registered while another process has it open.
            self._selector.unregister(item.pipe)
            item.close()


def _drain(pipe: int) -> None:
    with suppress(BlockingIOError):
        os.read(pipe, 4096)


def act(path: str, config: str, frontend: int, user_socket: str, limited: Mapping[int, str] | None = None) -> None:
    """Run the backend until the process ends."""
    # What most actions need, and would have to load after the fork. That takes ssl as long as a whole action.
    importlib.import_module("ssl")
    codecs.lookup("ascii")
    os.umask(0o022)
    created = "LISTEN_FDS" not in os.environ
    listener = sockets.listen(path, 0o600)
    if created and frontend != os.geteuid():
        os.chown(path, frontend, -1)
    # So that collections of garbage in the forked processes do not copy this memory.
    gc.collect()
    gc.freeze()
    Backend(listener, frontend, config, user_socket, limited).run()
