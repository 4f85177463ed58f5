# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a data server runs. A runtime starts, signals and stops programs, whatever the proxy.

It also decides where the code of the proxy that observes and reloads such a program is executed: in this process, or in
a helper next to the container.
"""

from __future__ import annotations

import grp
import os
import pwd
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import (
    RUNTIMES,
    RuntimeCapabilities,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import port_conflicts
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.identity import no_user
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Access, Control, Place, Task

if TYPE_CHECKING:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy


class Runtime(ABC):
    """A runtime for one data server.

    Attributes:
        name: Its name in options and policies.
        ready_seconds: Time limit for a program to become ready. A program that exits is reported immediately.

    Args:
        layout: Directories on this gateway.
        task: The program that runs, or is to run.
    """

    name: ClassVar[str] = "process"
    ready_seconds: ClassVar[float] = 30.0

    def __init__(self, layout: Layout, task: Task) -> None:
        self.layout = layout
        self.task = task
        #: The data server's directory, as this process sees it.
        self.home = layout.directory(task.name)
        #: What is in that directory, for a proxy. A container may have more in its own file system.
        self.place = Place(self.home, self.home)

    @property
    def capabilities(self) -> RuntimeCapabilities:
        """What this runtime can do."""
        return RUNTIMES[self.name]

    def check(self) -> None:  # noqa: B027 - not every runtime has requirements
        """Refuse, before anything changes, what cannot run here."""

    def directory(self) -> str:
        """Return the path of the data server's directory as its program sees it."""
        return self.home

    def deliver(self) -> None:  # noqa: B027 - most programs see the directory itself
        """Make the current files of the data server visible to its program."""

    def probe(self, proxy: Proxy) -> dict[str, Any] | None:
        """Return the reply of a proxy to a probe, or None if it is not running."""
        return proxy.probe(self.place)

    def reload(self, proxy: Proxy) -> None:
        """Reload the changed configuration of a running proxy, and wait until it is in effect."""
        proxy.reload(self.place, RuntimeControl(self))

    def compact_log(self, proxy: Proxy) -> None:
        """Store the totals of the proxy's connection log, and free its disk space."""
        proxy.compact_log(self.place)

    def remove(self) -> bool:
        """Stop the program, and remove everything outside of the directory. Returns whether there was anything."""
        return self.stop()

    def check_room(self) -> None:  # noqa: B027 - not every runtime has such limits
        """Refuse, before anything changes, a reload that may exceed the limit of processes."""

    def missing_listeners(self, listeners: Sequence[str], transport: str) -> str:
        """Return why this host does not have the listeners of the program; empty if it has them."""
        return ""

    def listener_conflicts(self, listeners: Sequence[Endpoint], transport: str) -> list[str]:
        """Return the listeners whose ports are used by other programs of this host, each with the process."""
        return port_conflicts.find(listeners, transport, self.home)

    def is_paused(self) -> bool:
        """Return whether the program is paused with its connections, and may be resumed."""
        return False

    def is_supervised(self) -> bool:
        """Return whether it is running, or will be restarted without an action of S2CS."""
        return self.is_paused() or self.is_running()

    def is_on_other_engine(self) -> bool:
        """Return whether it runs on a container engine other than the one where it would be started now."""
        return False

    def has_current_settings(self) -> bool:
        """Return whether it was started with the current settings."""
        return True

    @abstractmethod
    def run_once(self, command: Sequence[str], directory: str) -> tuple[int, list[str]]:
        """Run the program in a directory of this process until it exits, to check files.

        Returns:
            Its exit status and its output.
        """

    @abstractmethod
    def start(self, command: Sequence[str]) -> None:
        """Start a program in the data server's directory, and restart it after crashes. Do not wait for it."""

    @abstractmethod
    def stop(self) -> bool:
        """Stop the program and all its processes. Returns whether there were any."""

    @abstractmethod
    def is_running(self) -> bool:
        """Return whether its main process is running."""

    @abstractmethod
    def signal(self, number: int) -> None:
        """Send a signal to its main process."""

    @abstractmethod
    def has_failed(self) -> bool:
        """Return whether the program exited since it was started."""

    @abstractmethod
    def log(self, lines: int = 10) -> list[str]:
        """Return the last lines of its log."""

    def access(self) -> Access:
        """Return who may access the data server's directory and files."""
        user, group = self.owner()
        return Access((user, group), (user, group, 0o770), self.file_mode, self.secret_access())

    @property
    def file_mode(self) -> int:
        """Mode of the data server's files. If another user runs the program, they belong to the group of that user."""
        return 0o640 if self.layout.changes_user else 0o600

    def owner(self) -> Sequence[int]:
        """Return the UID and GID that own the directory: root and the proxy's group, or those of this process.

        Raises:
            S2DSException: S2CS is root and the proxy's user does not exist.
        """
        if not self.layout.changes_user:
            return os.geteuid(), os.getegid()
        try:
            return 0, grp.getgrgid(pwd.getpwnam(self.task.user).pw_gid).gr_gid
        except KeyError:
            raise no_user(self.task.user) from None

    def secret_access(self) -> Sequence[int]:
        """Return UID, GID and mode of a secret, which only the program can read."""
        own, group = self.owner()
        if self.layout.changes_user:
            own = pwd.getpwnam(self.task.user).pw_uid
        return own, group, 0o600


@dataclass(frozen=True)
class RuntimeControl(Control):
    """Control of a program through its runtime."""

    runtime: Runtime

    def signal(self, number: int) -> None:
        """Send a signal to the main process."""
        self.runtime.signal(number)

    def log(self, lines: int = 10) -> list[str]:
        """Return the last lines of the log."""
        return self.runtime.log(lines)


def tail(path: str, lines: int) -> list[str]:
    """Return the last lines of a file, which may be large, or none if there is no such file."""
    try:
        with open(path, "rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - 65536))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return []
    return text.splitlines()[-lines:]
