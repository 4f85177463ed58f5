# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runtime ``dockersock``: a container on an engine that sees neither our files nor we its processes.

S2CS acts from inside a container through a mounted socket, or from another host. The configuration goes in through the
engine, into a volume of the container's own, and a helper beside the container looks at the proxy for us.
"""

from __future__ import annotations

import os
import tarfile
import time
from typing import TYPE_CHECKING, Any, Iterator

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import credentials
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes import engine_notes
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.container_settings import (
    ContainerSettings,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.engine_container import (
    DIRECTORY,
    ROOT,
    EngineContainer,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.helper import Helper
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Task
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.site import Site

if TYPE_CHECKING:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy

_VOLUME_SECONDS = 10.0


class DockerSock(EngineContainer):
    """The instance's directory is copied into a volume, of which the program can write the part ``run`` only."""

    name = "dockersock"

    def __init__(self, site: Site, settings: ContainerSettings) -> None:
        super().__init__(site, settings)
        self._helper: Helper | None = None

    def check(self, task: Task, proxy: Proxy) -> None:
        """Refuse also where the image of the helper is missing."""
        super().check(task, proxy)
        if self.settings.pull == "never":
            self._need_image(self.settings.helper_image)

    def deliver(self, task: Task) -> None:
        """Replace the files in the container, if there is one."""
        if self._has_ever_been() and self._found(task) is not None:
            self._put(self.container(task), task, self.site.directory(task.name))

    def fetch(self, task: Task) -> None:
        """Write the files that an instance has on the engine into its directory here, if it has any."""
        name = self.container(task)
        if self._found(task) is not None:
            files = self.engine.get(name, self.directory(task))
        elif self.engine.volume(name):
            files = self._get_from_volume(task)
        else:
            return
        os.makedirs(self.site.directory(task.name), exist_ok=True)
        for path, content in (files or {}).items():
            if "/" in path:
                continue
            target = os.path.join(self.site.directory(task.name), path)
            with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
                stream.write(content)

    def remove(self, task: Task) -> bool:
        """Remove the volume as well."""
        removed = super().remove(task)
        return self._remove_volume(task) or removed

    def probe(self, task: Task, proxy: Proxy) -> dict[str, Any] | None:
        """Have the helper ask the proxy."""
        found = self._found(task)
        if found is None or not found["State"]["Running"] or found["State"]["Restarting"]:
            return None
        try:
            answer: dict[str, Any] | None = self._help(task, found).ask("probe", proxy.name, self.directory(task))
        except S2DSException:
            # Where the container ended a moment ago, the helper ended with it.
            again = self._found(task)
            if again is not None and again["State"]["Running"] and again["State"]["Pid"] == found["State"]["Pid"]:
                raise
            return None
        return answer

    def reload(self, task: Task, proxy: Proxy) -> None:
        """Have the helper reload the proxy."""
        found = self._found(task)
        if found is None:
            raise S2DSException(f"the container of {task.name} is gone, so it cannot be told anything")
        self._help(task, found).ask("reload", proxy.name, self.directory(task), lambda lines: self.log(task, lines))

    def tidy(self, task: Task, proxy: Proxy) -> None:
        """The helper does that, where the log is."""

    def _help(self, task: Task, found: dict[str, Any]) -> Helper:
        beside = (str(found["Id"]), str(found["State"]["StartedAt"]))
        if self._helper is None or self._helper.beside != beside:
            self._end_helper()
            image = self._get_image(self.settings.helper_image)
            host = self._host(
                task, auto_remove=True, pid_mode=f"container:{beside[0]}", volumes_from=[f"{beside[0]}:rw"]
            )
            options = {"user": f"{self.user(task)}:{self.group(task)}", "host_config": host, "image": image}
            labels = {**self._labels(task), "scistream.purpose": "helper"}
            self._helper = Helper(self.engine, beside, {**options, "labels": labels})
        return self._helper

    def _end_helper(self) -> None:
        if self._helper is not None:
            self._helper.end()
            self._helper = None

    def _remove_container(self, task: Task) -> None:
        # It shares the container's processes and volume.
        self._end_helper()
        super()._remove_container(task)

    def _remove_volume(self, task: Task) -> bool:
        name = self.container(task)
        if not self._has_ever_been() or not self.engine.volume(name):
            return False
        deadline = time.monotonic() + _VOLUME_SECONDS
        while True:
            try:
                self.engine.remove_volume(name)
                return True
            except S2DSException:
                # Somebody looks at the instance just now; a helper of theirs ends by itself.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _get_from_volume(self, task: Task) -> dict[str, bytes] | None:
        """Read the volume of an instance that has no container, by a container that is never started."""
        name = f"{self.container(task)}-check"
        self.engine.remove_container(name)
        image = self._get_image(self.settings.image)
        with self.engine.doing(f"make the container {name}"):
            self.engine.api.create_container(
                image=image,
                name=name,
                labels=self._labels(task),
                command=["true"],
                host_config=self._host(task, **self._mounts(task)),
            )
        try:
            return self.engine.get(name, self.directory(task))
        finally:
            self.engine.remove_container(name)

    # -- how files get into containers

    def _mounts(self, task: Task) -> dict[str, Any]:
        options = {"Labels": self._labels(task), "NoCopy": True}
        return {
            "mounts": [
                {"Type": "volume", "Source": self.container(task), "Target": ROOT, "VolumeOptions": options},
            ]
        }

    def _trial_mounts(self, directory: str) -> dict[str, Any]:
        return {"mounts": [{"Type": "volume", "Target": ROOT, "VolumeOptions": {"NoCopy": True}}]}

    def _prepare(self, task: Task) -> None:
        # So that no file of the past is left, such as a key.
        self._remove_volume(task)

    def _fill(self, task: Task) -> None:
        self._put(self.container(task), task, self.site.directory(task.name))

    def _fill_trial(self, task: Task, name: str, directory: str) -> None:
        self._put(name, task, directory)

    def _put(self, name: str, task: Task, directory: str) -> None:
        self.engine.put(name, ROOT, self._entries(directory, self.user(task), self.group(task)))

    @staticmethod
    def _entries(directory: str, user: int, group: int) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
        """Return the files of a directory as they are to be in a container: root's, and readable by the program."""

        def entry(path: str, mode: int, kind: bytes) -> tarfile.TarInfo:
            found = tarfile.TarInfo(path)
            found.mode, found.type, found.gid, found.mtime = mode, kind, group, int(time.time())
            return found

        yield entry(DIRECTORY, 0o750, tarfile.DIRTYPE), b""
        yield entry(f"{DIRECTORY}/run", 0o770, tarfile.DIRTYPE), b""
        for name in sorted(os.listdir(directory)):
            path = os.path.join(directory, name)
            if os.path.isfile(path) and not name.endswith(".new") and name != engine_notes.ENGINE:
                found = entry(f"{DIRECTORY}/{name}", 0o640, tarfile.REGTYPE)
                if name == credentials.KEY:
                    found.uid, found.mode = user, 0o600
                with open(path, "rb") as stream:
                    yield found, stream.read()
