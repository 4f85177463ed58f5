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
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker import inspection, limits
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.managed_container import (
    ManagedContainer,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Control

if TYPE_CHECKING:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy

# Where containers have what is the instance's directory for their program. It is never the path that it has here: a
# directory on that way, such as /root, may be one of the image that the program's user cannot pass through.
ROOT = "/var/lib/scistream"
DIRECTORY = "session"

_CHECK_SECONDS = 60


class EngineContainer(ManagedContainer):
    """A container of a Docker engine: everything but how the configuration gets into it.

    Attributes:
        sends_files: Whether it gets into it through the engine.
    """

    sends_files: ClassVar[bool] = False

    @property
    def file_mode(self) -> int:
        """Mode of an instance's files."""
        return 0o600 if os.geteuid() and self.settings.container_user in (None, os.geteuid()) else 0o640

    def directory(self) -> str:
        """Return the path of the instance's directory in its container."""
        return f"{ROOT}/{DIRECTORY}"

    def owner(self) -> Sequence[int]:
        """Return who owns an instance's directory: ourselves, and the group that the program runs as."""
        return os.geteuid(), self.group()

    def secret_access(self) -> Sequence[int]:
        """Return user, group and mode of a secret; only root can give it to another user than itself."""
        own, group = self.owner()
        program = self.user()
        if os.geteuid() in (0, program):
            return program, group, 0o600
        return own, group, self.file_mode

    def check(self) -> None:
        """Refuse where the engine does not answer or cannot serve this host, or has no image and may not get it."""
        limits.check(self.settings, self.task)
        container = self._inspect()
        if inspection.is_paused(container):
            raise S2DSException(self._explain(container))
        if container is None or self.is_on_other_engine():
            inspection.check_engine(self.engine, self.sends_files)
            if self.settings.pull == "never":
                self._require_image(self.settings.image)

    def start(self, command: Sequence[str]) -> None:
        """Create the container again and start it; the engine restarts it after a crash and after a reboot."""
        image = self._get_image(self.settings.image)
        if self.is_on_other_engine():
            type(self)(self.layout, self.task, replace(self.settings, engine=self._current_engine().address)).remove()
        else:
            self._remove_container()
        self._ensure_identity()
        self._record_engine()
        self._prepare()
        name = self.container()
        self.engine.create(
            name,
            **self._options(image, command),
            labels=self._labels(),
            host_config=self._host(restart_policy={"Name": "always"}, **self._mounts()),
        )
        try:
            self._fill()
            self.engine.start(name)
        except BaseException:
            self.engine.remove_container(name)
            raise

    def stop(self) -> bool:
        """End the container and remove it; returns whether it ran."""
        container = self._inspect()
        self._remove_container()
        return inspection.is_serving(container)

    def remove(self) -> bool:
        """End the container and remove it and what it had; returns whether there was anything."""
        if not self._may_exist():
            return False
        try:
            container = self._inspect()
        except S2DSException as error:
            if not self.is_on_other_engine():
                raise
            raise S2DSException(
                f"{error}; it runs the container of {self.task.name}, but the policy now names {self.engine.address}: "
                f"if the former engine is gone for good, remove the file {self._engine_file()} and release again"
            ) from None
        self._remove_container()
        return container is not None

    def probe(self, proxy: Proxy) -> dict[str, Any] | None:
        """Return the status that a proxy reports, or None immediately if its container is not running."""
        container = self._inspect()
        return self._ask(proxy, container) if container is not None and inspection.is_serving(container) else None

    def reload(self, proxy: Proxy) -> None:
        """Have a running proxy take over its changed configuration, and wait until it is in force."""
        container = self._inspect()
        if container is None or not inspection.is_serving(container):
            raise S2DSException(f"the proxy cannot be reloaded: {self._explain(container)}")
        self._reload(proxy, container, _Reload(self))

    def is_running(self) -> bool:
        """Tell whether the container runs, and is not paused."""
        return inspection.is_serving(self._inspect())

    def is_paused(self) -> bool:
        """Tell whether the container is paused."""
        return inspection.is_paused(self._inspect())

    def has_current_settings(self) -> bool:
        """Tell whether the container was made with the settings that would be used now."""
        container = self._inspect()
        return container is None or container["Config"]["Labels"].get("scistream.settings") == self._settings_digest()

    def check_room(self) -> None:
        """Refuse a reload for which the container may have too few processes."""
        limits.check_room(self._current_engine().tasks(self.container()), self.task)

    def missing_listeners(self, listeners: Sequence[str], transport: str) -> str:
        """Say which listeners of the program this host does not have; empty where it has all."""
        return inspection.missing_listeners(self._current_engine().address, listeners, transport)

    def signal(self, number: int) -> None:
        """Send a signal to the main process."""
        # A signal that the engine sends counts as "stopped by hand", and as the end of the restart policy, where it is
        # the container's stop signal or none is set: one is set, and the policy is "always".
        self._current_engine().kill(self.container(), number)

    def has_failed(self) -> bool:
        """Tell whether the program ended since the container was started, or the container is gone."""
        container = self._inspect()
        return container is None or bool(container.get("RestartCount")) or not inspection.is_serving(container)

    def log(self, lines: int = 10) -> list[str]:
        """Return what the program wrote last since its last start, and why it does not run, if it does not."""
        container = self._inspect()
        if container is None:
            return [self._explain(container)]
        # More than the lines asked for may be of before.
        output = inspection.recent_output(container, self._current_engine().log(self.container(), 2 * lines))[-lines:]
        return output if inspection.is_serving(container) else [*output, self._explain(container)]

    def log_since(self, since: int, lines: int) -> list[str]:
        """Return the last lines that were written after a moment of the engine's clock."""
        log = self._current_engine().log(self.container(), lines)
        return [text for at, text in log if inspection.timestamp(at) > since]

    def last_line(self) -> int:
        """Return the moment at which the last line was written."""
        log = self._current_engine().log(self.container(), 1)
        return max((inspection.timestamp(at) for at, _text in log), default=0)

    def run_once(self, command: Sequence[str], directory: str) -> tuple[int, list[str]]:
        """Run the program in a container of its own, of the image that the instance has or will have."""
        container = None if self.is_on_other_engine() else self._inspect()
        image = str(container["Image"]) if container else self._get_image(self.settings.image)
        self._ensure_identity()
        name = f"{self.container()}-check"
        self.engine.remove_container(name)
        self.engine.create(
            name,
            **self._options(image, command),
            labels={**self._labels(), "scistream.purpose": "check"},
            host_config=self._host(**self._trial_mounts(directory)),
        )
        try:
            self._fill_trial(name, directory)
            self.engine.start(name)
            status = self.engine.wait(name, _CHECK_SECONDS)
            return status, [line for _at, line in self.engine.log(name, 200) if line.strip()]
        finally:
            self.engine.remove_container(name)

    # -- what differs between an engine that sees this file system and one that does not

    @abstractmethod
    def _ask(self, proxy: Proxy, container: dict[str, Any]) -> dict[str, Any] | None:
        """Query a proxy in a running container."""

    @abstractmethod
    def _reload(self, proxy: Proxy, container: dict[str, Any], control: Control) -> None:
        """Have a proxy in a container that runs take over its changed configuration."""

    @abstractmethod
    def _mounts(self) -> dict[str, Any]:
        """Return how the container sees the directory of its instance."""

    @abstractmethod
    def _trial_mounts(self, directory: str) -> dict[str, Any]:
        """Return how a container sees, as its instance's, a directory of this process in which something is tried."""

    def _prepare(self) -> None:
        """Make room for a new container."""

    def _fill(self) -> None:
        """Put the instance's files into the container before it starts."""

    def _fill_trial(self, name: str, directory: str) -> None:
        """Put files into a container that tries something, before it starts."""

    def _options(self, image: str, command: Sequence[str]) -> dict[str, Any]:
        return {
            "image": image,
            # Whatever the image would run otherwise.
            "entrypoint": list(command[:1]),
            "command": list(command[1:]),
            "user": f"{self.user()}:{self.group()}",
            "working_dir": self.directory(),
            "environment": {"LANG": "C.UTF-8"},
            "stop_signal": "SIGTERM",
            "healthcheck": {"test": ["NONE"]},
        }

    def _host(self, **more: Any) -> Any:
        run = f"{self.directory()}/run"
        options = limits.host_options(self.settings, self.task, run, self.user(), self.group())
        return self.engine.host_config(**{**options, **more})


class _Reload(Control):
    """What a proxy may do in a reload: what it logged before does not count."""

    def __init__(self, runtime: EngineContainer) -> None:
        self._runtime = runtime
        self._since = runtime.last_line()

    def signal(self, number: int) -> None:
        self._runtime.signal(number)

    def log(self, lines: int = 10) -> list[str]:
        return self._runtime.log_since(self._since, lines)
