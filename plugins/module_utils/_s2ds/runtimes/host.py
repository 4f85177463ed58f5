# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the runtimes have in common that start processes of this host: who runs them, and where they may write."""

from __future__ import annotations

import os
import subprocess
from abc import abstractmethod
from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import programs
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes import identity
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Runtime
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Access


class HostRuntime(Runtime):
    """A runtime on this host. Where S2CS is root, each session has a user of its own (see ``identity``)."""

    def check(self) -> None:
        """Refuse where nobody is there to run it, or the programs for that are missing."""
        if self.layout.changes_user:
            identity.find(self.layout, self.task.name, self.task.user)
        self.require_program(self.layout.program("isolate.py"))

    def access(self) -> Access:
        """Return who may use the files of an instance: root and the user of the session, or ourselves."""
        if not self.layout.changes_user:
            return super().access()
        user, group = identity.ensure(self.layout, self.task.name, self.task.user)
        return Access((0, group), (user, group, 0o700), 0o640, (user, group, 0o600))

    def run_once(self, command: Sequence[str], directory: str) -> tuple[int, list[str]]:
        """Run the instance's program to its end, as the user of the session."""
        who = identity.find(self.layout, self.task.name, self.task.user) if self.layout.changes_user else None
        return programs.run(command, directory, who, self.groups())

    def remove(self) -> bool:
        """End it; nothing of it is kept, so that this works on a full disk as well."""
        found = self.stop(save=False)
        self.unmount()
        return found

    @abstractmethod
    def stop(self, save: bool = True) -> bool:
        """End it and everything that belongs to it; returns whether there was something to end.

        Args:
            save: Whether the files that it wrote are kept.
        """

    @abstractmethod
    def is_managed(self) -> bool:
        """Tell whether this is what started it, and did not end it."""

    def groups(self) -> list[int]:
        """Return the groups that may pass through to the sessions."""
        paths = (self.layout.state_dir, self.layout.sessions_dir)
        return sorted({os.stat(path).st_gid for path in paths if os.path.isdir(path)} - {0})

    def save_files(self) -> None:
        """Keep the files that it wrote, and unmount its directory ``run``, if that has not been done."""
        directory = self.home
        if os.path.ismount(os.path.join(directory, "run")):
            command = [self.layout.interpreter, "-I", "-S", self.layout.program("isolate.py"), "save", directory]
            subprocess.run(command, check=False, capture_output=True, cwd="/")
            self.unmount()

    def unmount(self) -> None:
        """Unmount the directory ``run``, if it is a mount.

        Raises:
            S2DSException: That is not possible.
        """
        path = os.path.join(self.home, "run")
        while os.path.ismount(path):
            done = subprocess.run(["umount", "--lazy", path], check=False, capture_output=True, text=True)
            if done.returncode:
                raise S2DSException(f"{path} cannot be unmounted: {done.stderr.strip()}")

    @staticmethod
    def require_program(program: str) -> None:
        """Refuse where a program of the collection is not installed."""
        if not os.path.exists(program):
            raise S2DSException(f"there is no {program}: run the role scistream.gateway.s2cs on this gateway")
