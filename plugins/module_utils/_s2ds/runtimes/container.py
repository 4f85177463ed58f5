# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runtimes in which a proxy runs in a container, regardless of the engine."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from typing import ClassVar, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.settings import ContainerSettings
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Runtime
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Task

# The user of containers where the host has none for the proxy.
_NOBODY = 65532


class ProxyContainer(Runtime):
    """A proxy in a container, regardless of the engine: its program is part of an image.

    Args:
        layout: Where things are on this gateway.
        task: What runs, or is to run.
        settings: The administrator's settings of containers.
    """

    name: ClassVar[str]

    def __init__(self, layout: Layout, task: Task, settings: ContainerSettings) -> None:
        super().__init__(layout, task)
        self.settings = settings

    def listener_conflicts(self, listeners: Sequence[Endpoint], transport: str) -> list[str]:
        """Return which listeners something else on this host has: while the container runs, it has them itself.

        Its processes need not work in the directory of the instance, by which they could be told from others.
        """
        return [] if self.is_running() else super().listener_conflicts(listeners, transport)

    def user(self) -> int:
        """Return the number of the user and of the group that the program runs as; never root."""
        if self.settings.container_user is not None:
            return self.settings.container_user
        if os.geteuid():
            return os.geteuid()
        if self.layout.dedicated_users:
            with suppress(KeyError):
                return pwd.getpwnam(self.task.user).pw_uid
        return _NOBODY

    def group(self) -> int:
        """Return the number of the group that the program runs as."""
        if self.settings.container_user is None and not os.geteuid() and self.layout.dedicated_users:
            with suppress(KeyError):
                return pwd.getpwnam(self.task.user).pw_gid
        return os.getegid() if self.user() == os.geteuid() else self.user()
