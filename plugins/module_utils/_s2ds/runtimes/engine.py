# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Docker engine, spoken to through the Docker SDK for Python; every failure is one clear error."""

from __future__ import annotations

import io
import tarfile
import traceback
from contextlib import contextmanager
from typing import Any, Iterable, Iterator

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import S2DSException

_SECONDS = 60


class Engine:
    """An engine at an address. It is spoken to when the first question is asked.

    Args:
        address: ``unix:///path``, ``tcp://host:port`` or ``ssh://user@host``.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._api: Any = None
        self.errors: Any = None

    @property
    def api(self) -> Any:
        """The client of the SDK.

        Raises:
            S2DSException: The SDK is missing, or the engine does not answer.
        """
        if self._api is None:
            self._connect()
        return self._api

    def ping(self) -> None:
        """See that the engine answers.

        Raises:
            S2DSException: It does not.
        """
        if self._api is None:
            self._connect()

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Turn whatever goes wrong with the engine into one error that says what was being done."""
        api = self.api
        try:
            yield
        except self.errors.DockerException as error:
            raise S2DSException(f"the Docker engine {api.base_url} could not {what}: {_words(error)}") from None
        except (OSError, ValueError, EOFError) as error:
            raise S2DSException(f"the Docker engine {self.address} was lost when it was to {what}: {error}") from None

    def container(self, name: str) -> dict[str, Any] | None:
        """Return what the engine tells of a container, or None where there is none."""
        with self.doing(f"look at the container {name}"):
            try:
                found: dict[str, Any] = self.api.inspect_container(name)
            except self.errors.NotFound:
                return None
            return found

    def image(self, name: str) -> dict[str, Any] | None:
        """Return what the engine tells of an image, or None where it does not have it."""
        with self.doing(f"look at the image {name}"):
            try:
                found: dict[str, Any] = self.api.inspect_image(name)
            except self.errors.NotFound:
                return None
            return found

    def pull(self, name: str) -> None:
        """Have the engine get an image from its registry."""
        with self.doing(f"pull the image {name}"):
            self.api.pull(name)

    def volume(self, name: str) -> bool:
        """Tell whether there is a volume."""
        with self.doing(f"look at the volume {name}"):
            try:
                self.api.inspect_volume(name)
            except self.errors.NotFound:
                return False
            return True

    def remove_container(self, name: str) -> None:
        """Remove a container with the volumes that are its alone; one that is gone is no error."""
        with self.doing(f"remove the container {name}"):
            try:
                self.api.remove_container(name, v=True, force=True)
            except self.errors.NotFound:
                return
            except self.errors.APIError as error:
                if "already in progress" not in str(error):
                    raise

    def labelled(self, **labels: str | None) -> list[str]:
        """Return the ids of containers, running or not, by labels of ours; None stands for any value."""
        wanted = [f"scistream.{key}" + ("" if value is None else f"={value}") for key, value in labels.items()]
        with self.doing("look for containers"):
            return [item["Id"] for item in self.api.containers(all=True, filters={"label": wanted})]

    def remove_volume(self, name: str) -> None:
        """Remove a volume; one that is gone is no error."""
        with self.doing(f"remove the volume {name}"):
            try:
                self.api.remove_volume(name)
            except self.errors.NotFound:
                return

    def put(self, name: str, path: str, entries: Iterable[tuple[tarfile.TarInfo, bytes]]) -> None:
        """Put files and directories into a container, below a path."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for entry, content in entries:
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        with self.doing(f"put files into the container {name}"):
            self.api.put_archive(name, path, archive.getvalue())

    def get(self, name: str, path: str) -> dict[str, bytes] | None:
        """Return the files below a path in a container, by their paths from there; None where there is nothing."""
        with self.doing(f"read files of the container {name}"):
            try:
                parts, _about = self.api.get_archive(name, path)
            except self.errors.NotFound:
                return None
            archive = io.BytesIO(b"".join(parts))
        found: dict[str, bytes] = {}
        with tarfile.open(fileobj=archive) as tar:
            for entry in tar:
                content = tar.extractfile(entry) if entry.isfile() else None
                if content is not None:
                    found[entry.name.partition("/")[2]] = content.read()
        return found

    def log(self, name: str, lines: int) -> list[str]:
        """Return the last lines of a container's log."""
        with self.doing(f"read the log of the container {name}"):
            text: bytes = self.api.logs(name, stdout=True, stderr=True, tail=lines)
        return text.decode("utf-8", "replace").splitlines()

    def _connect(self) -> None:
        try:
            import docker
        except ImportError:
            self._missing("the role scistream.gateway.docker installs it")
        self.errors = docker.errors
        try:
            # Over SSH the SDK keeps a channel for each path that was asked for, and a server allows ten.
            pools = {"num_pools": 2} if self.address.startswith("ssh:") else {}
            self._api = docker.APIClient(base_url=self.address, version="auto", timeout=_SECONDS, **pools)
        except ImportError:
            self._missing("ssh:// needs it together with paramiko", "docker[ssh]")
        # The transport over SSH lets through whatever paramiko, the socket or the name service raise.
        except Exception as error:
            raise S2DSException(
                f"the Docker engine {self.address} does not answer: {_words(error)}; start it, correct engine, or see "
                "whether this user may use it (the role scistream.gateway.docker installs it)"
            ) from None

    @staticmethod
    def _missing(reason: str, library: str = "docker") -> None:
        last = traceback.format_exc().strip().splitlines()[-1]
        raise S2DSException(f"{missing_required_lib(library, reason=f'({reason})')} {last}") from None


def _words(error: BaseException) -> str:
    """Return what an error says on one line of readable length."""
    text = " ".join(str(getattr(error, "explanation", None) or error or type(error).__name__).split())
    return text if len(text) <= 300 else text[:297] + "..."
