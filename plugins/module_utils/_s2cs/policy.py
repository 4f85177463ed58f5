# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The administrator's policy: what this gateway offers, and to whom. The file that says it is read elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint, Network, within
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ENCRYPTIONS, MAX_LIFETIME
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_number
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.limits import DEFAULT_LIMITS, Limits
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.target_rules import TargetRule, refusal
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout


@dataclass(frozen=True)
class Policy:
    """A policy that has been read and checked; the defaults of the file are the defaults here.

    Each refusal ends with the key of the policy that refuses. ``problems`` says what is wrong with a policy that was
    read for looking and releasing only, and ``faulty`` names the keys whose values are defaults, or less than the file
    says, for that reason.
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
    problems: Sequence[str] = ()
    faulty: Sequence[str] = ()

    @property
    def max_connections(self) -> int:
        """Largest ``num_conn`` of a session."""
        return min(self.limits.num_conn, self.port_range[1] - self.port_range[0] + 1)

    def check_role(self, role: str) -> str:
        """Return the listener address of a role that this gateway offers."""
        if role not in self.listen:
            raise RefusedError(
                f"role: gateway {self.gateway} does not offer the role {role!r}; its policy {self.config} "
                f"names a listener address for: {', '.join(sorted(self.listen))}",
                "listen",
            )
        return self.listen[role]

    def check_proxy(self, proxy: str, runtime: str) -> None:
        """Refuse a proxy or a runtime that is not on offer."""
        _offered("proxy", proxy, self.proxies, "proxies")
        _offered("runtime", runtime, self.runtimes(proxy), f"proxies.{proxy}.runtimes")

    def runtimes(self, proxy: str) -> Sequence[str]:
        """Return where a proxy may run."""
        found: Sequence[str] = self.proxies[proxy].get("runtimes", ["process"])
        return found

    def check_encryption(self, encryption: str) -> str:
        """Return how a session is encrypted, if that is allowed."""
        return _offered("encryption", encryption, self.encryption, "encryption")

    def check_connections(self, number: int) -> int:
        """Return the number of connections of a session, if it may have as many."""
        rule = "limits.num_conn" if self.max_connections == self.limits.num_conn else "port_range"
        return _up_to("num_conn", number, self.max_connections, rule)

    def check_hello_timeout(self, seconds: int | None) -> int:
        """Return how long a session waits for its HELLO: what was asked for, or the default."""
        if seconds is None:
            return self.hello_timeout
        return _up_to("hello_timeout", seconds, self.hello_timeout_max, "hello_timeout_max")

    def check_lifetime(self, seconds: int | None) -> int | None:
        """Return how long a session may live: what was asked for, or the longest; None is without an end."""
        longest = self.limits.lifetime
        if seconds is None:
            return longest
        if longest is None:
            return check_number("lifetime", seconds, 1, MAX_LIFETIME)
        return _up_to("lifetime", seconds, longest, "limits.lifetime")

    def target_refusal(self, role: str, target: Endpoint) -> str | None:
        """Return why the rules for this role do not allow a target (with an IP address), or None where they do."""
        return refusal(self.targets.get(role), target)

    def check_target(self, option: str, role: str, target: Endpoint) -> None:
        """Refuse a target (with an IP address) that the rules for this role do not allow."""
        why = self.target_refusal(role, target)
        if why is not None:
            raise RefusedError(
                f"{option}: the target {target} is not allowed for the role {role} on gateway {self.gateway} by its "
                f"policy {self.config}: {why}",
                f"targets.{role}",
            )

    def check_clients(self, option: str, role: str, networks: Sequence[Network]) -> list[Network]:
        """Return who may connect to the listeners: what was asked for, within what the policy allows."""
        allowed = list(self.clients.get(role, ()))
        if not networks:
            return allowed
        for network in networks:
            if allowed and not within(network, allowed):
                raise RefusedError(
                    f"{option}: {network} may not connect to listeners of the role {role} on gateway {self.gateway}; "
                    f"its policy {self.config} allows: {', '.join(map(str, allowed))}",
                    f"clients.{role}",
                )
        return list(networks)


def _offered(option: str, value: str, offered: Sequence[str] | Mapping[str, Any], rule: str) -> str:
    if value not in offered:
        choices = ", ".join(sorted(offered))
        raise RefusedError(f"{option}: {show(value)} is not allowed: choose one of {choices}", rule)
    return value


def _up_to(option: str, value: int, most: int, rule: str) -> int:
    """Return a number that is not too large, and tell what is wrong in itself from what the policy refuses."""
    try:
        return check_number(option, value, 1, most)
    except ValueRefused as error:
        if isinstance(value, int) and value > most:
            raise RefusedError(str(error), rule) from None
        raise
