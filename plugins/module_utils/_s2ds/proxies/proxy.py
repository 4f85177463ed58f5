# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The interface of proxies, which forward connections. Each proxy is implemented in a file of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Callable, Iterable, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES, ProxyCapabilities
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._common.rate import rate_problem
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Control, DataServerSpec, Place, Task

# Runs a command in a directory until it exits, and returns its exit status and output.
RunOnce = Callable[[Sequence[str], str], "tuple[int, list[str]]"]


class Proxy(ABC):
    """One proxy: how its program is configured, started, queried and reloaded.

    Attributes:
        name: Its name in options and policies.
        config: Name of its configuration file.
        verifies: Whether a configuration can be checked before it replaces the current one.
        log: Path of the connection log below its directory, which S2CS compacts. Empty if there is none.
        statistics: Shell code that queries its counters inside a container that only has a shell. The second argument
            is its directory, and the function ``say`` reports a line. Empty if that is not possible.
        open_files: Maximum number of open files of each of its processes.

    Args:
        layout: Directories on this gateway.
        settings: The administrator's settings for this proxy.
        contained: Whether its program is part of a container image.

    Raises:
        ValueRefused: A setting is unknown or invalid.
    """

    name: str
    config: str
    verifies = False
    log = ""
    statistics = ""
    open_files: int = 4096

    def __init__(self, layout: Layout, settings: Mapping[str, Any], contained: bool = False) -> None:
        self.layout = layout
        self.contained = contained
        self.settings = settings

    @property
    def capabilities(self) -> ProxyCapabilities:
        """What this proxy can do."""
        return PROXIES[self.name]

    @property
    def user(self) -> str:
        """The unprivileged user that runs it if S2CS is root."""
        return f"scistream-{self.name}"

    @property
    def unit(self) -> str:
        """Prefix of its systemd template unit."""
        return f"scistream-{self.name}"

    @classmethod
    @abstractmethod
    def setting_names(cls) -> Iterable[str]:
        """Return the names of its settings."""

    def check(self, spec: DataServerSpec) -> None:
        """Refuse, before anything changes, a specification that this proxy does not support."""
        if spec.rate is not None:
            problem = rate_problem(self.name, spec.transport, spec.rate, len(spec.listeners))
            if problem:
                raise S2DSException(problem)
        for option, wanted, able in (
            ("encryption", spec.encryption, self.capabilities.encryptions),
            ("transport", spec.transport, self.capabilities.transports),
        ):
            if wanted not in able:
                raise S2DSException(
                    f"{option}: the proxy {self.name} does not support {wanted}, only {' or '.join(able)}: "
                    "use that, or choose another proxy"
                )
        _check_encryption(spec)
        if not self.capabilities.holds_listeners and not all(listener.port for listener in spec.listeners):
            raise S2DSException(f"listeners: the proxy {self.name} cannot choose ports; specify them")

    @property
    def persistent_files(self) -> Sequence[str]:
        """Files that the program writes below its directory and that must survive a restart."""
        return [self.log] if self.log else []

    def tasks(self, spec: DataServerSpec) -> int:
        """Return the maximum number of processes and threads that a start or a reload adds."""
        return 4

    def most_tasks(self, spec: DataServerSpec) -> int:
        """Return the maximum number of processes and threads for connections."""
        return 0

    def task(self, spec: DataServerSpec) -> Task:
        """Return the program to run for a specification."""
        return Task(
            spec.name,
            self.name,
            self.unit,
            self.user,
            self.open_files,
            self.tasks(spec),
            self.most_tasks(spec),
            self.persistent_files,
        )

    @abstractmethod
    def files(self, spec: DataServerSpec) -> dict[str, str]:
        """Return the configuration files by name."""

    @abstractmethod
    def command(self, directory: str) -> Sequence[str]:
        """Return the program and its arguments.

        Args:
            directory: The data server's directory as the program sees it.
        """

    @abstractmethod
    def reload(self, place: Place, control: Control) -> None:
        """Reload the changed configuration, and wait until it is in effect. Established connections continue.

        Raises:
            S2DSException: It was not loaded.
        """

    @abstractmethod
    def probe(self, place: Place) -> dict[str, Any] | None:
        """Query the running program for its counters, and for its listeners if it chose them.

        This takes a few seconds at most, whatever the program does, and changes nothing.

        Returns:
            None if it is not running, or not yet.

        Raises:
            S2DSException: It is running, but does not serve, or its reply is invalid.
        """

    def totals(self, place: Place) -> dict[str, Any] | None:
        """Return the stored totals of the session, for a program that does not answer.

        Returns:
            Its counters without open connections, or None if nothing is known.
        """
        return None

    def compact_log(self, place: Place) -> None:  # noqa: B027 - not every proxy has a log
        """Store the totals of the connection log, and free its disk space. Only one process does so at a time."""

    def last_output(self, place: Place) -> list[str]:
        """Return the lines since the last start, if the program writes them only to a file of its own."""
        return []

    def verify(self, directory: str, run: RunOnce) -> None:  # noqa: B027 - not every program can
        """Have the program check the configuration in a directory like the data server's.

        Raises:
            S2DSException: It is invalid.
        """


def _check_encryption(spec: DataServerSpec) -> None:
    """Refuse options that are incompatible with the encryption."""
    if spec.encryption == "none":
        for option, given in (
            ("certificate", spec.certificate),
            ("key", spec.key),
            ("peer_certificate", spec.peer_certificate),
        ):
            if given is not None:
                raise S2DSException(f"{option}: encryption is none, which does not use it; omit it")
        return
    if spec.transport != "tcp":
        raise S2DSException(
            f"encryption: {spec.encryption} protects tcp only, but transport is {spec.transport}; "
            "use encryption none for UDP"
        )
    if not spec.role:
        raise S2DSException("role: required with encryption tls: producer or consumer")
