# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The specification of a data server, independent of proxy and runtime, and its status."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, NamedTuple, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint


@dataclass(frozen=True)
class Dial:
    """The connection between the gateways of a stream whose producer's gateway dials.

    Args:
        role: ``waits`` on the consumer's gateway, which has peer listeners, or ``dials`` on the producer's.
        peers: The peer listeners of the consumer's gateway, one for each connection. There, they may have port 0, as
            listeners may. On the producer's gateway, they are empty before the UPDATE.
        allow: Networks from which the peer may connect. If empty, anyone may connect.
        source: Source address of the connections to the peer. If None, the kernel chooses it.
        open: On the consumer's gateway, whether the UPDATE has arrived. Until then, everyone is refused.
    """

    role: str
    peers: Sequence[Endpoint] = ()
    allow: Sequence[str] = ()
    source: str | None = None
    open: bool = False


@dataclass(frozen=True)
class DataServerSpec:
    """The specification of one data server.

    Args:
        name: Name on this gateway: ``<role>-<uid>`` for a session.
        listeners: Where it listens. With port 0, it chooses a port within ``port_range``.
        targets: Where it forwards to, as IP addresses, assigned to the listeners in turn. Empty before the UPDATE.
        clients: Networks that may connect. If empty, anyone may connect.
        egress: Source address of connections to the targets. If None, the kernel chooses it.
        rate: Limit in bits per second for each direction, or None.
        port_range: First and last port to choose from.
        role: Side of the stream, ``producer`` or ``consumer``. Empty if it does not belong to a session.
        encryption: Protection of the connection between the gateways.
        transport: ``tcp``, ``udp`` or ``both``.
        certificate: Certificate of this gateway in PEM format, or None.
        key: Its private key in PEM format. None keeps the one that is in place.
        peer_certificate: The only accepted certificate of the other gateway, in PEM format. If None, none is accepted.
        dial: Set if the producer's gateway dials. Then the consumer's has no targets, and the producer's no listeners.
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
    dial: Dial | None = None

    @property
    def forwards(self) -> bool:
        """Whether the UPDATE has arrived."""
        return bool(self.targets) or (self.dial is not None and self.dial.open)

    @property
    def peer_listeners(self) -> Sequence[Endpoint]:
        """Where it listens for the other gateway, if that dials."""
        return self.dial.peers if self.dial is not None and self.dial.role == "waits" else ()

    @property
    def own_endpoints(self) -> Sequence[Endpoint]:
        """Where it listens."""
        return [*self.listeners, *self.peer_listeners]

    def target_of(self, index: int) -> Endpoint | None:
        """Return the target of a listener, or None."""
        return self.targets[index % len(self.targets)] if self.targets else None


@dataclass
class Status:
    """The observed status of a data server.

    Args:
        running: Whether the proxy answers, not only whether it was started.
        counters: Counters in the format of ``s2cs_info``, the last known ones if it does not answer, or None.
        log: Reason why it does not run or answer although it should, or the last lines of its log.
        health: ``ok``, ``idle`` (it need not run yet), ``down`` (it should run, but does not), ``silent`` (it runs, but
            does not answer) or ``unknown``.
        reason: Explanation if it is neither ``ok`` nor ``idle``.
        tls: Whether the kernel encrypts, in the format of ``s2cs_info``, or None if that is not known.
        multipath: The paths of the latest connection, in the format of ``s2cs_info``, or None without Multipath TCP.
        path: The legs of the latest connection, in the format of ``s2cs_info``, or None if they are not known.
        dial: The connections that wait, in the format of ``s2cs_info``, or None unless the producer's gateway dials.
    """

    running: bool
    counters: dict[str, Any] | None = None
    log: Sequence[str] = ()
    health: str = "ok"
    reason: str = ""
    tls: Mapping[str, Any] | None = None
    multipath: Mapping[str, Any] | None = None
    path: Mapping[str, Any] | None = None
    dial: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Task:
    """The program that a runtime runs.

    Args:
        name: Name of the data server on this gateway.
        proxy: Name of the proxy.
        unit: Prefix of the systemd template unit that the proxy's role installed.
        user: The unprivileged user that runs it if S2CS is root.
        open_files: Maximum number of open files of each of its processes.
        tasks: Number of processes and threads that a start or a reload adds.
        most_tasks: Number of processes and threads that connections may require.
        persistent_files: Files that it writes below its directory and that must survive a restart.
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
    """The files and processes of a data server as this process sees them, for the proxy that observes them.

    Args:
        directory: The directory of the data server.
        notes: Directory for what the proxy has to remember between two calls.
        pid: Turns a process id that the program knows into the one by which this process knows it; None: there is none.
    """

    directory: str
    notes: str
    pid: Callable[[int], int | None] = lambda number: number


class Access(NamedTuple):
    """Owners and modes of a data server's directory and files.

    Args:
        owner: UID and GID of the directory and its files.
        run: UID, GID and mode of the subdirectory ``run``, to which the program writes.
        mode: Mode of the files.
        secret: UID, GID and mode of files with secrets.
    """

    owner: Sequence[int]
    run: Sequence[int]
    mode: int
    secret: Sequence[int]


class Control(ABC):
    """What a proxy may do with its program, in any runtime."""

    @abstractmethod
    def signal(self, number: int) -> None:
        """Send a signal to the main process."""

    @abstractmethod
    def log(self, lines: int = 10) -> list[str]:
        """Return the last lines of the log."""
