# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The operations of a Docker engine. Every failure is one error that includes the engine's address."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress
from typing import Any, Callable, Iterable, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.deadline import Answer, read_bounded
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.client import (
    TIMEOUTS,
    Connection,
    NotFoundError,
    Timeouts,
    one_line,
)

_PULL_SECONDS = 1800.0
# Configurations, keys and notes are small.
_MAX_FILE_SIZE = 1 << 20
_MAX_LOG_SIZE = 4 << 20


class Engine:
    """A Docker engine. It connects on the first call, and must only be used by one thread at a time.

    Args:
        address: ``unix:///path``, ``tcp://host:port`` or ``ssh://user@host``.
        timeouts: Time limits.
    """

    def __init__(self, address: str, timeouts: Timeouts = TIMEOUTS) -> None:
        self.address = address
        self._timeouts = timeouts
        self._connection = Connection(address, timeouts)

    # -- queries

    def ping(self) -> None:
        """Verify that the engine answers.

        Raises:
            S2DSException: It does not.
        """
        self._connection.call("answer", lambda api: None)

    def security(self) -> list[str]:
        """Return the names of its security options, such as ``rootless`` and ``userns``."""
        found = self._mapping("describe itself", lambda api: api.info()) or {}
        options = found.get("SecurityOptions") or []
        return [str(item).partition("name=")[2].partition(",")[0] for item in options if "name=" in str(item)]

    def container(self, name: str) -> dict[str, Any] | None:
        """Return the engine's description of a container, or None if it does not exist."""
        what = f"inspect the container {name}"
        found = self._mapping(what, lambda api: api.inspect_container(name))
        if found is None:
            return None
        for part in ("State", "Config", "HostConfig"):
            self._check(what, found.get(part), Mapping)
        self._check(what, found["Config"].get("Labels") or {}, Mapping)
        self._check(what, found["State"].get("Pid"), int)
        return found

    def image(self, name: str) -> dict[str, Any] | None:
        """Return the engine's description of an image, or None if it does not exist."""
        return self._mapping(f"inspect the image {name}", lambda api: api.inspect_image(name))

    def volume(self, name: str) -> bool:
        """Return whether a volume exists."""
        return self._mapping(f"inspect the volume {name}", lambda api: api.inspect_volume(name)) is not None

    def labelled(self, **labels: str | None) -> list[str]:
        """Return the IDs of containers, running or not, with our labels. None matches any value."""
        wanted = [f"scistream.{key}" + ("" if value is None else f"={value}") for key, value in labels.items()]
        what = "look for containers"
        found = self._connection.call(what, lambda api: api.containers(all=True, filters={"label": wanted}))
        return [str(self._check(what, item, Mapping)["Id"]) for item in self._check(what, found, list)]

    def log(self, name: str, lines: int) -> list[tuple[str, str]]:
        """Return the last lines of a container's log, each with its timestamp."""
        what = f"read the log of the container {name}"
        options = {"stdout": True, "stderr": True, "timestamps": True, "tail": lines, "follow": False, "stream": True}

        def ask(api: Any) -> bytes:
            return read_bounded(api.logs(name, **options), _MAX_LOG_SIZE)

        text = self._connection.call(what, ask).decode("utf-8", "replace")
        return [(at, output) for at, _space, output in (line.partition(" ") for line in text.splitlines())]

    def tasks(self, name: str) -> tuple[int, int] | None:
        """Return the number of a container's processes and threads, and their limit, or None if it is not reported."""
        what = f"count the processes of the container {name}"
        found = self._mapping(what, lambda api: _statistics(api, name)) or {}
        counted = found.get("pids_stats")
        if not isinstance(counted, Mapping) or not isinstance(counted.get("current"), int):
            return None
        return counted["current"], int(counted.get("limit") or 0)

    # -- changes

    def pull(self, name: str) -> None:
        """Pull an image from its registry."""
        self._change(f"pull the image {name}", lambda api: api.pull(name), _PULL_SECONDS)

    def host_config(self, **options: Any) -> Any:
        """Return the host configuration of a container in the format of the SDK."""
        return self._connection.call("answer", lambda api: api.create_host_config(**options))

    def create(self, name: str | None, **options: Any) -> str:
        """Create a container, and return its ID."""
        what = f"create the container {name}" if name else "create the container of a helper"
        made = self._change(what, lambda api: api.create_container(name=name, **options))
        return str(self._check(what, made, Mapping)["Id"])

    def start(self, name: str) -> None:
        """Start a container."""
        try:
            self._change(f"start the container {name}", lambda api: api.start(name))
        except S2DSException as error:
            hint = (
                "; lower nofile in the settings of this proxy to what the engine permits"
                if "rlimit" in str(error)
                else ""
            )
            raise S2DSException(f"{error}{hint}") from None

    def kill(self, name: str, number: int) -> None:
        """Send a signal to the main process of a container."""
        self._change(f"send a signal to the container {name}", lambda api: api.kill(name, number), self._timeouts.look)

    def wait(self, name: str, seconds: int) -> int:
        """Wait until a container exits, and return its exit status."""
        what = f"run the container {name}"
        ended = self._change(what, lambda api: api.wait(name, timeout=seconds), seconds + self._timeouts.look)
        return int(self._check(what, ended, Mapping)["StatusCode"])

    def stop(self, name: str, grace: int) -> None:
        """Stop a container. Does nothing if it does not exist."""
        with suppress(NotFoundError):
            self._change(f"stop the container {name}", lambda api: api.stop(name, timeout=grace))

    def remove_container(self, name: str) -> None:
        """Remove a container with its anonymous volumes. Does nothing if it does not exist."""
        try:
            self._change(f"remove the container {name}", lambda api: api.remove_container(name, v=True, force=True))
        except NotFoundError:
            return
        except S2DSException as error:
            if "already in progress" not in str(error):
                raise

    def remove_volume(self, name: str) -> None:
        """Remove a volume. Does nothing if it does not exist."""
        with suppress(NotFoundError):
            self._change(f"remove the volume {name}", lambda api: api.remove_volume(name))

    def attach(self, name: str) -> Any:
        """Return a stream to the standard input and from the output of a container."""
        parameters = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        return self._change(f"attach to the container {name}", lambda api: api.attach_socket(name, params=parameters))

    # -- files

    def put(self, name: str, path: str, entries: Iterable[tuple[tarfile.TarInfo, bytes]]) -> None:
        """Copy files and directories into a container.

        Args:
            name: The container.
            path: Directory in the container.
            entries: Files and directories, each with its content.
        """
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for entry, content in entries:
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        self._change(
            f"put files into the container {name}", lambda api: api.put_archive(name, path, archive.getvalue())
        )

    def get(self, name: str, path: str) -> bytes | None:
        """Return the content of a regular file in a container, or None if there is none."""
        what = f"read the file {path} of the container {name}"

        def ask(api: Any) -> bytes:
            parts, _about = api.get_archive(name, path)
            return read_bounded(parts, _MAX_FILE_SIZE + (1 << 16))

        try:
            archive = io.BytesIO(self._connection.call(what, ask))
        except NotFoundError:
            return None
        try:
            with tarfile.open(fileobj=archive, mode="r:") as tar:
                entry = tar.next()
                content = tar.extractfile(entry) if entry is not None and entry.isfile() else None
                return content.read() if content is not None else None
        except tarfile.TarError as error:
            raise S2DSException(f"the Docker engine {self.address} could not {what}: {one_line(error)}") from None

    # -- calls

    def _change(self, what: str, action: Callable[[Any], Answer], seconds: float | None = None) -> Answer:
        """Make a change, even if the engine has not answered recently: it may be part of a rollback."""
        return self._connection.call(what, action, seconds or self._timeouts.act)

    def _mapping(self, what: str, action: Callable[[Any], Any]) -> dict[str, Any] | None:
        """Return the engine's description of an object, or None if it does not exist."""
        try:
            found = self._connection.call(what, action)
        except NotFoundError:
            return None
        return dict(self._check(what, found, Mapping))

    def _check(self, what: str, found: Any, kind: type[Any]) -> Any:
        if not isinstance(found, kind):
            raise S2DSException(f"the Docker engine {self.address} could not {what}: it gave an invalid answer")
        return found


def _statistics(api: Any, name: str) -> Any:
    """Return the statistics of a container, without delay if the SDK and the engine support it."""
    try:
        return api.stats(name, stream=False, one_shot=True)
    except Exception:
        return api.stats(name, stream=False)
