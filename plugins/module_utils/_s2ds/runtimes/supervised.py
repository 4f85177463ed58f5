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
from typing import TYPE_CHECKING, Any, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.processes import (
    command_line,
    end,
    group_in,
    is_alive,
    is_stopped,
    working_in,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes import user_manager
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.host import HostRuntime
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import tail
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Task

if TYPE_CHECKING:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy

# The supervisor gives its command 5 s to end and then kills it.
_GRACE_SECONDS = 8.0
# For a supervisor that was started a moment ago to say which process it is.
_BIRTH_SECONDS = 10.0
_STATE_LIMIT = 1 << 16
_NUMBERS, _TEXTS = ("pid", "child", "restarts"), ("start", "child_start", "last_exit")
_OWN_LINE = " supervisor: "


class SupervisedProcess(HostRuntime):
    """A process under our own supervisor, for gateways without systemd and for S2CS without root."""

    def check(self, task: Task, proxy: Proxy) -> None:
        """Refuse also where the data server would end when its user logs out."""
        super().check(task, proxy)
        if self.site.uses_systemd:
            raise S2DSException(
                "supervisor: units of systemd take root and a host that systemd runs; choose auto or process"
            )
        self.need(self.site.program("supervise.py"))
        user_manager.check()

    def start(self, task: Task, command: Sequence[str]) -> None:
        """Start the supervisor, which starts the command."""
        self.stop(task)
        program = self.site.program("supervise.py")
        self.need(program)
        user = ["--user", task.user] if self.site.changes_user else []
        directory = self.site.directory(task.name)
        held = self._hold(directory)
        if held is None:
            raise S2DSException(f"another supervisor holds the directory {directory}; release the session first")
        before, environment = user_manager.scope(task.name)
        try:
            # It inherits the lock: from its first moment on anyone can see that there is one, even if we are killed.
            subprocess.Popen(
                [
                    *before,
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
                env={
                    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "LANG": "C.UTF-8",
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(held,),
            )
        finally:
            os.close(held)

    def stop(self, task: Task, keep: bool = True) -> bool:
        """End the supervisor with its command, also a command whose supervisor was killed."""
        alive = False
        directory = self.site.directory(task.name)
        state = self._state(task) or self._await_birth(task)
        if state:
            alive = is_alive(state["pid"], state["start"]) or is_alive(state["child"], state["child_start"])
            end(state["pid"], state["start"], _GRACE_SECONDS)
            end(state["child"], state["child_start"], 0.0, group=True)
            # What the command had started outlives it where supervisor and command were both killed.
            for pid, started in group_in(state["child"], directory):
                end(pid, started, 0.0)
        if self._is_held(directory):
            # What it says of itself cannot be read, or is about another one: whoever works there is meant.
            alive = True
            for pid, started in _members(directory).items():
                end(pid, started, _GRACE_SECONDS)
        self._forget(task)
        if keep:
            self.save(task)
        return alive

    def has(self, task: Task) -> bool:
        """Tell whether there is a supervisor, or there was one that was not told to end."""
        return os.path.exists(self._path(task)) or self._is_held(self.site.directory(task.name))

    def is_running(self, task: Task) -> bool:
        """Tell whether the supervisor and its command run, and nobody stopped the command for a while."""
        state = self._state(task)
        return (
            bool(state)
            and is_alive(state["pid"], state["start"])
            and is_alive(state["child"], state["child_start"])
            and not is_stopped(state["child"])
        )

    def signal(self, task: Task, number: int) -> None:
        """Send a signal to the command."""
        state = self._state(task)
        if not self.is_running(task):
            raise S2DSException(f"the data server {task.name} is not running and cannot be reloaded")
        os.kill(state["child"], number)

    def has_failed(self, task: Task) -> bool:
        """Tell whether the command ended since the supervisor started, or the supervisor is gone."""
        if not self._is_held(self.site.directory(task.name)):
            return True
        state = self._state(task)
        if not state:
            return False
        return bool(state["last_exit"]) or not is_alive(state["pid"], state["start"]) or not self.is_running(task)

    def log(self, task: Task, lines: int = 10) -> list[str]:
        """Return the last lines that the command wrote since it was started, or else what the supervisor says of it."""
        directory = self.site.directory(task.name)
        said = [line for name in ("log.1", "log") for line in tail(os.path.join(directory, name), 10 * lines)]
        said = ([line for line in said if _OWN_LINE not in line] or said)[-lines:]
        state = self._state(task)
        if state and is_stopped(state["child"]) and is_alive(state["child"], state["child_start"]):
            pid = state["child"]
            said.append(f"process {pid} was stopped by a signal; kill -CONT {pid} lets it go on")
        return said

    @classmethod
    def _is_held(cls, directory: str) -> bool:
        """Tell whether there is a supervisor."""
        try:
            held = cls._hold(directory)
        except (FileNotFoundError, NotADirectoryError):
            return False
        if held is not None:
            os.close(held)
        return held is None

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
        """Return the state of a supervisor that was started a moment ago, {} if there is none or it does not say."""
        directory = self.site.directory(task.name)
        deadline = time.monotonic() + _BIRTH_SECONDS
        while self._is_held(directory) and time.monotonic() < deadline:
            state = self._state(task)
            # Neither does it where the disk is full, or somebody wrote into its file.
            if state or os.path.exists(self._path(task)):
                return state
            if len(_members(directory)) > 1:
                return {}
            time.sleep(0.01)
        return {}

    def _path(self, task: Task) -> str:
        return os.path.join(self.site.directory(task.name), "supervisor.json")

    def _state(self, task: Task) -> dict[str, Any]:
        """Return what the supervisor says of itself, {} where that is not to be had or makes no sense."""
        try:
            with open(self._path(task), encoding="ascii") as stream:
                state = json.loads(stream.read(_STATE_LIMIT))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(state, dict):
            return {}
        right = all(type(state.get(name)) is int and state[name] >= 0 for name in _NUMBERS)
        return state if right and all(isinstance(state.get(name), str) for name in _TEXTS) else {}

    def _forget(self, task: Task) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(self._path(task))


def _members(directory: str) -> dict[int, str]:
    """Return the supervisor of a directory and what belongs to it, found without its word, with their start times."""
    there = working_in(directory)
    supervisors = {pid for pid in there if f"--directory {directory} " in command_line(pid)}
    return {pid: started for pid, started in there.items() if _session(pid) in supervisors}


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0
