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
from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.site import Site


@dataclass(frozen=True)
class Task:
    """What a runtime is asked to run.

    Args:
        name: Name of the instance.
        unit: Prefix of the systemd template unit that the proxy's role installed.
        user: The unprivileged user that runs it where S2CS is root.
    """

    name: str
    unit: str
    user: str


class Runtime(ABC):
    """One place where data servers run; there is one class for each."""

    def __init__(self, site: Site) -> None:
        self.site = site

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


@dataclass(frozen=True)
class Control:
    """What a proxy may do with its own instance, wherever that runs."""

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
