# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What forwards: the interface that each proxy implements in a file of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Callable, Iterable, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES, ProxyCapabilities
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Control, DataServerSpec, Place, Task

# Runs a command in a directory to its end; returns its exit status and what it wrote.
RunOnce = Callable[[Sequence[str], str], "tuple[int, list[str]]"]


class Proxy(ABC):
    """One kind of data server: how it is configured, started, asked and reloaded.

    Attributes:
        name: As users write it.
        config: Name of the configuration in the instance's directory.
        verifies: Whether a configuration can be checked before it replaces the one in force.
        log: The log of connections that it writes below its directory and S2CS keeps small; empty: there is none.
        statistics: Shell that asks it what it counts, where nothing but a shell in its container can: its directory is
            the second argument, and each line is handed to the function ``say``. Empty: it cannot be asked there.
        open_files: How many files each of its processes has open with as many connections as the settings allow.

    Args:
        layout: Where things are on this gateway.
        settings: The administrator's settings for this proxy, from the policy.
        contained: Whether its program comes out of an image.

    Raises:
        ValueRefused: A setting is unknown or wrong.
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
        """What it can do."""
        return PROXIES[self.name]

    @property
    def user(self) -> str:
        """The unprivileged user that runs it where S2CS is root."""
        return f"scistream-{self.name}"

    @property
    def unit(self) -> str:
        """Prefix of its systemd template unit."""
        return f"scistream-{self.name}"

    @classmethod
    @abstractmethod
    def setting_names(cls) -> Iterable[str]:
        """Return the names of the settings that an administrator may give."""

    def check(self, spec: DataServerSpec) -> None:
        """Refuse, before anything changes, what this proxy cannot do."""
        if spec.rate is not None and not self.capabilities.limits_rate:
            raise S2DSException(
                f"rate: the proxy {self.name} cannot limit the rate of a session; omit rate, or choose s2ds"
            )
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
        """Files that it writes below its directory and that are to outlive it."""
        return [self.log] if self.log else []

    def tasks(self, spec: DataServerSpec) -> int:
        """Return how many processes and threads a start or a reload adds at most."""
        return 4

    def most_tasks(self, spec: DataServerSpec) -> int:
        """Return how many processes and threads there may come to be by connections alone."""
        return 0

    def task(self, spec: DataServerSpec) -> Task:
        """Return what a runtime is asked to run."""
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
        """Return the configuration: the text of each file in the instance's directory."""

    @abstractmethod
    def command(self, directory: str) -> Sequence[str]:
        """Return the program and its arguments; the directory is that of the instance as the program sees it."""

    @abstractmethod
    def reload(self, place: Place, control: Control) -> None:
        """Have the running proxy take over its changed configuration, and wait until it is in force.

        Established connections go on.

        Raises:
            S2DSException: It did not take it over.
        """

    @abstractmethod
    def probe(self, place: Place) -> dict[str, Any] | None:
        """Ask the running proxy for its counters, and for its listeners where it chose them.

        It takes a few seconds at most, whatever the proxy does, and changes nothing.

        Returns:
            None if it is not there, or not there yet.

        Raises:
            S2DSException: It is there and does not serve, or answers what no data server of ours would.
        """

    def totals(self, place: Place) -> dict[str, Any] | None:
        """Return what the session has counted in all as far as that is written down, for one that does not answer.

        Returns:
            Its counters, with nothing open; None if nothing is known.
        """
        return None

    def compact_log(self, place: Place) -> None:  # noqa: B027 - not every proxy has a log
        """Store the totals of the connection log, so that it can be freed; only one process does so at a time."""

    def last_output(self, place: Place) -> list[str]:
        """Return the lines that it wrote since it was started last, where it writes them to a file of its own only."""
        return []

    def verify(self, directory: str, run: RunOnce) -> None:  # noqa: B027 - not every program can
        """Have the program itself check the configuration in a directory that is like that of the instance."""


def _check_encryption(spec: DataServerSpec) -> None:
    """Refuse what does not go together with the encryption."""
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
