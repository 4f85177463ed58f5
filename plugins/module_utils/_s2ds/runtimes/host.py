# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Base class of the runtimes that start processes on this host: users, directories and isolation."""

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
    """A runtime on this host. If S2CS is root, each session has a user of its own (see ``identity``)."""

    def check(self) -> None:
        """Refuse to continue without the user or the programs that are required."""
        if self.layout.changes_user:
            identity.find(self.layout, self.task.name, self.task.user)
        self.require_program(self.layout.program("isolate.py"))

    def access(self) -> Access:
        """Return who may access the files of a data server: root and the user of the session, or only this user."""
        if not self.layout.changes_user:
            return super().access()
        user, group = identity.ensure(self.layout, self.task.name, self.task.user)
        return Access((0, group), (user, group, 0o700), 0o640, (user, group, 0o600))

    def run_once(self, command: Sequence[str], directory: str) -> tuple[int, list[str]]:
        """Run the program until it exits, as the user of the session."""
        who = identity.find(self.layout, self.task.name, self.task.user) if self.layout.changes_user else None
        return programs.run(command, directory, who, self.groups())

    def remove(self) -> bool:
        """Stop the program without saving its files, so that this also works on a full disk."""
        found = self.stop(save=False)
        self.unmount()
        return found

    @abstractmethod
    def stop(self, save: bool = True) -> bool:
        """Stop the program and all its processes. Returns whether there were any.

        Args:
            save: Whether to save the files that it wrote.
        """

    @abstractmethod
    def is_managed(self) -> bool:
        """Return whether this runtime started the program and has not stopped it."""

    def groups(self) -> list[int]:
        """Return the GIDs that can pass through to the sessions."""
        paths = (self.layout.state_dir, self.layout.sessions_dir)
        return sorted({os.stat(path).st_gid for path in paths if os.path.isdir(path)} - {0})

    def save_files(self) -> None:
        """Save the files that the program wrote, and unmount the directory ``run``, unless that has been done."""
        directory = self.home
        if os.path.ismount(os.path.join(directory, "run")):
            command = [self.layout.interpreter, "-I", "-S", self.layout.program("isolate.py"), "save", directory]
            subprocess.run(command, check=False, capture_output=True, cwd="/")  # pylint: disable=ansible-bad-function
            self.unmount()

    def unmount(self) -> None:
        """Unmount the directory ``run``, if it is a mount point.

        Raises:
            S2DSException: That failed.
        """
        path = os.path.join(self.home, "run")
        while os.path.ismount(path):
            done = subprocess.run(["umount", "--lazy", path], check=False, capture_output=True, text=True)  # pylint: disable=ansible-bad-function
            if done.returncode:
                raise S2DSException(f"{path} cannot be unmounted: {done.stderr.strip()}")

    @staticmethod
    def require_program(program: str) -> None:
        """Refuse to continue if a program of the collection is not installed."""
        if not os.path.exists(program):
            raise S2DSException(f"there is no {program}: run the role scistream.gateway.s2cs on this gateway")
