# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Containers of a Docker engine, independent of how files get into them."""

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
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Access, Control

if TYPE_CHECKING:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy

# Path of the data server's directory in containers. It differs from the path on the host, because a directory of the
# image, such as /root, might not be accessible for the program's user.
ROOT = "/var/lib/scistream"
DIRECTORY = "session"

_CHECK_SECONDS = 60


class EngineContainer(ManagedContainer):
    """A container of a Docker engine. Subclasses define how its files get into it.

    Attributes:
        sends_files: Whether files are sent through the engine.
    """

    sends_files: ClassVar[bool] = False

    @property
    def file_mode(self) -> int:
        """Mode of the data server's files."""
        return 0o600 if os.geteuid() and self.settings.container_user in (None, os.geteuid()) else 0o640

    def directory(self) -> str:
        """Return the path of the data server's directory in its container."""
        return f"{ROOT}/{DIRECTORY}"

    def owner(self) -> Sequence[int]:
        """Return the UID and GID that own the directory: those of this process and of the program."""
        return os.geteuid(), self.group()

    def access(self) -> Access:
        """Return who may access the files. The owner of ``run`` records the account of the program."""
        access = super().access()
        return access if os.geteuid() else access._replace(run=(self.user(), self.group(), 0o770))

    def secret_access(self) -> Sequence[int]:
        """Return UID, GID and mode of a secret. Only root can give it to another user."""
        own, group = self.owner()
        program = self.user()
        if os.geteuid() in (0, program):
            return program, group, 0o600
        return own, group, self.file_mode

    def check(self) -> None:
        """Refuse an engine that does not answer, cannot serve this host, or lacks the image and may not pull it."""
        limits.check(self.settings, self.task)
        container = self._inspect()
        if inspection.is_paused(container):
            raise S2DSException(self._explain(container))
        if container is None or self.is_on_other_engine():
            inspection.check_engine(self.engine, self.sends_files)
            if self.settings.pull == "never":
                self._require_image(self.settings.image)

    def start(self, command: Sequence[str]) -> None:
        """Create and start the container. The engine restarts it after crashes and reboots."""
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
        """Stop and remove the container. Returns whether it was running."""
        container = self._inspect()
        self._remove_container()
        return inspection.is_serving(container)

    def remove(self) -> bool:
        """Remove the container and everything that belongs to it. Returns whether there was anything."""
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
        """Return the reply of a proxy to a probe, or None without delay if its container is not running."""
        container = self._inspect()
        return self._probe_in(proxy, container) if container is not None and inspection.is_serving(container) else None

    def reload(self, proxy: Proxy) -> None:
        """Reload the changed configuration of a running proxy, and wait until it is in effect."""
        container = self._inspect()
        if container is None or not inspection.is_serving(container):
            raise S2DSException(f"the proxy cannot be reloaded: {self._explain(container)}")
        self._reload_in(proxy, container, _Reload(self))

    def is_running(self) -> bool:
        """Return whether the container is running and not paused."""
        return inspection.is_serving(self._inspect())

    def is_paused(self) -> bool:
        """Return whether the container is paused."""
        return inspection.is_paused(self._inspect())

    def has_current_settings(self) -> bool:
        """Return whether the container was created with the current settings."""
        container = self._inspect()
        return container is None or container["Config"]["Labels"].get("scistream.settings") == self._settings_digest()

    def check_room(self) -> None:
        """Refuse a reload that may exceed the container's limit of processes."""
        limits.check_room(self._current_engine().tasks(self.container()), self.task)

    def missing_listeners(self, listeners: Sequence[str], transport: str) -> str:
        """Return why this host does not have the listeners of the program; empty if it has them."""
        return inspection.missing_listeners(self._current_engine().address, listeners, transport)

    def signal(self, number: int) -> None:
        """Send a signal to the main process."""
        # If an engine sends the stop signal of a container, or none is set, this ends the restart policy. Therefore a
        # stop signal is set, and the policy is "always".
        self._current_engine().kill(self.container(), number)

    def has_failed(self) -> bool:
        """Return whether the program exited since the container was started, or the container was removed."""
        container = self._inspect()
        return container is None or bool(container.get("RestartCount")) or not inspection.is_serving(container)

    def log(self, lines: int = 10) -> list[str]:
        """Return the last lines of the program since its last start, and why it is not running."""
        container = self._inspect()
        if container is None:
            return [self._explain(container)]
        # Some of them may be older than the last start.
        output = inspection.recent_output(container, self._current_engine().log(self.container(), 2 * lines))[-lines:]
        return output if inspection.is_serving(container) else [*output, self._explain(container)]

    def log_since(self, since: int, lines: int) -> list[str]:
        """Return the last lines after a timestamp of the engine."""
        log = self._current_engine().log(self.container(), lines)
        return [text for at, text in log if inspection.timestamp(at) > since]

    def last_line(self) -> int:
        """Return the timestamp of the last line."""
        log = self._current_engine().log(self.container(), 1)
        return max((inspection.timestamp(at) for at, _text in log), default=0)

    def run_once(self, command: Sequence[str], directory: str) -> tuple[int, list[str]]:
        """Run the program in a separate container of the same image."""
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

    # -- what depends on whether the engine shares this host's files

    @abstractmethod
    def _probe_in(self, proxy: Proxy, container: dict[str, Any]) -> dict[str, Any] | None:
        """Probe a proxy in a running container."""

    @abstractmethod
    def _reload_in(self, proxy: Proxy, container: dict[str, Any], control: Control) -> None:
        """Reload a proxy in a running container."""

    @abstractmethod
    def _mounts(self) -> dict[str, Any]:
        """Return the mounts of the data server's directory."""

    @abstractmethod
    def _trial_mounts(self, directory: str) -> dict[str, Any]:
        """Return the mounts for a check of files in a directory of this process."""

    def _prepare(self) -> None:
        """Prepare for a new container."""

    def _fill(self) -> None:
        """Copy the data server's files into the container before it starts."""

    def _fill_trial(self, name: str, directory: str) -> None:
        """Copy files into a container for a check before it starts."""

    def _options(self, image: str, command: Sequence[str]) -> dict[str, Any]:
        return {
            "image": image,
            # Instead of the entrypoint of the image.
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
    """What a proxy may do during a reload. Only lines that it logs from now on count."""

    def __init__(self, runtime: EngineContainer) -> None:
        self._runtime = runtime
        self._since = runtime.last_line()

    def signal(self, number: int) -> None:
        self._runtime.signal(number)

    def log(self, lines: int = 10) -> list[str]:
        return self._runtime.log_since(self._since, lines)
