# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runtime ``docker``: a container on an engine that shares files, processes and sockets with this host."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.container import (
    DIRECTORY,
    ROOT,
    EngineContainer,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.settings import ContainerSettings
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Control, Place, Task

if TYPE_CHECKING:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy

_INSIDE = f"{ROOT}/{DIRECTORY}"


class Docker(EngineContainer):
    """The data server's directory is mounted into the container read-only, except for the subdirectory ``run``.

    That subdirectory is a separate file system in memory, so that a program can neither fill the disk nor affect
    others. The connection log, which must survive the program, is a file of the directory on the host, with a limited
    size.
    """

    name = "docker"

    def __init__(self, layout: Layout, task: Task, settings: ContainerSettings) -> None:
        super().__init__(layout, task, settings)
        if settings.engine.startswith("ssh:"):
            raise S2DSException(
                f"engine: {settings.engine} does not share the files of this host; choose the runtime dockersock for it"
            )

    def _mounts(self) -> dict[str, Any]:
        directory = self.home
        kept = [_bind(os.path.join(directory, name), f"{_INSIDE}/{name}", False) for name in self.task.persistent_files]
        return {"mounts": [_bind(directory, _INSIDE, True), *kept]}

    def _trial_mounts(self, directory: str) -> dict[str, Any]:
        return {"mounts": [_bind(directory, _INSIDE, True)]}

    def _prepare(self) -> None:
        """Create the persistent files that are mounted into the container."""
        run = os.stat(os.path.join(self.home, "run"))
        for name in self.task.persistent_files:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with suppress(FileExistsError):
                descriptor = os.open(os.path.join(self.home, name), flags, 0o600)
                try:
                    if name.endswith(".json"):
                        os.write(descriptor, b"null\n")
                    os.fchown(descriptor, run.st_uid, run.st_gid)
                    os.fchmod(descriptor, self.file_mode | (self.file_mode & 0o040) >> 1)
                finally:
                    os.close(descriptor)

    def _options(self, image: str, command: Sequence[str]) -> dict[str, Any]:
        # If a log is full, lines are lost, but the program continues.
        patient = ["/bin/sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"] if self.task.persistent_files else []
        return super()._options(image, [*patient, *command])

    def _probe_in(self, proxy: Proxy, container: dict[str, Any]) -> dict[str, Any] | None:
        return proxy.probe(self._place_in(container))

    def _reload_in(self, proxy: Proxy, container: dict[str, Any], control: Control) -> None:
        proxy.reload(self._place_in(container), control)

    def _place_in(self, container: dict[str, Any]) -> Place:
        """Return the data server's files as its program sees them, because its file systems differ from the host's."""
        main = int(container["State"]["Pid"])
        directory = self.home
        return Place(f"/proc/{main}/root{_INSIDE}", directory, lambda number: _outer_pid(main, number))


def _bind(source: str, target: str, read_only: bool) -> dict[str, Any]:
    # Unlike "binds", mounts never create a missing directory on the engine's host.
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": read_only}


def _outer_pid(main: int, inner: int) -> int | None:
    """Return the PID on this host of a process in the PID namespace of a container.

    Args:
        main: PID on this host of the container's main process.
        inner: PID in the container.
    """
    if not main or inner < 1:
        return None
    try:
        namespace = os.readlink(f"/proc/{main}/ns/pid")
    except OSError:
        return None
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if os.readlink(f"/proc/{name}/ns/pid") == namespace and _inner_pid(name) == inner:
                return int(name)
        except OSError:
            continue
    return None


def _inner_pid(name: str) -> int:
    with open(f"/proc/{name}/status", encoding="utf-8", errors="replace") as stream:
        return next((int(line.split()[-1]) for line in stream if line.startswith("NSpid:")), 0)
