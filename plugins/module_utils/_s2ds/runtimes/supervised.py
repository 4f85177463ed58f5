# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runtime ``process`` without an init system: each data server has a small supervisor (see roles/s2cs/files)."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from typing import Any, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.processes import (
    command_line,
    end,
    group_in,
    is_alive,
    is_stopped,
    working_in,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes import supervisors, user_manager
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.host import HostRuntime
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import tail

# The supervisor kills its command after 5 seconds.
_GRACE_SECONDS = 8.0
# For a supervisor that has just been started to report its state.
_STATE_SECONDS = 10.0
_STATE_LIMIT = 1 << 16
_NUMBERS, _TEXTS = ("pid", "child", "restarts"), ("start", "child_start", "last_exit")
_OWN_LINE = " supervisor: "


class SupervisedProcess(HostRuntime):
    """A process under our own supervisor, for gateways without systemd and for S2CS without root."""

    def check(self) -> None:
        """Also refuse to start a data server that would end when its user logs out."""
        super().check()
        if self.layout.uses_systemd:
            raise S2DSException(
                "supervisor: systemd units require root and a host with systemd; choose auto or process"
            )
        self.require_program(self.layout.program("supervise.py"))
        user_manager.check()

    def start(self, command: Sequence[str]) -> None:
        """Start the supervisor, which starts the command."""
        self.stop()
        program = self.layout.program("supervise.py")
        self.require_program(program)
        user = ["--user", self.task.user] if self.layout.changes_user else []
        directory = self.home
        lock = self._take_lock(directory)
        if lock is None:
            raise S2DSException(f"another supervisor uses the directory {directory}; release the session first")
        try:
            supervisors.start(
                [self.layout.interpreter, "-I", "-S", program],
                ["--directory", directory, *user, "--", *command],
                lock,
                user_manager.scope(self.task.name),
            )
        finally:
            os.close(lock)

    def stop(self, save: bool = True) -> bool:
        """Stop the supervisor and its command, including a command whose supervisor was killed."""
        alive = False
        directory = self.home
        state = self._state() or self._await_state()
        if state:
            alive = is_alive(state["pid"], state["start"]) or is_alive(state["child"], state["child_start"])
            end(state["pid"], state["start"], _GRACE_SECONDS)
            end(state["child"], state["child_start"], 0.0, group=True)
            # If both the supervisor and the command were killed, other processes of the command are still running.
            for pid, started in group_in(state["child"], directory):
                end(pid, started, 0.0)
        if self._is_locked(directory):
            # Its state cannot be read, or belongs to an earlier one: find it by its directory.
            alive = True
            for pid, started in _members(directory).items():
                end(pid, started, _GRACE_SECONDS)
        self._remove_state()
        if save:
            self.save_files()
        return alive

    def is_managed(self) -> bool:
        """Return whether there is a supervisor, or was one that has not been stopped."""
        return os.path.exists(self._path()) or self._is_locked(self.home)

    def is_running(self) -> bool:
        """Return whether the supervisor and its command are running, and the command is not stopped by a signal."""
        state = self._state()
        return (
            bool(state)
            and is_alive(state["pid"], state["start"])
            and is_alive(state["child"], state["child_start"])
            and not is_stopped(state["child"])
        )

    def signal(self, number: int) -> None:
        """Send a signal to the command."""
        state = self._state()
        if not self.is_running():
            raise S2DSException(f"the data server {self.task.name} is not running and cannot be reloaded")
        os.kill(state["child"], number)

    def is_supervised(self) -> bool:
        """Return whether a supervisor is running."""
        return self._is_locked(self.home)

    def has_failed(self) -> bool:
        """Return whether the command exited since the supervisor was started, or the supervisor has ended."""
        if not self._is_locked(self.home):
            return True
        state = self._state()
        if not state:
            return False
        return bool(state["last_exit"]) or not is_alive(state["pid"], state["start"]) or not self.is_running()

    def log(self, lines: int = 10) -> list[str]:
        """Return the last lines of the command since it was started, or otherwise of the supervisor."""
        directory = self.home
        output = [line for name in ("log.1", "log") for line in tail(os.path.join(directory, name), 10 * lines)]
        output = ([line for line in output if _OWN_LINE not in line] or output)[-lines:]
        state = self._state()
        if state and is_stopped(state["child"]) and is_alive(state["child"], state["child_start"]):
            pid = state["child"]
            output.append(f"process {pid} was stopped by a signal; kill -CONT {pid} resumes it")
        return output

    @classmethod
    def _is_locked(cls, directory: str) -> bool:
        """Return whether a supervisor is running."""
        try:
            lock = cls._take_lock(directory)
        except (FileNotFoundError, NotADirectoryError):
            return False
        if lock is not None:
            os.close(lock)
        return lock is None

    @staticmethod
    def _take_lock(directory: str) -> int | None:
        """Return the lock of a supervisor on its directory as a descriptor, or None if another process holds it."""
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def _await_state(self) -> dict[str, Any]:
        """Return the state of a supervisor that has just been started, or {} if there is none or it reports none."""
        directory = self.home
        deadline = time.monotonic() + _STATE_SECONDS
        while self._is_locked(directory) and time.monotonic() < deadline:
            state = self._state()
            # It cannot report one on a full disk, or if someone overwrote the file.
            if state or os.path.exists(self._path()):
                return state
            if len(_members(directory)) > 1:
                return {}
            time.sleep(0.01)
        return {}

    def _path(self) -> str:
        return os.path.join(self.home, "supervisor.json")

    def _state(self) -> dict[str, Any]:
        """Return the state that the supervisor reports, or {} if there is none or it is invalid."""
        try:
            with open(self._path(), encoding="ascii") as stream:
                state = json.loads(stream.read(_STATE_LIMIT))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(state, dict):
            return {}
        numbers = [state.get(name) for name in _NUMBERS]
        right = all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in numbers)
        return state if right and all(isinstance(state.get(name), str) for name in _TEXTS) else {}

    def _remove_state(self) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(self._path())


def _members(directory: str) -> dict[int, str]:
    """Return the supervisor of a directory and its processes without using its state, with their start times."""
    there = working_in(directory)
    supervisors = {pid for pid in there if f"--directory {directory} " in command_line(pid)}
    return {pid: started for pid, started in there.items() if _session(pid) in supervisors}


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0
