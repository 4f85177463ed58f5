# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a data server runs. A runtime starts, signals and ends a proxy and says whether it runs; it knows no proxy."""

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
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import occupants
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.identity import no_user
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Access, Control, Place, Task

if TYPE_CHECKING:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy


class Runtime(ABC):
    """One place where data servers run, for one of them; there is one class for each.

    Attributes:
        name: As users write it.
        ready_seconds: For a program to come up here. A program that exits is reported immediately.

    Args:
        site: Where things are on this gateway.
        task: What runs, or is to run.
    """

    name: ClassVar[str] = "process"
    ready_seconds: ClassVar[float] = 30.0

    def __init__(self, site: Layout, task: Task) -> None:
        self.site = site
        self.task = task
        #: The directory of the instance, as this process sees it.
        self.home = site.directory(task.name)

    @property
    def capabilities(self) -> RuntimeCapabilities:
        """What it is like."""
        return RUNTIMES[self.name]

    def check(self) -> None:  # noqa: B027 - not every runtime can tell
        """Refuse, before anything changes, what cannot run here."""

    def directory(self) -> str:
        """Return the path of an instance's directory as its program sees it."""
        return self.home

    def deliver(self) -> None:  # noqa: B027 - most programs see the files where they are
        """Have the program see the files of the instance as they are now."""

    def probe(self, proxy: Proxy) -> dict[str, Any] | None:
        """Return the status that a proxy reports, or None without an answer."""
        return proxy.probe(self._place())

    def totals(self, proxy: Proxy) -> dict[str, Any] | None:
        """Return what a proxy that does not answer has written down here of what it counted, or None.

        Nobody else is asked: where it runs may not answer either.
        """
        return proxy.totals(self._place())

    def reload(self, proxy: Proxy) -> None:
        """Have a running proxy take over its changed configuration, and wait until it is in force."""
        proxy.reload(self._place(), RuntimeControl(self))

    def tidy(self, proxy: Proxy) -> None:
        """Keep what the proxy's log of connections came to, and free its room."""
        proxy.tidy(self._place())

    def said(self, proxy: Proxy, lines: int = 10) -> list[str]:
        """Return the last lines of its log, and of what the proxy itself wrote to another one."""
        return [*self.log(lines), *proxy.said(self._place())[-lines:]]

    def remove(self) -> bool:
        """End it and remove what it had outside of its directory; returns whether there was anything."""
        return self.stop()

    def check_room(self) -> None:  # noqa: B027 - not every runtime has such limits
        """Refuse, before anything changes, a reload for which there may be too few processes."""

    def unseen(self, listeners: Sequence[str], transport: str) -> str:
        """Say which listeners of the program this host does not have; empty where it has all."""
        return ""

    def strangers(self, listeners: Sequence[Endpoint], transport: str) -> list[str]:
        """Return which listeners something else on this host has, each with the process that has it."""
        return occupants.strangers(listeners, transport, self.home)

    def is_held(self) -> bool:
        """Tell whether it is kept from going on, with all that it has, and may go on any moment."""
        return False

    def is_elsewhere(self) -> bool:
        """Tell whether it runs where a start would not put it now."""
        return False

    def is_as_set(self) -> bool:
        """Tell whether it runs with the settings that would be used now."""
        return True

    def _place(self) -> Place:
        return Place(self.home, self.home)

    @abstractmethod
    def run_once(self, command: Sequence[str], directory: str) -> tuple[int, list[str]]:
        """Run the instance's program to its end in a directory of this process, to have something checked.

        Returns:
            Its exit status and the lines that it wrote.
        """

    @abstractmethod
    def start(self, command: Sequence[str]) -> None:
        """Start a program in the instance's directory, again after each crash; returns before it is ready."""

    @abstractmethod
    def stop(self) -> bool:
        """End it and everything that belongs to it; returns whether there was something to end."""

    @abstractmethod
    def is_running(self) -> bool:
        """Tell whether its main process runs now."""

    @abstractmethod
    def signal(self, number: int) -> None:
        """Send a signal to its main process."""

    @abstractmethod
    def has_failed(self) -> bool:
        """Tell whether it ended by itself since it was started."""

    @abstractmethod
    def log(self, lines: int = 10) -> list[str]:
        """Return the last lines of its log."""

    def access(self) -> Access:
        """Return who may use what is in the directory of an instance."""
        user, group = self.owner()
        return Access((user, group), (user, group, 0o770), self.file_mode, self.secret_access())

    @property
    def file_mode(self) -> int:
        """Mode of an instance's files: their group is that of the program where another user runs it."""
        return 0o640 if self.site.changes_user else 0o600

    def owner(self) -> Sequence[int]:
        """Return the user and group ids that own an instance's directory: root and the proxy's group, or ourselves.

        Raises:
            S2DSException: S2CS is root and the proxy's user does not exist.
        """
        if not self.site.changes_user:
            return os.geteuid(), os.getegid()
        try:
            return 0, grp.getgrgid(pwd.getpwnam(self.task.user).pw_gid).gr_gid
        except KeyError:
            raise no_user(self.task.user) from None

    def secret_access(self) -> Sequence[int]:
        """Return user, group and mode of a secret, which only the program can read."""
        own, group = self.owner()
        if self.site.changes_user:
            own = pwd.getpwnam(self.task.user).pw_uid
        return own, group, 0o600


@dataclass(frozen=True)
class RuntimeControl(Control):
    """The same by means of the runtime."""

    runtime: Runtime

    def signal(self, number: int) -> None:
        """Send a signal to the main process."""
        self.runtime.signal(number)

    def log(self, lines: int = 10) -> list[str]:
        """Return the last lines of the log."""
        return self.runtime.log(lines)


def tail(path: str, lines: int) -> list[str]:
    """Return the last lines of a file that may be large or absent."""
    try:
        with open(path, "rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - 65536))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return []
    return text.splitlines()[-lines:]
