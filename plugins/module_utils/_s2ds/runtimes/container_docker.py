# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runtime ``docker``: a container on an engine that shares this host, its files, its processes and its sockets."""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.container_settings import (
    ContainerSettings,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.engine_container import (
    DIRECTORY,
    ROOT,
    EngineContainer,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Place, Task
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.site import Site


class Docker(EngineContainer):
    """The instance's directory is mounted into the container: read-only, but for its part ``run``."""

    name = "docker"

    def __init__(self, site: Site, settings: ContainerSettings) -> None:
        super().__init__(site, settings)
        if settings.engine.startswith("ssh:"):
            raise S2DSException(
                f"engine: {settings.engine} does not share the files of this host; choose the runtime dockersock for it"
            )

    def _mounts(self, task: Task) -> dict[str, Any]:
        return self._trial_mounts(self.site.directory(task.name))

    def _trial_mounts(self, directory: str) -> dict[str, Any]:
        run, inside = os.path.join(directory, "run"), f"{ROOT}/{DIRECTORY}"
        # Unlike "binds" these never make a directory that is missing on the engine's side.
        return {
            "mounts": [
                {"Type": "bind", "Source": directory, "Target": inside, "ReadOnly": True},
                {"Type": "bind", "Source": run, "Target": f"{inside}/run", "ReadOnly": False},
            ]
        }

    def _place(self, task: Task) -> Place:
        directory = self.site.directory(task.name)
        found = self._found(task)
        main = int(found["State"]["Pid"]) if found and found["State"]["Running"] else 0
        return Place(directory, directory, lambda number: _outer_pid(main, number))


def _outer_pid(main: int, inner: int) -> int | None:
    """Return the process id on this host of a process in the namespace of a container's main process."""
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
