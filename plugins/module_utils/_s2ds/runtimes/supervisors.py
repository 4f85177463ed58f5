# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starting supervisors: each as a program, or many from one process that has loaded the program, which is faster."""

from __future__ import annotations

import array
import json
import os
import socket
import subprocess
import threading
from contextlib import contextmanager
from typing import Iterator, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.programs import PATH

# For the program to load, and for each order.
_SECONDS = 60.0
# Room for the command line of a supervisor in addition to that of the first one. A longer one takes more time.
_PADDING = 512
_MAX_ANSWER = 1 << 16
_ENVIRONMENT = {"PATH": PATH, "LANG": "C.UTF-8"}


class _Launcher:
    """A process that starts supervisors of one program, see ``orders.py`` of the role s2cs."""

    def __init__(self, program: Sequence[str], room: int) -> None:
        self._lock = threading.Lock()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            ours.settimeout(_SECONDS)
            self._channel = ours
            self._process = _execute([*program, "--orders", " " * (room + _PADDING)], stdin=theirs.fileno())
        # An earlier version of the program does not know orders.
        try:
            self.is_ready = bool(ours.recv(_MAX_ANSWER))
        except OSError:
            self.is_ready = False

    def start(self, arguments: Sequence[str], lock: int) -> None:
        """Start a supervisor.

        Raises:
            S2DSException: That failed.
        """
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [lock]))
        try:
            with self._lock:
                self._channel.sendmsg([json.dumps(list(arguments)).encode()], [rights])
                answer = json.loads(self._channel.recv(_MAX_ANSWER) or b'{"error": "it exited"}')
        except OSError as error:
            answer = {"error": str(error)}
        if answer:
            raise S2DSException(f"the supervisor of the data server cannot be started: {answer['error']}")

    def close(self) -> None:
        """End the process. The supervisors continue."""
        self._channel.close()
        self._process.wait()


class _Launchers:
    """The launchers of this process by their programs. There are none, unless many data servers are started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._found: dict[tuple[str, ...], _Launcher] = {}

    def find(self, program: Sequence[str], room: int) -> _Launcher | None:
        """Return the launcher of a program, or None if there is to be none."""
        with self._lock:
            if not self._users:
                return None
            key = tuple(program)
            if key not in self._found:
                self._found[key] = _Launcher(program, room)
            found = self._found[key]
            return found if found.is_ready else None

    @contextmanager
    def open(self) -> Iterator[None]:
        """Allow launchers during the context."""
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                ended = [] if self._users else list(self._found.values())
                if ended:
                    self._found = {}
            for launcher in ended:
                launcher.close()


_launchers = _Launchers()
#: Context in which many data servers are started.
starting_many = _launchers.open


def start(
    program: Sequence[str], arguments: Sequence[str], lock: int, scope: tuple[Sequence[str], Mapping[str, str]]
) -> None:
    """Start a supervisor, which inherits the lock, so that it is visible from the start.

    Args:
        program: The program that supervises.
        arguments: The directory, the user and the command.
        lock: Descriptor of the directory, which is locked through it.
        scope: Prefix of the command so that it keeps running, and the environment that it requires.
    """
    before, environment = scope
    launcher = None if before else _launchers.find(program, sum(len(os.fsencode(word)) + 1 for word in arguments))
    if launcher is not None:
        launcher.start(arguments, lock)
        return
    head = [*before, *program, *arguments[:2], "--lock", str(lock)]
    _execute([*head, *arguments[2:]], environment, lock)


def _execute(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    lock: int | None = None,
    stdin: int | None = None,
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # pylint: disable=ansible-bad-function
        command,
        cwd="/",
        env={**_ENVIRONMENT, **(environment or {})},
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=() if lock is None else (lock,),
    )
