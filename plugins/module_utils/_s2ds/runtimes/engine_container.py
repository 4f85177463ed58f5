# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the containers of a Docker engine have in common, however their configuration gets into them."""

from __future__ import annotations

import hashlib
import json
import os
from abc import abstractmethod
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes import engine_notes
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.container_settings import (
    ContainerSettings,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.engine import Engine
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.proxy_container import ProxyContainer
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Task
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.site import Site
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.version import VERSION

if TYPE_CHECKING:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy

# Where containers have what is the instance's directory for their program. It is never the path that it has here: a
# directory on that way, such as /root, may be one of the image that the program's user cannot pass through.
ROOT = "/var/lib/scistream"
DIRECTORY = "session"

_CHECK_SECONDS = 60
_GRACE_SECONDS = 3


class EngineContainer(ProxyContainer):
    """A container of a Docker engine: everything but how the configuration gets into it."""

    def __init__(self, site: Site, settings: ContainerSettings) -> None:
        super().__init__(site, settings)
        self.engine = Engine(settings.engine)

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
        """Refuse where the engine does not answer, or has no image and may not get it."""
        if self._found(task) is None and self.settings.pull == "never":
            self._need_image(self.settings.image)

    def start(self, task: Task, command: Sequence[str]) -> None:
        """Make the container anew and start it; the engine starts it again after a crash and after a reboot."""
        self._leave_other_engine(task)
        self._remove_container(task)
        self._identify()
        self._prepare(task)
        engine_notes.write(self.site.directory(task.name), self.engine.address)
        name = self.container(task)
        image = self._get_image(self.settings.image)
        with self.engine.doing(f"make the container {name}"):
            self.engine.api.create_container(
                **self._options(task, image, command),
                name=name,
                labels=self._labels(task),
                host_config=self._host(task, restart_policy={"Name": "always"}, **self._mounts(task)),
            )
        try:
            self._fill(task)
            with self.engine.doing(f"start the container {name}"):
                self.engine.api.start(name)
        except BaseException:
            self.engine.remove_container(name)
            raise

    def stop(self, task: Task) -> bool:
        """End the container and remove it; returns whether it ran."""
        if self._leave_other_engine(task):
            return True
        found = self._found(task)
        self._remove_container(task)
        return bool(found and found["State"]["Running"])

    def remove(self, task: Task) -> bool:
        """End the container and remove it and what it had; returns whether there was anything."""
        if not self._has_ever_been():
            return False
        if self._leave_other_engine(task):
            return True
        found = self._found(task)
        self._remove_container(task)
        return found is not None

    def is_running(self, task: Task) -> bool:
        """Tell whether the container runs."""
        found = self._found(task)
        return bool(found and found["State"]["Running"])

    def is_as_set(self, task: Task) -> bool:
        """Tell whether the container was made with the settings that would be used now."""
        found = self._found(task)
        return found is None or found["Config"]["Labels"].get("scistream.settings") == self._settings_digest(task)

    def signal(self, task: Task, number: int) -> None:
        """Send a signal to the main process."""
        # A signal that the engine sends counts as "stopped by hand", and as the end of the restart policy, where it is
        # the container's stop signal or none is set: one is set, and the policy is "always".
        with self.engine.doing(f"send a signal to the container of {task.name}"):
            self.engine.api.kill(self.container(task), number)

    def has_failed(self, task: Task) -> bool:
        """Tell whether the program ended since the container was started, or the container is gone."""
        found = self._found(task)
        return found is None or found["RestartCount"] > 0 or not found["State"]["Running"]

    def log(self, task: Task, lines: int = 10) -> list[str]:
        """Return why the container does not run, if it does not, and the last lines of its log."""
        found = self._found(task)
        name = self.container(task)
        if found is None:
            return [f"there is no container {name} on the engine {self.engine.address}: the UPDATE again makes it anew"]
        state = found["State"]
        said = self.engine.log(name, lines)
        if state["Running"] and not state["Restarting"]:
            return said
        return [
            *said,
            f"the container {name} is {state['Status']}, exit status {state['ExitCode']} {state['Error']}".strip(),
        ]

    def run_once(self, task: Task, command: Sequence[str], directory: str) -> tuple[int, list[str]]:
        """Run the program in a container of its own, of the image that the instance has or will have."""
        found = self._found(task)
        image = found["Image"] if found else self._get_image(self.settings.image)
        self._identify()
        name = f"{self.container(task)}-check"
        self.engine.remove_container(name)
        with self.engine.doing(f"make the container {name}"):
            self.engine.api.create_container(
                **self._options(task, image, command),
                name=name,
                labels={**self._labels(task), "scistream.purpose": "check"},
                host_config=self._host(task, **self._trial_mounts(directory)),
            )
        try:
            self._fill_trial(task, name, directory)
            with self.engine.doing(f"run the container {name}"):
                self.engine.api.start(name)
                ended = self.engine.api.wait(name, timeout=_CHECK_SECONDS)
            return int(ended["StatusCode"]), [line for line in self.engine.log(name, 200) if line.strip()]
        finally:
            self.engine.remove_container(name)

    # -- what differs between an engine that sees this file system and one that does not

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

    # -- names

    def container(self, task: Task) -> str:
        """Return the name of the container: the instance's, and what tells this S2CS from others on the engine."""
        digest = hashlib.sha256(f"{self._identity()} {task.name}".encode()).hexdigest()
        return f"scistream-{task.name}-{digest[:8]}"

    def _identity(self) -> str:
        return engine_notes.identity(self.site)

    def _identify(self) -> None:
        engine_notes.identify(self.site)

    def _has_ever_been(self) -> bool:
        """Tell whether this S2CS ever had a container; without one the engine need not be asked."""
        return bool(self._identity())

    def _labels(self, task: Task) -> dict[str, str]:
        role, _separator, uid = task.name.partition("-")
        return {
            "scistream.name": task.name,
            "scistream.role": role,
            "scistream.uid": uid,
            "scistream.s2cs": self._identity(),
            "scistream.state_dir": "" if self.site.identity else self.site.state_dir,
            "scistream.runtime": self.name,
            "scistream.version": VERSION,
            "scistream.settings": self._settings_digest(task),
        }

    def _settings_digest(self, task: Task) -> str:
        settings = asdict(replace(self.settings, pull="", helper_image=""))
        document = json.dumps([self.name, task.unit, settings], sort_keys=True)
        return hashlib.sha256(document.encode()).hexdigest()[:16]

    # -- the engine

    def _leave_other_engine(self, task: Task) -> bool:
        """Remove what an instance has on another engine than the one of now; returns whether it was on another one."""
        address = engine_notes.read(self.site.directory(task.name))
        if not address or address == self.engine.address:
            return False
        type(self)(self.site, replace(self.settings, engine=address)).remove(task)
        return True

    def _found(self, task: Task) -> dict[str, Any] | None:
        """Return the container of an instance, or None."""
        if not self._has_ever_been():
            # Whether the engine answers is worth knowing all the same.
            self.engine.ping()
            return None
        return self.engine.container(self.container(task))

    def _remove_container(self, task: Task) -> None:
        found = self._found(task)
        name = self.container(task)
        if self._has_ever_been():
            # Checks and helpers of actions that were killed.
            for left in self.engine.labelled(s2cs=self._identity(), name=task.name, purpose=None):
                self.engine.remove_container(left)
        if found is None:
            return
        if found["Config"]["Labels"].get("scistream.s2cs") != self._identity():
            raise S2DSException(f"the container {name} is somebody else's: remove it, or name this instance otherwise")
        with self.engine.doing(f"stop the container {name}"), suppress(self.engine.errors.NotFound):
            self.engine.api.stop(name, timeout=_GRACE_SECONDS)
        self.engine.remove_container(name)

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
        settings = self.settings
        limits = [{"Name": "nofile", "Soft": settings.nofile, "Hard": settings.nofile}] if settings.nofile else []
        return self.engine.api.create_host_config(
            network_mode="host",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            mem_limit=settings.memory << 20,
            memswap_limit=settings.memory << 20,
            pids_limit=settings.pids,
            ulimits=limits,
            log_config={
                "Type": "json-file",
                "Config": {"max-size": f"{settings.log_size}m", "max-file": str(settings.log_files)},
            },
            **more,
        )
