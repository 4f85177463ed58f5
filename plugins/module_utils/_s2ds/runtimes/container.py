# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Base class of the runtimes that run a proxy in a container."""

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

# UID in containers if the host has no user for the proxy.
_NOBODY = 65532


class ProxyContainer(Runtime):
    """A proxy in a container, with any engine. Its program is part of an image.

    Args:
        layout: Directories on this gateway.
        task: The program that runs, or is to run.
        settings: The administrator's settings for containers.
    """

    name: ClassVar[str]

    def __init__(self, layout: Layout, task: Task, settings: ContainerSettings) -> None:
        super().__init__(layout, task)
        self.settings = settings

    def listener_conflicts(self, listeners: Sequence[Endpoint], transport: str) -> list[str]:
        """Return the listeners whose ports are used by other programs of this host, or none while the container runs.

        Processes of the container need not work in the data server's directory, so they could not be recognized.
        """
        return [] if self.is_running() else super().listener_conflicts(listeners, transport)

    def user(self) -> int:
        """Return the UID that runs the program, which is never root."""
        return self._account()[0]

    def group(self) -> int:
        """Return the GID that runs the program."""
        return self._account()[1]

    def _account(self) -> tuple[int, int]:
        own, given = os.geteuid(), self.settings.container_user
        if own:
            return (own, os.getegid()) if given is None or given == own else (given, given)
        # A data server keeps its account, and with it its files, whatever becomes of the proxy's user and the policy.
        with suppress(OSError):
            run = os.lstat(os.path.join(self.home, "run"))
            if run.st_uid and run.st_gid:
                return run.st_uid, run.st_gid
        if given is not None:
            return given, given
        if self.layout.dedicated_users:
            with suppress(KeyError):
                entry = pwd.getpwnam(self.task.user)
                return entry.pw_uid, entry.pw_gid
        return _NOBODY, _NOBODY
