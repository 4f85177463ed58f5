# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the containers of a Docker engine have in common, however their configuration gets into them."""

from __future__ import annotations

import os
from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker import host as engine_host
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker import limits as container_limits
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker import notes as engine_notes
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker import state as engine_state
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.engine import Engine
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.names import NamedContainer
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.settings import ContainerSettings
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Control, Task

if TYPE_CHECKING:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy

# Where containers have what is the instance's directory for their program. It is never the path that it has here: a
# directory on that way, such as /root, may be one of the image that the program's user cannot pass through.
ROOT = "/var/lib/scistream"
DIRECTORY = "session"

_CHECK_SECONDS = 60
_GRACE_SECONDS = 3


class EngineContainer(NamedContainer):
    """A container of a Docker engine: everything but how the configuration gets into it.

    Attributes:
        sends_files: Whether it gets into it through the engine.
    """

    sends_files: ClassVar[bool] = False

    def __init__(self, site: Layout, settings: ContainerSettings) -> None:
        super().__init__(site, settings)
        # The engine of the policy, where containers are made, and any other that has one.
        self.engine = Engine(settings.engine)
        self._others: dict[str, Engine] = {}

    @property
    def file_mode(self) -> int:
        """Mode of an instance's files."""
        return 0o600 if os.geteuid() and self.settings.container_user in (None, os.geteuid()) else 0o640

    def directory(self, task: Task) -> str:
        """Return the path of the instance's directory in its container."""
        return f"{ROOT}/{DIRECTORY}"

    def owner(self, user: str) -> Sequence[int]:
        """Return who owns an instance's directory: ourselves, and the group that the program runs as."""
        return os.geteuid(), self.group(Task("", "", user))

    def secret_access(self, user: str) -> Sequence[int]:
        """Return user, group and mode of a secret; only root can give it to another user than itself."""
        own, group = self.owner(user)
        program = self.user(Task("", "", user))
        if os.geteuid() in (0, program):
            return program, group, 0o600
        return own, group, self.file_mode

    def check(self, task: Task, proxy: Proxy) -> None:
        """Refuse where the engine does not answer or cannot serve this host, or has no image and may not get it."""
        container_limits.check(self.settings, task, proxy.name)
        found = self._found(task)
        if engine_state.is_paused(found):
            raise S2DSException(self._why(task, found))
        if found is None or self.is_elsewhere(task):
            engine_host.check(self.engine, self.sends_files)
            if self.settings.pull == "never":
                self._need_image(self.settings.image)

    def start(self, task: Task, command: Sequence[str]) -> None:
        """Make the container anew and start it; the engine starts it again after a crash and after a reboot."""
        image = self._get_image(self.settings.image)
        if self.is_elsewhere(task):
            type(self)(self.site, replace(self.settings, engine=self._at(task).address)).remove(task)
        else:
            self._remove_container(task)
        self._identify()
        engine_notes.write(self.site.directory(task.name), self.engine.address)
        self._prepare(task)
        name = self.container(task)
        self.engine.create(
            name,
            **self._options(task, image, command),
            labels=self._labels(task),
            host_config=self._host(task, restart_policy={"Name": "always"}, **self._mounts(task)),
        )
        try:
            self._fill(task)
            self.engine.start(name)
        except BaseException:
            self.engine.remove_container(name)
            raise

    def stop(self, task: Task) -> bool:
        """End the container and remove it; returns whether it ran."""
        found = self._found(task)
        self._remove_container(task)
        return engine_state.runs(found)

    def remove(self, task: Task) -> bool:
        """End the container and remove it and what it had; returns whether there was anything."""
        if not self._has_ever_been():
            return False
        try:
            found = self._found(task)
        except S2DSException as error:
            if not self.is_elsewhere(task):
                raise
            note = engine_notes.note_path(self.site.directory(task.name))
            raise S2DSException(
                f"{error}; it has the container of {task.name}, and the policy names {self.engine.address} since: if "
                f"it is gone for good, remove the file {note} and release again"
            ) from None
        self._remove_container(task)
        return found is not None

    def probe(self, task: Task, proxy: Proxy) -> dict[str, Any] | None:
        """Return what a proxy tells of itself; nothing at once where its container does not run."""
        found = self._found(task)
        return self._ask(task, proxy, found) if found is not None and engine_state.runs(found) else None

    def reload(self, task: Task, proxy: Proxy) -> None:
        """Have a running proxy take over its changed configuration, and wait until it is in force."""
        found = self._found(task)
        if found is None or not engine_state.runs(found):
            raise S2DSException(f"the proxy cannot be told anything: {self._why(task, found)}")
        self._reload(task, proxy, found, _Reload(self, task))

    def is_running(self, task: Task) -> bool:
        """Tell whether the container runs, and is not paused."""
        return engine_state.runs(self._found(task))

    def is_held(self, task: Task) -> bool:
        """Tell whether the container is paused."""
        return engine_state.is_paused(self._found(task))

    def is_elsewhere(self, task: Task) -> bool:
        """Tell whether another engine has the container than that of the policy."""
        return self._at(task) is not self.engine

    def is_as_set(self, task: Task) -> bool:
        """Tell whether the container was made with the settings that would be used now."""
        found = self._found(task)
        return found is None or found["Config"]["Labels"].get("scistream.settings") == self._settings_digest(task)

    def check_room(self, task: Task, proxy: Proxy) -> None:
        """Refuse a reload for which the container may have too few processes."""
        container_limits.check_room(self._at(task).tasks(self.container(task)), task, proxy.name)

    def unseen(self, task: Task, listeners: Sequence[str], transport: str) -> str:
        """Say which listeners of the program this host does not have; empty where it has all."""
        return engine_host.unseen(self._at(task).address, listeners, transport)

    def signal(self, task: Task, number: int) -> None:
        """Send a signal to the main process."""
        # A signal that the engine sends counts as "stopped by hand", and as the end of the restart policy, where it is
        # the container's stop signal or none is set: one is set, and the policy is "always".
        self._at(task).kill(self.container(task), number)

    def has_failed(self, task: Task) -> bool:
        """Tell whether the program ended since the container was started, or the container is gone."""
        found = self._found(task)
        return found is None or bool(found.get("RestartCount")) or not engine_state.runs(found)

    def log(self, task: Task, lines: int = 10) -> list[str]:
        """Return what the program wrote last since its last start, and why it does not run, if it does not."""
        found = self._found(task)
        if found is None:
            return [self._why(task, found)]
        # More than the lines asked for may be of before.
        said = engine_state.written(found, self._at(task).log(self.container(task), 2 * lines))[-lines:]
        return said if engine_state.runs(found) else [*said, self._why(task, found)]

    def log_since(self, task: Task, since: int, lines: int) -> list[str]:
        """Return the last lines that were written after a moment of the engine's clock."""
        found = self._at(task).log(self.container(task), lines)
        return [said for at, said in found if engine_state.moment(at) > since]

    def last_line(self, task: Task) -> int:
        """Return the moment at which the last line was written."""
        return max((engine_state.moment(at) for at, _said in self._at(task).log(self.container(task), 1)), default=0)

    def run_once(self, task: Task, command: Sequence[str], directory: str) -> tuple[int, list[str]]:
        """Run the program in a container of its own, of the image that the instance has or will have."""
        found = None if self.is_elsewhere(task) else self._found(task)
        image = str(found["Image"]) if found else self._get_image(self.settings.image)
        self._identify()
        name = f"{self.container(task)}-check"
        self.engine.remove_container(name)
        self.engine.create(
            name,
            **self._options(task, image, command),
            labels={**self._labels(task), "scistream.purpose": "check"},
            host_config=self._host(task, **self._trial_mounts(directory)),
        )
        try:
            self._fill_trial(task, name, directory)
            self.engine.start(name)
            status = self.engine.wait(name, _CHECK_SECONDS)
            return status, [line for _at, line in self.engine.log(name, 200) if line.strip()]
        finally:
            self.engine.remove_container(name)

    # -- what differs between an engine that sees this file system and one that does not

    @abstractmethod
    def _ask(self, task: Task, proxy: Proxy, found: dict[str, Any]) -> dict[str, Any] | None:
        """Have a proxy in a container that runs tell of itself."""

    @abstractmethod
    def _reload(self, task: Task, proxy: Proxy, found: dict[str, Any], control: Control) -> None:
        """Have a proxy in a container that runs take over its changed configuration."""

    @abstractmethod
    def _mounts(self, task: Task) -> dict[str, Any]:
        """Return how the container sees the directory of its instance."""

    @abstractmethod
    def _trial_mounts(self, directory: str) -> dict[str, Any]:
        """Return how a container sees, as its instance's, a directory of this process in which something is tried."""

    def _prepare(self, task: Task) -> None:
        """Make room for a new container."""

    def _fill(self, task: Task) -> None:
        """Put the instance's files into the container before it starts."""

    def _fill_trial(self, task: Task, name: str, directory: str) -> None:
        """Put files into a container that tries something, before it starts."""

    # -- the engine

    def _at(self, task: Task) -> Engine:
        """Return the engine that has the container of an instance: the policy may name another one since."""
        address = engine_notes.read(self.site.directory(task.name))
        if not address or address == self.engine.address:
            return self.engine
        return self._others.setdefault(address, Engine(address))

    def _found(self, task: Task) -> dict[str, Any] | None:
        """Return the container of an instance, or None."""
        if not self._has_ever_been():
            # Whether the engine answers is worth knowing all the same.
            self.engine.ping()
            return None
        return self._at(task).container(self.container(task))

    def _why(self, task: Task, found: dict[str, Any] | None) -> str:
        """Say why the program of an instance does not serve."""
        name, address = self.container(task), self._at(task).address
        if found is None:
            return f"there is no container {name} on the engine {address}: the UPDATE again makes it anew"
        return engine_state.in_words(name, found, address)

    def _remove_container(self, task: Task) -> None:
        found = self._found(task)
        engine, name = self._at(task), self.container(task)
        if self._has_ever_been():
            # Checks and helpers of actions that were killed.
            for left in engine.labelled(s2cs=self._identity(), name=task.name, purpose=None):
                engine.remove_container(left)
        if found is None:
            return
        if found["Config"]["Labels"].get("scistream.s2cs") != self._identity():
            raise S2DSException(f"the container {name} is somebody else's: remove it, or name this instance otherwise")
        if engine_state.runs(found):
            engine.stop(name, _GRACE_SECONDS)
        engine.remove_container(name)

    def _need_image(self, name: str) -> str:
        """Return the id of an image that must be there."""
        found = self.engine.image(name)
        if found is None:
            raise S2DSException(
                f"image: the Docker engine {self.engine.address} has no image {name}: pull it there "
                f"(docker pull {name}), have the role scistream.gateway.docker load it, or set pull to missing"
            )
        return str(found["Id"])

    def _get_image(self, name: str) -> str:
        """Return the id of an image, pulled if that is allowed."""
        if self.settings.pull == "missing" and self.engine.image(name) is None:
            self.engine.pull(name)
        return self._need_image(name)

    def _options(self, task: Task, image: str, command: Sequence[str]) -> dict[str, Any]:
        return {
            "image": image,
            # Whatever the image would run otherwise.
            "entrypoint": list(command[:1]),
            "command": list(command[1:]),
            "user": f"{self.user(task)}:{self.group(task)}",
            "working_dir": self.directory(task),
            "environment": {"LANG": "C.UTF-8"},
            "stop_signal": "SIGTERM",
            "healthcheck": {"test": ["NONE"]},
        }

    def _host(self, task: Task, **more: Any) -> Any:
        run = f"{self.directory(task)}/run"
        options = container_limits.host_options(self.settings, task, run, self.user(task), self.group(task))
        return self.engine.host_config(**{**options, **more})


class _Reload(Control):
    """What a proxy may do in a reload: what it said before is no answer."""

    def __init__(self, runtime: EngineContainer, task: Task) -> None:
        self._runtime = runtime
        self._task = task
        self._since = runtime.last_line(task)

    def signal(self, number: int) -> None:
        self._runtime.signal(self._task, number)

    def log(self, lines: int = 10) -> list[str]:
        return self._runtime.log_since(self._task, self._since, lines)
