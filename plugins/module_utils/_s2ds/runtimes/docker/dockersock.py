# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runtime ``dockersock``: a container on an engine that shares neither files nor processes with this host.

S2CS runs in a container with a mounted socket of the engine, or on another host. Files are sent through the engine into
a volume of the container, and a helper container next to it observes the proxy.
"""

from __future__ import annotations

import os
import tarfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Iterator, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import credentials
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker import inspection
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.container import (
    DIRECTORY,
    ROOT,
    EngineContainer,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.engine import Engine
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.managed_container import (
    ENGINE_FILE,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.probe_helper import Helper
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.probe_helper_main import (
    NOTES as HELPER_NOTES,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.settings import ContainerSettings
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Control, Task

if TYPE_CHECKING:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy

_VOLUME_SECONDS = 10.0
# Notes of the proxy among the files of the data server.
NOTES = ("counters.json",)
_MAX_NOTE_SIZE = 1 << 20
_HELPER_MEMORY = 256 << 20


class DockerSock(EngineContainer):
    """The data server's directory is copied into a volume. The program can only write to the subdirectory ``run``."""

    name = "dockersock"
    sends_files = True

    def __init__(self, layout: Layout, task: Task, settings: ContainerSettings) -> None:
        super().__init__(layout, task, settings)
        self._helper: Helper | None = None

    def check(self) -> None:
        """Also refuse to continue without the image of the helper."""
        super().check()
        if self.settings.pull == "never":
            self._require_image(self.settings.helper_image)

    def deliver(self) -> None:
        """Replace the files in the container, if it exists."""
        if self._may_exist() and self._inspect() is not None:
            self._put(self._current_engine(), self.container(), self.home)

    def fetch(self, names: Sequence[str]) -> None:
        """Copy existing files of a data server from the engine into its directory on this host."""
        engine, name = self._current_engine(), self.container()
        if self._inspect() is not None:
            self._fetch(engine, name, names)
        elif engine.volume(name):
            self._fetch_from_volume(engine, names)

    def remove(self) -> bool:
        """Also remove the volume."""
        removed = super().remove()
        return self._remove_volume() or removed

    def _probe_in(self, proxy: Proxy, container: dict[str, Any]) -> dict[str, Any] | None:
        try:
            answer: dict[str, Any] | None = self._help(container, "probe", proxy)
        except S2DSException:
            # If the container has just ended, the helper has ended with it.
            now = self._inspect()
            if now is not None and inspection.is_serving(now) and now["State"]["Pid"] == container["State"]["Pid"]:
                raise
            return None
        return answer

    def _reload_in(self, proxy: Proxy, container: dict[str, Any], control: Control) -> None:
        self._help(container, "reload", proxy, control)

    def compact_log(self, proxy: Proxy) -> None:
        """Have the helper compact the log."""
        container = self._inspect()
        if container is not None and inspection.is_serving(container):
            self._help(container, "compact_log", proxy)

    def _help(self, container: dict[str, Any], operation: str, proxy: Proxy, control: Control | None = None) -> Any:
        """Send a request to the helper. If it fails, the helper is removed."""
        before = self._notes()
        try:
            answer, notes = self._helper_of(container).ask(operation, proxy.name, self.directory(), before, control)
        except BaseException:
            with suppress(S2DSException):
                self._end_helper()
            raise
        if notes != before:
            self._write_notes(notes)
        return answer

    def _helper_of(self, container: dict[str, Any]) -> Helper:
        """Return the helper, creating it if there is none. It runs as root with the two capabilities that it needs.

        The program can neither stop the helper nor change its answers. The helper only writes the notes of the proxy,
        in memory.
        """
        observed = (str(container["Id"]), str(container["State"].get("StartedAt")))
        if self._helper is None or self._helper.observed != observed:
            self._end_helper()
            options = {
                "image": self._get_image(self.settings.helper_image),
                "user": "0:0",
                "labels": {**self._labels(), "scistream.purpose": "helper"},
                "host_config": self._host(
                    auto_remove=True,
                    pid_mode=f"container:{observed[0]}",
                    cap_add=["DAC_OVERRIDE", "SYS_PTRACE"],
                    tmpfs={HELPER_NOTES: "rw,noexec,nosuid,nodev,size=4m,mode=0700"},
                    pids_limit=16,
                    mem_limit=_HELPER_MEMORY,
                    memswap_limit=_HELPER_MEMORY,
                ),
            }
            self._helper = Helper(self._current_engine(), observed, options)
        return self._helper

    def _notes(self) -> dict[str, str]:
        notes = {}
        for name in NOTES:
            with suppress(FileNotFoundError), open(self._path(name), encoding="utf-8") as stream:
                notes[name] = stream.read(_MAX_NOTE_SIZE)
        return notes

    def _write_notes(self, notes: dict[str, str]) -> None:
        for name in NOTES:
            if name in notes:
                self._write(name, notes[name].encode())
        if self.layout.identity:
            # Nothing is stored on this host between two calls.
            self.deliver()

    def _path(self, name: str) -> str:
        return os.path.join(self.home, name)

    def _write(self, name: str, content: bytes) -> None:
        os.makedirs(self.home, exist_ok=True)
        path = self._path(name)
        with open(os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(content)
        os.rename(f"{path}.new", path)

    def _end_helper(self) -> None:
        if self._helper is not None:
            self._helper.end()
            self._helper = None

    def _remove_container(self) -> None:
        # The helper shares the container's PID namespace and volume.
        self._end_helper()
        super()._remove_container()

    def _remove_volume(self) -> bool:
        engine, name = self._current_engine(), self.container()
        if not self._may_exist() or not engine.volume(name):
            return False
        deadline = time.monotonic() + _VOLUME_SECONDS
        while True:
            try:
                engine.remove_volume(name)
                return True
            except S2DSException:
                # Another process is observing the data server. Its helper ends by itself.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _fetch(self, engine: Engine, container: str, names: Sequence[str]) -> None:
        for name in names:
            content = engine.get(container, f"{self.directory()}/{name}")
            if content is not None:
                self._write(name, content)

    def _fetch_from_volume(self, engine: Engine, names: Sequence[str]) -> None:
        """Read the volume of a data server without a container, using a container that is never started."""
        name = f"{self.container()}-check"
        engine.remove_container(name)
        engine.create(
            name,
            image=self._get_image(self.settings.image),
            labels=self._labels(),
            command=["true"],
            host_config=self._host(**self._mounts()),
        )
        try:
            self._fetch(engine, name, names)
        finally:
            engine.remove_container(name)

    # -- files in containers

    def _mounts(self) -> dict[str, Any]:
        options = {"Labels": self._labels(), "NoCopy": True}
        return {
            "mounts": [
                {"Type": "volume", "Source": self.container(), "Target": ROOT, "VolumeOptions": options},
            ]
        }

    def _trial_mounts(self, directory: str) -> dict[str, Any]:
        return {"mounts": [{"Type": "volume", "Target": ROOT, "VolumeOptions": {"NoCopy": True}}]}

    def _prepare(self) -> None:
        # So that no earlier file is left, such as a key.
        self._remove_volume()

    def _fill(self) -> None:
        self._put(self.engine, self.container(), self.home)

    def _fill_trial(self, name: str, directory: str) -> None:
        self._put(self.engine, name, directory)

    def _put(self, engine: Engine, name: str, directory: str) -> None:
        engine.put(name, ROOT, self._entries(directory, self.user(), self.group()))

    @staticmethod
    def _entries(directory: str, user: int, group: int) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
        """Return the files of a directory as they are sent to a container: owned by root, readable by the program."""

        def entry(path: str, mode: int, kind: bytes) -> tarfile.TarInfo:
            info = tarfile.TarInfo(path)
            info.mode, info.type, info.gid, info.mtime = mode, kind, group, int(time.time())
            return info

        yield entry(DIRECTORY, 0o750, tarfile.DIRTYPE), b""
        yield entry(f"{DIRECTORY}/run", 0o770, tarfile.DIRTYPE), b""
        for name in sorted(os.listdir(directory)):
            path = os.path.join(directory, name)
            if os.path.isfile(path) and not name.endswith(".new") and name != ENGINE_FILE:
                info = entry(f"{DIRECTORY}/{name}", 0o640, tarfile.REGTYPE)
                if name == credentials.KEY:
                    info.uid, info.mode = user, 0o600
                with open(path, "rb") as stream:
                    yield info, stream.read()
