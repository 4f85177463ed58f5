# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Directories on a gateway, and how data servers are supervised there."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus.settings import JanusSettings

SUPERVISORS = ("auto", "systemd", "process")


# Proxies can reach their own session, but not list the others. The role s2cs creates these directories with mode 0710
# for the group of the proxies. Without that role, there is no such group.
_MODE = 0o711


def make_directory(path: str) -> None:
    """Create a directory that others can pass through, regardless of the umask. An existing one is not changed."""
    if not os.path.isdir(path):
        os.makedirs(path, exist_ok=True)
        os.chmod(path, _MODE)


@dataclass(frozen=True)
class Layout:
    """The directories of one S2CS, or of data servers that run without one.

    Args:
        state_dir: Persistent state.
        program_dir: Programs that the roles installed.
        template_dir: Templates of the proxies' configurations.
        supervisor: What keeps data servers running: ``auto``, ``systemd`` or ``process``.
        dedicated_users: Whether data servers run as separate unprivileged users, if this process is root.
        identity: Name on container engines. If empty, an identity is stored in the state directory.
        janus: The Janus controller, for the runtime ``janus``.
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
        """Directory with a subdirectory for each data server."""
        return os.path.join(self.state_dir, "sessions")

    def directory(self, name: str) -> str:
        """Return the directory of a data server, with its configuration, keys, sockets and logs."""
        return os.path.join(self.sessions_dir, name)

    def program(self, *parts: str) -> str:
        """Return the path of a program that a role installed."""
        return os.path.join(self.program_dir, *parts)

    @property
    def changes_user(self) -> bool:
        """Whether data servers run as users other than that of this process."""
        return self.dedicated_users and os.geteuid() == 0

    @property
    def interpreter(self) -> str:
        """Path of the Python for our programs: for other users the system's, as they may not reach another one."""
        system = "/usr/bin/python3"
        return system if self.changes_user and os.path.exists(system) else sys.executable

    @property
    def has_systemd(self) -> bool:
        """Whether data servers may be systemd units, depending on the supervisor when they were started."""
        return os.geteuid() == 0 and os.path.isdir("/run/systemd/system")

    @property
    def uses_systemd(self) -> bool:
        """Whether new data servers are systemd units instead of processes of our own supervisor."""
        return self.has_systemd if self.supervisor == "auto" else self.supervisor == "systemd"
