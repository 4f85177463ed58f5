# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runtime ``process`` without an init system: a small supervisor for each instance (see roles/s2cs/files)."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import time
from typing import Any, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.processes import end, group_in, is_alive
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Runtime, Task, tail

# The supervisor gives its command 5 s to end and then kills it.
_GRACE_SECONDS = 8.0
# For a supervisor that was started a moment ago to say which process it is.
_BIRTH_SECONDS = 10.0


class SupervisedProcess(Runtime):
    """A process under our own supervisor, for gateways without systemd and for S2CS without root."""

    def start(self, task: Task, command: Sequence[str]) -> None:
        """Start the supervisor, which starts the command."""
        self.stop(task)
        program = self.site.program("supervise.py")
        if not os.path.exists(program):
            raise S2DSException(f"there is no {program}: run the role scistream.gateway.s2cs on this gateway")
        user = ["--user", task.user] if self.site.changes_user else []
        directory = self.site.directory(task.name)
        held = self._hold(directory)
        if held is None:
            raise S2DSException(f"another supervisor holds the directory {directory}; release the session first")
        try:
            # It inherits the lock: from its first moment on anyone can see that there is one, even if we are killed.
            subprocess.Popen(
                [
                    self.site.interpreter,
                    "-I",
                    "-S",
                    program,
                    "--directory",
                    directory,
                    "--lock",
                    str(held),
                    *user,
                    "--",
                    *command,
                ],
                cwd="/",
                env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(held,),
            )
        finally:
            os.close(held)

    def stop(self, task: Task) -> bool:
        """End the supervisor with its command, also a command whose supervisor was killed."""
        state = self._state(task) or self._await_birth(task)
        alive = bool(state) and (
            is_alive(state["pid"], state["start"]) or is_alive(state["child"], state["child_start"])
        )
        if state:
            end(state["pid"], state["start"], _GRACE_SECONDS)
            end(state["child"], state["child_start"], 0.0, group=True)
            # What the command had started outlives it where supervisor and command were both killed.
            for pid, started in group_in(state["child"], self.site.directory(task.name)):
                end(pid, started, 0.0)
            self._forget(task)
        return alive

    def is_running(self, task: Task) -> bool:
        """Tell whether the supervisor and its command run."""
        state = self._state(task)
        return bool(state) and is_alive(state["pid"], state["start"]) and is_alive(state["child"], state["child_start"])

    def signal(self, task: Task, number: int) -> None:
        """Send a signal to the command."""
        state = self._state(task)
        if not self.is_running(task):
            raise S2DSException(f"the data server {task.name} does not run, so it cannot be told anything")
        os.kill(state["child"], number)

    def has_failed(self, task: Task) -> bool:
        """Tell whether the command ended since the supervisor started, or the supervisor is gone."""
        directory = self.site.directory(task.name)
        held = self._hold(directory)
        if held is not None:
            os.close(held)
            return True
        state = self._state(task)
        if not state:
            return False
        return bool(state["last_exit"]) or not is_alive(state["pid"], state["start"]) or not self.is_running(task)

    def log(self, task: Task, lines: int = 10) -> list[str]:
        """Return the last lines of what the supervisor and the command wrote."""
        return tail(os.path.join(self.site.directory(task.name), "log"), lines)

    @staticmethod
    def _hold(directory: str) -> int | None:
        """Take the lock that a supervisor has on its directory; None if there is one."""
        held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            return None
        return held

    def _await_birth(self, task: Task) -> dict[str, Any]:
        """Return the state of a supervisor that was started a moment ago, {} if there is none.

        Raises:
            S2DSException: There is one, and it does not say which process it is.
        """
        directory = self.site.directory(task.name)
        deadline = time.monotonic() + _BIRTH_SECONDS
        while os.path.isdir(directory):
            held = self._hold(directory)
            if held is not None:
                os.close(held)
                return {}
            state = self._state(task)
            if state:
                return state
            if time.monotonic() > deadline:
                raise S2DSException(f"a process holds the directory {directory}, and no supervisor.json says which")
            time.sleep(0.005)
        return {}

    def _path(self, task: Task) -> str:
        return os.path.join(self.site.directory(task.name), "supervisor.json")

    def _state(self, task: Task) -> dict[str, Any]:
        try:
            with open(self._path(task), encoding="ascii") as stream:
                state = json.load(stream)
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def _forget(self, task: Task) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(task))
