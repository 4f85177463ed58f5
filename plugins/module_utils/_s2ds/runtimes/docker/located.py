# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


"""Containers of ours on engines: which engine has one, what it is like, and its end."""

from __future__ import annotations

from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker import notes as engine_notes
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker import state as engine_state
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.engine import Engine
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.names import NamedContainer
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.settings import ContainerSettings
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Task

_GRACE_SECONDS = 3


class LocatedContainer(NamedContainer):
    """A container that is found on the engine that has it."""

    def __init__(self, site: Layout, task: Task, settings: ContainerSettings) -> None:
        super().__init__(site, task, settings)
        # The engine of the policy, where containers are made, and any other that has one.
        self.engine = Engine(settings.engine)
        self._others: dict[str, Engine] = {}

    def is_elsewhere(self) -> bool:
        """Tell whether another engine has the container than that of the policy."""
        return self._at() is not self.engine

    def _at(self) -> Engine:
        """Return the engine that has the container of an instance: the policy may name another one since."""
        address = engine_notes.read(self.home)
        if not address or address == self.engine.address:
            return self.engine
        return self._others.setdefault(address, Engine(address))

    def _found(self) -> dict[str, Any] | None:
        """Return the container of an instance, or None."""
        if not self._has_ever_been():
            # Whether the engine answers is worth knowing all the same.
            self.engine.ping()
            return None
        return self._at().container(self.container())

    def _why(self, found: dict[str, Any] | None) -> str:
        """Say why the program of an instance does not serve."""
        name, address = self.container(), self._at().address
        if found is None:
            return f"there is no container {name} on the engine {address}: repeat the UPDATE to create it again"
        return engine_state.in_words(name, found, address)

    def _remove_container(self) -> None:
        found = self._found()
        engine, name = self._at(), self.container()
        if self._has_ever_been():
            # Checks and helpers of actions that were killed.
            for left in engine.labelled(s2cs=self._identity(), name=self.task.name, purpose=None):
                engine.remove_container(left)
        if found is None:
            return
        if found["Config"]["Labels"].get("scistream.s2cs") != self._identity():
            raise S2DSException(
                f"the container {name} was created by someone else: remove it, or use another name for this data server"
            )
        if engine_state.runs(found):
            engine.stop(name, _GRACE_SECONDS)
        engine.remove_container(name)

    def _need_image(self, name: str) -> str:
        """Return the id of an image that must be there."""
        found = self.engine.image(name)
        if found is None:
            raise S2DSException(
                f"image: the Docker engine {self.engine.address} has no image {name}: pull it there "
                f"(docker pull {name}), load it with the role scistream.gateway.docker, or set pull to missing"
            )
        return str(found["Id"])

    def _get_image(self, name: str) -> str:
        """Return the id of an image, pulled if that is allowed."""
        if self.settings.pull == "missing" and self.engine.image(name) is None:
            self.engine.pull(name)
        return self._need_image(name)
