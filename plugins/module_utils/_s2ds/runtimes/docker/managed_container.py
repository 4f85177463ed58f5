# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Containers of this S2CS on Docker engines: names and labels, the engine that has one, images, and removal."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout, make_directory
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.container import ProxyContainer
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker import inspection
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.engine import Engine
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.settings import ContainerSettings
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import tail
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Task

# In the state directory.
_IDENTITY = "engine.id"
# In the data server's directory: the address of the engine that has its container. The policy may change meanwhile.
ENGINE_FILE = "engine"
_GRACE_SECONDS = 3


class ManagedContainer(ProxyContainer):
    """A container that is created on the engine of the policy and found on the engine that has it.

    Args:
        layout: Directories of this S2CS.
        task: The program that runs, or is to run.
        settings: The administrator's settings for containers.
    """

    def __init__(self, layout: Layout, task: Task, settings: ContainerSettings) -> None:
        super().__init__(layout, task, settings)
        self.engine = Engine(settings.engine)
        self._other_engines: dict[str, Engine] = {}

    # -- names and labels

    def container(self) -> str:
        """Return the name of the container, which differs from those of any other S2CS on the engine."""
        digest = hashlib.sha256(f"{self._identity()} {self.task.name}".encode()).hexdigest()
        return f"scistream-{self.task.name}-{digest[:8]}"

    def _labels(self) -> dict[str, str]:
        role, _separator, uid = self.task.name.partition("-")
        return {
            "scistream.name": self.task.name,
            "scistream.role": role,
            "scistream.uid": uid,
            "scistream.s2cs": self._identity(),
            "scistream.state_dir": "" if self.layout.identity else self.layout.state_dir,
            "scistream.runtime": self.name,
            "scistream.version": VERSION,
            "scistream.settings": self._settings_digest(),
        }

    def _settings_digest(self) -> str:
        settings = asdict(replace(self.settings, pull="", helper_image=""))
        document = json.dumps([self.name, self.task.unit, settings], sort_keys=True)
        return hashlib.sha256(document.encode()).hexdigest()[:16]

    # -- the identity of this S2CS: state directories of several may have the same path

    def _identity(self) -> str:
        """Return the identity of this S2CS on engines; empty if it has none yet."""
        return self.layout.identity or "".join(tail(os.path.join(self.layout.state_dir, _IDENTITY), 1))

    def _ensure_identity(self) -> None:
        path = os.path.join(self.layout.state_dir, _IDENTITY)
        if self.layout.identity or os.path.exists(path):
            return
        make_directory(self.layout.state_dir)
        temporary = f"{path}.{os.getpid()}.{threading.get_ident()}"
        with open(temporary, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(16))
        # If several processes start at once, the first one wins.
        with suppress(FileExistsError):
            os.link(temporary, path)
        os.unlink(temporary)

    def _may_exist(self) -> bool:
        """Return whether this S2CS ever created a container. If not, the engine need not be asked."""
        return bool(self._identity())

    # -- the engine that has the container

    def is_on_other_engine(self) -> bool:
        """Return whether an engine other than that of the policy has the container."""
        return self._current_engine() is not self.engine

    def _current_engine(self) -> Engine:
        address = "".join(tail(self._engine_file(), 1))
        if not address or address == self.engine.address:
            return self.engine
        return self._other_engines.setdefault(address, Engine(address))

    def _engine_file(self) -> str:
        return os.path.join(self.home, ENGINE_FILE)

    def _record_engine(self) -> None:
        descriptor = os.open(self._engine_file(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(self.engine.address)

    def _inspect(self) -> dict[str, Any] | None:
        """Return the engine's description of the container, or None if there is none."""
        if not self._may_exist():
            # An engine that does not answer is still reported.
            self.engine.ping()
            return None
        return self._current_engine().container(self.container())

    def _explain(self, container: dict[str, Any] | None) -> str:
        """Return why the program does not serve."""
        name, address = self.container(), self._current_engine().address
        if container is None:
            return f"there is no container {name} on the engine {address}: repeat the UPDATE to create it again"
        return inspection.explain(name, container, address)

    # -- removal

    def _remove_container(self) -> None:
        container = self._inspect()
        engine, name = self._current_engine(), self.container()
        if self._may_exist():
            # Check and helper containers of actions that were killed.
            for leftover in engine.labelled(s2cs=self._identity(), name=self.task.name, purpose=None):
                engine.remove_container(leftover)
        if container is None:
            return
        if container["Config"]["Labels"].get("scistream.s2cs") != self._identity():
            raise S2DSException(
                f"the container {name} was created by someone else: remove it, or use another name for this data server"
            )
        if inspection.is_serving(container):
            engine.stop(name, _GRACE_SECONDS)
        engine.remove_container(name)

    # -- images

    def _require_image(self, name: str) -> str:
        """Return the ID of an image that the engine must have.

        Raises:
            S2DSException: The engine does not have it.
        """
        image = self.engine.image(name)
        if image is None:
            raise S2DSException(
                f"image: the Docker engine {self.engine.address} has no image {name}: pull it there "
                f"(docker pull {name}), load it with the role scistream.gateway.docker, or set pull to missing"
            )
        return str(image["Id"])

    def _get_image(self, name: str) -> str:
        """Return the ID of an image. Pull it if it is missing and that is allowed."""
        if self.settings.pull == "missing" and self.engine.image(name) is None:
            self.engine.pull(name)
        return self._require_image(name)
