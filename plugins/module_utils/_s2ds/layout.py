# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths on a gateway: directories, the supervisor, file names of a data server."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus.settings import JanusSettings

SUPERVISORS = ("auto", "systemd", "process")


# Proxies pass through to their own session, and do not look around. The role s2cs makes these directories with 0710,
# for the group of the proxies; where that role did not run there is no such group.
_MODE = 0o711


def make_directory(path: str) -> None:
    """Make a directory that others may pass through, whatever the umask is; one that exists stays as it is."""
    if not os.path.isdir(path):
        os.makedirs(path, exist_ok=True)
        os.chmod(path, _MODE)


@dataclass(frozen=True)
class Layout:
    """The directories of one S2CS, or of data servers that run without one.

    Args:
        state_dir: What must outlive a reboot.
        program_dir: What the roles installed.
        template_dir: The templates of the proxies' configurations.
        supervisor: What keeps data servers running: ``auto``, ``systemd`` or ``process``.
        dedicated_users: Whether each proxy has an unprivileged user of its own, where this runs as root.
        identity: Name on container engines, where the state directory does not outlive the call; else it has one.
        janus: Where the Janus controller is, for the runtime of that name.
    """

    state_dir: str
    program_dir: str = "/usr/local/lib/scistream"
    template_dir: str = "/etc/scistream/templates"
    supervisor: str = "auto"
    dedicated_users: bool = True
    identity: str = ""
    janus: JanusSettings | None = None

    @property
    def sessions_dir(self) -> str:
        """Directory that holds a directory for each instance."""
        return os.path.join(self.state_dir, "sessions")

    def directory(self, name: str) -> str:
        """Directory of an instance: its configuration, keys, sockets and log; removed with it."""
        return os.path.join(self.sessions_dir, name)

    def program(self, *parts: str) -> str:
        """Path of a program that a role installed."""
        return os.path.join(self.program_dir, *parts)

    @property
    def changes_user(self) -> bool:
        """Whether data servers run as other users than this process."""
        return self.dedicated_users and os.geteuid() == 0

    @property
    def interpreter(self) -> str:
        """Python for programs of ours; for other users the system's, because one in a home is out of their reach."""
        system = "/usr/bin/python3"
        return system if self.changes_user and os.path.exists(system) else sys.executable

    @property
    def has_systemd(self) -> bool:
        """Whether instances can be units of the init system, now or when they were started."""
        return os.geteuid() == 0 and os.path.isdir("/run/systemd/system")

    @property
    def uses_systemd(self) -> bool:
        """Whether instances are units of the init system rather than children of our own supervisor."""
        return self.has_systemd if self.supervisor == "auto" else self.supervisor == "systemd"
