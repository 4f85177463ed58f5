# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The privileged part of the service: carries out calls that the frontend forwards, and does the housekeeping.

Each call and each round of housekeeping runs in a forked process, like an action in the process of a module. If one
hangs or crashes, no other is affected, and its memory is freed when it exits. The main process does not read any data
of callers.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Callable, Collection

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, reason
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import sockets
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.acting import handle
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.housekeeping import (
    maintain,
    release_expired,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.output import report
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.schedule import Schedule

# Maximum number of concurrent calls. Others wait in the backlog of the socket.
_MAX_CALLS = 64
# Time in seconds after which a process is killed, longer than any action takes.
_PROCESS_SECONDS = 1800.0
_TICK_SECONDS = 1.0
# Time in seconds for running calls to finish when the service is stopped.
_STOP_SECONDS = 80.0


@dataclass(frozen=True)
class _Round:
    """A round of housekeeping.

    Args:
        name: What it does.
        pipe: Descriptor from which its report is read.
        deadline: When it is killed.
    """

    name: str
    pipe: int
    deadline: float


class Backend:
    """Carries out calls and does the housekeeping.

    Args:
        listener: Listening socket for the frontend.
        frontend: User of the frontend.
        config: Path of the policy.
        user_socket: Path of the socket for users.
        viewers: Users who may only view sessions.
    """

    def __init__(
        self, listener: socket.socket, frontend: int, config: str, user_socket: str, viewers: Collection[int] = ()
    ) -> None:
        self._listener = listener
        self._frontend = frontend
        self._config = config
        self._user_socket = user_socket
        self._viewers = viewers
        # Deadlines of the calls by their pids.
        self._calls: dict[int, float] = {}
        self._rounds: dict[int, _Round] = {}
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
        with selectors.DefaultSelector() as selector:
            selector.register(wake, selectors.EVENT_READ)
            accepting = False
            while True:
                accept = not self._stopping and len(self._calls) < _MAX_CALLS
                if accept and not accepting:
                    selector.register(self._listener, selectors.EVENT_READ)
                elif accepting and not accept:
                    selector.unregister(self._listener)
                accepting = accept
                ready = [key.fileobj for key, _events in selector.select(_TICK_SECONDS)]
                if wake in ready:
                    with suppress(BlockingIOError):
                        os.read(wake, 4096)
                self._reap()
                if self._stopping:
                    deadline = deadline or time.monotonic() + _STOP_SECONDS
                    if not self._calls or time.monotonic() > deadline:
                        return
                    continue
                if self._listener in ready:
                    self._accept()
                self._keep_house()

    def _stop(self, _number: int, _frame: Any) -> None:
        self._stopping = True

    def _accept(self) -> None:
        try:
            connection, _address = self._listener.accept()
        except OSError:
            return
        with connection:
            connection.setblocking(True)
            _pid, uid = sockets.peer(connection)
            if uid not in (self._frontend, os.geteuid()):
                report(f"a connection of user {uid} was refused")
                return
            pid = self._fork(lambda: handle(connection, self._config, self._user_socket, self._viewers))
            self._calls[pid] = time.monotonic() + _PROCESS_SECONDS

    def _fork(self, work: Callable[[], None]) -> int:
        """Do some work in a forked process, and return its pid."""
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            self._listener.close()
            work()
            status = 0
        except BaseException:  # pylint: disable=broad-except
            traceback.print_exc(file=sys.stderr)
        finally:
            with suppress(Exception):
                sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        """Collect processes that have exited, and kill those that have passed their deadlines."""
        deadlines = {**self._calls, **{pid: item.deadline for pid, item in self._rounds.items()}}
        for pid, deadline in deadlines.items():
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            if os.waitpid(pid, os.WNOHANG)[0]:
                self._calls.pop(pid, None)
                if pid in self._rounds:
                    self._collect(self._rounds.pop(pid))

    def _collect(self, finished: _Round) -> None:
        """Evaluate the report of a round, and log new problems."""
        with os.fdopen(finished.pipe, "rb") as stream:
            data = stream.read()
        try:
            found = json.loads(data)
        except ValueError:
            found = {"error": f"{finished.name} was interrupted"}
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
            try:
                found = function(self._config)
            except (ScistreamError, OSError) as error:
                found = {"error": reason(error)}
            # If this fails, the main process was killed, and nobody needs the report.
            with suppress(BrokenPipeError), os.fdopen(send, "w", encoding="ascii") as stream:
                json.dump(found, stream)

        pid = self._fork(work)
        os.close(send)
        self._rounds[pid] = _Round(function.__name__, receive, time.monotonic() + _PROCESS_SECONDS)


def act(path: str, config: str, frontend: int, user_socket: str, viewers: Collection[int] = ()) -> None:
    """Run the backend until the process ends."""
    os.umask(0o022)
    created = "LISTEN_FDS" not in os.environ
    listener = sockets.listen(path, 0o600)
    if created and frontend != os.geteuid():
        os.chown(path, frontend, -1)
    Backend(listener, frontend, config, user_socket, viewers).run()
