# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What forwards: the interface that each proxy implements in a file of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.instance import Instance
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtime import Control
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.site import Site


class Proxy(ABC):
    """One kind of data server: how it is configured, started, asked and reloaded.

    Attributes:
        name: As users write it.
        unit: Prefix of its systemd template unit.
        user: The unprivileged user that runs it where S2CS is root.
        holds_listeners: Whether it listens from the REQ on; others are started by the first UPDATE.
        limits_rate: Whether it can keep a session to a rate.
        verifies: Whether a configuration can be checked before it replaces the one in force.
        encryptions: How it can protect the connection between the two gateways.
        transports: What it can forward.
        key_file: The file of an instance that holds the key shared by both gateways, where the proxy has one.

    Args:
        site: Where things are on this gateway.
        settings: The administrator's settings for this proxy, from the policy.

    Raises:
        ValueRefused: A setting is unknown or wrong.
    """

    name: str
    unit: str
    user: str
    holds_listeners = False
    limits_rate = False
    verifies = False
    encryptions: Sequence[str] = ("none",)
    transports: Sequence[str] = ("tcp",)
    key_file: str | None = None

    def __init__(self, site: Site, settings: Mapping[str, Any]) -> None:
        self.site = site
        self.settings = settings

    def check(self, instance: Instance) -> None:
        """Refuse, before anything changes, what this proxy cannot do."""
        if instance.rate is not None and not self.limits_rate:
            raise S2DSException(
                f"rate: the proxy {self.name} cannot limit the rate of a session; leave rate out, or choose s2ds"
            )
        for option, wanted, able in (
            ("encryption", instance.encryption, self.encryptions),
            ("transport", instance.transport, self.transports),
        ):
            if wanted not in able:
                raise S2DSException(
                    f"{option}: the proxy {self.name} cannot do {wanted}; it can do {' or '.join(able)}: "
                    "ask for that, or choose another proxy"
                )
        if instance.psk is not None and self.key_file is None:
            raise S2DSException(f"psk: the proxy {self.name} uses no key of this kind; leave psk out")
        if not self.holds_listeners and not all(listener.port for listener in instance.listeners):
            raise S2DSException(f"listeners: the proxy {self.name} cannot choose ports itself; name them")

    @abstractmethod
    def files(self, instance: Instance) -> dict[str, str]:
        """Return the configuration: the text of each file in the instance's directory."""

    @abstractmethod
    def command(self, directory: str) -> Sequence[str]:
        """Return the program and its arguments."""

    @abstractmethod
    def reload(self, directory: str, control: Control) -> None:
        """Have the running proxy take over its changed configuration, and wait until it is in force.

        Established connections go on.

        Raises:
            S2DSException: It did not take it over.
        """

    @abstractmethod
    def probe(self, directory: str) -> dict[str, Any] | None:
        """Ask the running proxy for its counters, and for its listeners where it chose them; None without an answer."""

    def key(self, directory: str) -> str | None:
        """Return the key in an instance's directory, or None where there is none."""
        return None

    def verify(self, directory: str) -> None:  # noqa: B027 - not every program can
        """Have the program itself check the configuration in a directory that is like that of the instance."""
