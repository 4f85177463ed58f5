# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The administrator's policy: what this gateway offers, and to whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint, Network, Networks
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ENCRYPTIONS, MAX_LIFETIME
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_number
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.limits import DEFAULT_LIMITS, Limits
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.target_rules import TargetRule, refusal_reason
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout


@dataclass(frozen=True)
class Policy:
    """A validated policy. Its defaults are those of the policy file.

    Every refusal ends with the responsible key of the policy.

    Attributes:
        problems: Errors in a policy that was read leniently, only for listing and releasing sessions.
        faulty: Keys with errors. They have their defaults, or only the valid part of their values.
    """

    config: str
    gateway: str
    layout: Layout
    listen: Mapping[str, str]
    egress: Mapping[str, str | None] = field(default_factory=dict)
    port_range: tuple[int, int] = (5100, 5200)
    proxies: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"s2ds": {"runtimes": ["process"]}})
    default_proxy: str = "s2ds"
    default_runtime: str = "process"
    encryption: Sequence[str] = ENCRYPTIONS
    targets: Mapping[str, Sequence[TargetRule]] = field(default_factory=dict)
    clients: Mapping[str, Sequence[Network]] = field(default_factory=dict)
    administrators: Sequence[str] = ()
    limits: Limits = DEFAULT_LIMITS
    hello_timeout: int = 180
    hello_timeout_max: int = 3600
    status_address: str | None = None
    problems: Sequence[str] = ()
    faulty: Sequence[str] = ()

    @property
    def max_connections(self) -> int:
        """Maximum ``num_conn`` of a session."""
        return min(self.limits.num_conn, self.port_range[1] - self.port_range[0] + 1)

    def check_role(self, role: str) -> str:
        """Return the listener address of a role.

        Raises:
            RefusedError: This gateway does not offer the role.
        """
        if role not in self.listen:
            raise RefusedError(
                f"role: gateway {self.gateway} does not offer the role {role!r}; its policy {self.config} "
                f"names a listener address for: {', '.join(sorted(self.listen))}",
                "listen",
            )
        return self.listen[role]

    def peer_address(self) -> str:
        """Return the address at which a consumer's gateway listens for a producer's gateway that connects to it.

        This is the address of the role producer, at which other gateways connect in any case. Without one, it is that
        of the role consumer, unless connections to other gateways leave from another address.

        Raises:
            RefusedError: There is no address that other gateways can be assumed to reach.
        """
        own, egress = self.check_role("consumer"), self.egress.get("consumer")
        found = self.listen.get("producer") or (own if egress in (None, own) else None)
        if found is None:
            raise RefusedError(
                f"dial: gateway {self.gateway} has no address for connections of other gateways; its policy "
                f"{self.config} only names {own} for applications: add listen.producer",
                "listen",
            )
        return found

    def check_proxy(self, proxy: str, runtime: str) -> None:
        """Check that a proxy and a runtime are available.

        Raises:
            RefusedError: The proxy is not available, or not in this runtime.
        """
        _check_offered("proxy", proxy, self.proxies, "proxies")
        _check_offered("runtime", runtime, self.runtimes(proxy), f"proxies.{proxy}.runtimes")

    def runtimes(self, proxy: str) -> Sequence[str]:
        """Return the runtimes of a proxy."""
        found: Sequence[str] = self.proxies[proxy].get("runtimes", ["process"])
        return found

    def settings(self, proxy: str) -> Mapping[str, Any]:
        """Return the settings of a proxy, which are empty if this gateway does not offer it."""
        found: Mapping[str, Any] = self.proxies.get(proxy, {}).get("settings", {})
        return found

    def check_encryption(self, encryption: str) -> str:
        """Return an encryption if it is allowed."""
        return _check_offered("encryption", encryption, self.encryption, "encryption")

    def check_connections(self, number: int) -> int:
        """Return the number of connections of a session if it is allowed."""
        rule = "limits.num_conn" if self.max_connections == self.limits.num_conn else "port_range"
        return _at_most("num_conn", number, self.max_connections, rule)

    def check_ports(self, ports: Sequence[int]) -> Sequence[int]:
        """Return the ports that a request specifies if they are allowed."""
        low, high = self.port_range
        for index, port in enumerate(ports):
            if not low <= port <= high:
                raise RefusedError(
                    f"ports[{index}]: {port} is not allowed: must be in the range {low}-{high} of this gateway",
                    "port_range",
                )
        return ports

    def check_hello_timeout(self, seconds: int | None) -> int:
        """Return the timeout for the HELLO in seconds: the requested one, or the default."""
        if seconds is None:
            return self.hello_timeout
        return _at_most("hello_timeout", seconds, self.hello_timeout_max, "hello_timeout_max")

    def check_lifetime(self, seconds: int | None) -> int | None:
        """Return the lifetime of a session in seconds: the requested one, or the maximum. None means no limit."""
        maximum = self.limits.lifetime
        if seconds is None:
            return maximum
        if maximum is None:
            return check_number("lifetime", seconds, 1, MAX_LIFETIME)
        return _at_most("lifetime", seconds, maximum, "limits.lifetime")

    def target_refusal(self, role: str, target: Endpoint) -> str | None:
        """Return why a target is not allowed for a role, or None if it is allowed.

        Args:
            role: The role.
            target: The target, with an IP address.
        """
        return refusal_reason(self.targets.get(role), target)

    def check_target(self, option: str, role: str, target: Endpoint) -> None:
        """Check that a target is allowed for a role.

        Args:
            option: Name of the option, for the message.
            role: The role.
            target: The target, with an IP address.

        Raises:
            RefusedError: The target is not allowed.
        """
        why = self.target_refusal(role, target)
        if why is not None:
            raise RefusedError(
                f"{option}: the target {target} is not allowed for the role {role} on gateway {self.gateway} by its "
                f"policy {self.config}: {why}",
                f"targets.{role}",
            )

    def check_clients(self, option: str, role: str, networks: Sequence[Network]) -> list[Network]:
        """Return the networks that may connect to the listeners.

        Args:
            option: Name of the option, for the message.
            role: The role.
            networks: The requested networks. If empty, all networks that the policy allows are returned.

        Raises:
            RefusedError: A requested network is not allowed.
        """
        allowed = list(self.clients.get(role, ()))
        if not networks:
            return allowed
        # Merged, and searched by the addresses at which the networks begin, because both lists can be long.
        merged = Networks(allowed)
        for network in networks:
            if allowed and network not in merged:
                raise RefusedError(
                    f"{option}: {network} may not connect to listeners of the role {role} on gateway {self.gateway}; "
                    f"its policy {self.config} allows: {', '.join(map(str, allowed))}",
                    f"clients.{role}",
                )
        return list(networks)


def _check_offered(option: str, value: str, offered: Sequence[str] | Mapping[str, Any], rule: str) -> str:
    if value not in offered:
        choices = ", ".join(sorted(offered))
        raise RefusedError(f"{option}: {show(value)} is not allowed: must be one of {choices}", rule)
    return value


def _at_most(option: str, value: int, maximum: int, rule: str) -> int:
    """Return a number from 1 to a maximum.

    Raises:
        RefusedError: The number exceeds the maximum of the policy.
        ValueRefused: The number is invalid under any policy.
    """
    try:
        return check_number(option, value, 1, maximum)
    except ValueRefused as error:
        if isinstance(value, int) and value > maximum:
            raise RefusedError(str(error), rule) from None
        raise
