# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The specification of a data server, independent of proxy and runtime, and its status."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Callable, NamedTuple, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint


@dataclass(frozen=True)
class DataServerSpec:
    """One data server: its listeners and what to do with the connections that they accept.

    Args:
        name: Name on this gateway: ``<role>-<uid>`` for a session.
        listeners: Where it listens; port 0 where it may choose one within ``port_range``.
        targets: Where it forwards to, IP addresses; dealt out to the listeners in turn. Empty before the UPDATE.
        clients: Networks that may connect; empty: anyone.
        egress: Source address of its own connections, or None for the kernel's choice.
        rate: Limit in bits per second for each direction, or None.
        port_range: First and last port that it may choose from.
        role: Side of the stream, ``producer`` or ``consumer``; empty for a data server that is no session's.
        encryption: How the connection between the two gateways is protected.
        transport: ``tcp``, ``udp`` or ``both``.
        certificate: This gateway's own certificate, PEM; None: it has none.
        key: The private key of it, PEM; None leaves the one that is there.
        peer_certificate: The only certificate that is accepted from the other gateway, PEM; None: nobody is.
    """

    name: str
    listeners: Sequence[Endpoint]
    targets: Sequence[Endpoint] = ()
    clients: Sequence[str] = ()
    egress: str | None = None
    rate: int | None = None
    port_range: Sequence[int] | None = None
    role: str = ""
    encryption: str = "none"
    transport: str = "tcp"
    certificate: str | None = None
    key: str | None = field(default=None, repr=False)
    peer_certificate: str | None = None

    def target_of(self, index: int) -> Endpoint | None:
        """Target of the listener with this index."""
        return self.targets[index % len(self.targets)] if self.targets else None


@dataclass
class Status:
    """What is seen of an instance.

    Args:
        running: Whether the proxy itself answers, not only whether it was started.
        counters: Its counters as ``s2cs_info`` shows them, the last ones that are known if it does not answer, or None.
        log: Why it does not run or does not answer although it should: the reason, or the last lines of its log.
        health: ``ok``, ``idle`` (nothing is to run yet), ``down`` (it should run and does not), ``silent`` (it runs and
            does not answer) or ``unknown``.
        reason: Why it is none of the first two.
    """

    running: bool
    counters: dict[str, Any] | None = None
    log: Sequence[str] = ()
    health: str = "ok"
    reason: str = ""


@dataclass(frozen=True)
class Task:
    """What a runtime is asked to run.

    Args:
        name: Name of the data server on this gateway.
        proxy: Name of the proxy.
        unit: Prefix of the systemd template unit that the proxy's role installed.
        user: The unprivileged user that runs it where S2CS is root.
        open_files: How many files each of its processes may come to have open.
        tasks: How many processes and threads a start or a reload adds.
        most_tasks: How many it may come to have otherwise.
        persistent_files: Files that it writes below its directory and that are to outlive it.
    """

    name: str
    proxy: str
    unit: str
    user: str
    open_files: int = 0
    tasks: int = 0
    most_tasks: int = 0
    persistent_files: Sequence[str] = ()


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


class Control(ABC):
    """What a proxy may do with its own instance, wherever that runs."""

    @abstractmethod
    def signal(self, number: int) -> None:
        """Send a signal to the main process."""

    @abstractmethod
    def log(self, lines: int = 10) -> list[str]:
        """Return the last lines of the log."""
