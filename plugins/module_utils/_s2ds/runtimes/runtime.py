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
from typing import TYPE_CHECKING, Any, Callable, ClassVar, NamedTuple, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import occupants
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.endpoint import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.site import Site

if TYPE_CHECKING:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy


@dataclass(frozen=True)
class Task:
    """What a runtime is asked to run.

    Args:
        name: Name of the instance.
        unit: Prefix of the systemd template unit that the proxy's role installed.
        user: The unprivileged user that runs it where S2CS is root.
        open_files: How many files each of its processes may come to have open.
        tasks: How many processes and threads a start or a reload adds.
        most_tasks: How many it may come to have otherwise.
        kept: Files that it writes below its directory and that are to outlive it.
    """

    name: str
    unit: str
    user: str
    open_files: int = 0
    tasks: int = 0
    most_tasks: int = 0
    kept: Sequence[str] = ()


@dataclass(frozen=True)
class Place:
    """An instance as this process sees it, for a proxy that looks at itself.

    Args:
        directory: The directory of the instance.
        notes: Directory for what a proxy has to remember of itself between two calls.
        pid: Turns a process id that the program knows into the one by which this process knows it; None: there is none.
    """

    directory: str
    notes: str
    pid: Callable[[int], int | None] = lambda number: number


class Access(NamedTuple):
    """Who may use what is in an instance's directory.

    Args:
        owner: User and group of the directory and its files.
        run: User, group and mode of the part that the program writes.
        mode: Mode of the files.
        secret: User, group and mode of a file that holds a secret.
    """

    owner: Sequence[int]
    run: Sequence[int]
    mode: int
    secret: Sequence[int]


class Runtime(ABC):
    """One place where data servers run; there is one class for each.

    Attributes:
        name: As users write it.
        contained: Whether programs come out of an image, so that nothing of this host can be asked about them.
        encryptions: What may be asked for here; a key is for nobody but the program.
        ready_seconds: For a program to come up here. What ends by itself is told at once.
    """

    name: ClassVar[str] = "process"
    contained: ClassVar[bool] = False
    encryptions: ClassVar[Sequence[str]] = ("tls", "none")
    ready_seconds: ClassVar[float] = 30.0

    def __init__(self, site: Site) -> None:
        self.site = site

    def check(self, task: Task, proxy: Proxy) -> None:  # noqa: B027 - not every runtime can tell
        """Refuse, before anything changes, what cannot run here."""

    def directory(self, task: Task) -> str:
        """Return the path of an instance's directory as its program sees it."""
        return self.site.directory(task.name)

    def deliver(self, task: Task) -> None:  # noqa: B027 - most programs see the files where they are
        """Have the program see the files of the instance as they are now."""

    def probe(self, task: Task, proxy: Proxy) -> dict[str, Any] | None:
        """Return what a proxy tells of itself, or None without an answer."""
        return proxy.probe(self._place(task))

    def totals(self, task: Task, proxy: Proxy) -> dict[str, Any] | None:
        """Return what a proxy that does not answer has written down here of what it counted, or None.

        Nobody else is asked: where it runs may not answer either.
        """
        return proxy.totals(self._place(task))

    def reload(self, task: Task, proxy: Proxy) -> None:
        """Have a running proxy take over its changed configuration, and wait until it is in force."""
        proxy.reload(self._place(task), RuntimeControl(self, task))

    def tidy(self, task: Task, proxy: Proxy) -> None:
        """Keep what the proxy's log of connections came to, and free its room."""
        proxy.tidy(self._place(task))

    def said(self, task: Task, proxy: Proxy, lines: int = 10) -> list[str]:
        """Return the last lines of its log, and of what the proxy itself wrote to another one."""
        return [*self.log(task, lines), *proxy.said(self._place(task))[-lines:]]

    def remove(self, task: Task) -> bool:
        """End it and remove what it had outside of its directory; returns whether there was anything."""
        return self.stop(task)

    def check_room(self, task: Task, proxy: Proxy) -> None:  # noqa: B027 - not every runtime has such limits
        """Refuse, before anything changes, a reload for which there may be too few processes."""

    def unseen(self, task: Task, listeners: Sequence[str], transport: str) -> str:
        """Say which listeners of the program this host does not have; empty where it has all."""
        return ""

    def strangers(self, task: Task, listeners: Sequence[Endpoint], transport: str) -> list[str]:
        """Return which listeners something else on this host has, each with the process that has it."""
        return occupants.strangers(listeners, transport, self.site.directory(task.name))

    def is_held(self, task: Task) -> bool:
        """Tell whether it is kept from going on, with all that it has, and may go on any moment."""
        return False

    def is_elsewhere(self, task: Task) -> bool:
        """Tell whether it runs where a start would not put it now."""
        return False

    def is_as_set(self, task: Task) -> bool:
        """Tell whether it runs with the settings that would be used now."""
        return True

    def _place(self, task: Task) -> Place:
        directory = self.site.directory(task.name)
        return Place(directory, directory)

    @abstractmethod
    def run_once(self, task: Task, command: Sequence[str], directory: str) -> tuple[int, list[str]]:
        """Run the instance's program to its end in a directory of this process, to have something checked.

        Returns:
            Its exit status and the lines that it wrote.
        """

    @abstractmethod
    def start(self, task: Task, command: Sequence[str]) -> None:
        """Start a program in the instance's directory, again after each crash; returns before it is ready."""

    @abstractmethod
    def stop(self, task: Task) -> bool:
        """End it and everything that belongs to it; returns whether there was something to end."""

    @abstractmethod
    def is_running(self, task: Task) -> bool:
        """Tell whether its main process runs now."""

    @abstractmethod
    def signal(self, task: Task, number: int) -> None:
        """Send a signal to its main process."""

    @abstractmethod
    def has_failed(self, task: Task) -> bool:
        """Tell whether it ended by itself since it was started."""

    @abstractmethod
    def log(self, task: Task, lines: int = 10) -> list[str]:
        """Return the last lines of its log."""

    def access(self, task: Task) -> Access:
        """Return who may use what is in the directory of an instance."""
        user, group = self.owner(task.user)
        return Access((user, group), (user, group, 0o770), self.file_mode, self.secret_access(task.user))

    @property
    def file_mode(self) -> int:
        """Mode of an instance's files: their group is that of the program where another user runs it."""
        return 0o640 if self.site.changes_user else 0o600

    def owner(self, user: str) -> Sequence[int]:
        """Return the user and group ids that own an instance's directory: root and the proxy's group, or ourselves.

        Raises:
            S2DSException: S2CS is root and the proxy's user does not exist.
        """
        if not self.site.changes_user:
            return os.geteuid(), os.getegid()
        try:
            return 0, grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_gid
        except KeyError:
            raise S2DSException(
                f"there is no user {user} on this gateway to run the data server: run the role of this proxy"
            ) from None

    def secret_access(self, user: str) -> Sequence[int]:
        """Return user, group and mode of a secret: of the program that reads it, and of nobody else."""
        own, group = self.owner(user)
        if self.site.changes_user:
            own = pwd.getpwnam(user).pw_uid
        return own, group, 0o600


class Control(ABC):
    """What a proxy may do with its own instance, wherever that runs."""

    @abstractmethod
    def signal(self, number: int) -> None:
        """Send a signal to the main process."""

    @abstractmethod
    def log(self, lines: int = 10) -> list[str]:
        """Return the last lines of the log."""


@dataclass(frozen=True)
class RuntimeControl(Control):
    """The same by means of the runtime."""

    runtime: Runtime
    task: Task

    def signal(self, number: int) -> None:
        """Send a signal to the main process."""
        self.runtime.signal(self.task, number)

    def log(self, lines: int = 10) -> list[str]:
        """Return the last lines of the log."""
        return self.runtime.log(self.task, lines)


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
