# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The administrator's policy: what this gateway offers, to whom, and where its files are.

One JSON file, written by the role ``s2cs``; every key, its default and its check are here.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import PolicyError, RefusedError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.values import ROLES
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.endpoint import (
    Endpoint,
    Network,
    is_local,
    parse_address,
    parse_network,
    parse_networks,
    within,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import ScistreamError, ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.janus_settings import parse_settings
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.site import SUPERVISORS, Site
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.values import check_choice, check_number

DEFAULT_CONFIG = "/etc/scistream/s2cs.json"

_RULE = re.compile(
    r"(?P<network>\[[^\]]+\]|[^\[\]:]+|[0-9A-Fa-f:.]*/?[0-9]*)(?::(?P<low>[0-9]{1,5})(?:-(?P<high>[0-9]{1,5}))?)?"
)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}", re.ASCII)


@dataclass(frozen=True)
class TargetRule:
    """Targets that are allowed: a network and a range of ports."""

    text: str
    network: Network
    low: int = 1
    high: int = 65535

    def allows(self, target: Endpoint) -> bool:
        """Tell whether a target (with an IP address) is inside this rule."""
        address = target.address
        return address is not None and address in self.network and self.low <= target.port <= self.high


@dataclass(frozen=True)
class Policy:
    """A policy that has been read and checked; the defaults of the file are the defaults here."""

    config: str
    gateway: str
    site: Site
    listen: Mapping[str, str]
    egress: Mapping[str, str | None] = field(default_factory=dict)
    port_range: tuple[int, int] = (5100, 5200)
    proxies: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"s2ds": {"runtimes": ["process"]}})
    default_proxy: str = "s2ds"
    default_runtime: str = "process"
    targets: Mapping[str, Sequence[TargetRule]] = field(default_factory=dict)
    clients: Mapping[str, Sequence[Network]] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    hello_timeout: int = 180
    hello_timeout_max: int = 3600

    @property
    def max_connections(self) -> int:
        """Largest ``num_conn`` of a session."""
        return min(self.limits.get("num_conn", 64), self.port_range[1] - self.port_range[0] + 1)

    @property
    def max_sessions(self) -> int:
        """Largest number of sessions at a time."""
        return self.limits.get("sessions", 256)

    def check_role(self, role: str) -> str:
        """Return the listener address of a role that this gateway offers."""
        if role not in self.listen:
            raise RefusedError(
                f"role: gateway {self.gateway} does not offer the role {role!r}; its policy {self.config} "
                f"names a listener address for: {', '.join(sorted(self.listen))}"
            )
        return self.listen[role]

    def check_proxy(self, proxy: str, runtime: str) -> None:
        """Refuse a proxy or a runtime that is not on offer."""
        check_choice("proxy", proxy, self.proxies)
        check_choice("runtime", runtime, self.runtimes(proxy))

    def runtimes(self, proxy: str) -> Sequence[str]:
        """Return where a proxy may run."""
        found: Sequence[str] = self.proxies[proxy].get("runtimes", ["process"])
        return found

    def check_target(self, option: str, role: str, target: Endpoint) -> None:
        """Refuse a target (with an IP address) that the rules for this role do not allow."""
        rules = self.targets.get(role)
        if rules is not None:
            if not any(rule.allows(target) for rule in rules):
                allowed = ", ".join(rule.text for rule in rules) or "none"
                raise RefusedError(
                    f"{option}: the target {target} is not allowed for the role {role} on gateway {self.gateway}; "
                    f"its policy {self.config} allows: {allowed}"
                )
            return
        address = target.address
        if address is None or address.is_link_local or address.is_multicast or address.is_unspecified:
            kind = "a link-local, multicast or unspecified address"
        elif is_local(address):
            kind = "loopback or another address of this gateway itself"
        else:
            return
        raise RefusedError(
            f"{option}: the target {target} is {kind}, to which gateway {self.gateway} never forwards unless "
            f"its policy {self.config} lists it under targets"
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
                    f"its policy {self.config} allows: {', '.join(map(str, allowed))}"
                )
        return list(networks)


def load_policy(path: str) -> Policy:
    """Read and check the policy file.

    Raises:
        PolicyError: It cannot be read, or a key in it is unknown, missing or wrong.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            document = json.load(stream)
    except FileNotFoundError:
        raise PolicyError(
            f"config: there is no policy file {path}: run the role scistream.gateway.s2cs on this gateway, "
            "or name another file with the option config"
        ) from None
    except (OSError, ValueError) as error:
        raise PolicyError(f"config: the policy file {path} cannot be read: {error}") from None
    try:
        return _parse(path, document)
    except ScistreamError as error:
        raise PolicyError(f"config: {path}: {error}") from None


def _parse(path: str, document: Any) -> Policy:
    if not isinstance(document, dict):
        raise PolicyError("an object with the keys of the policy is needed")
    unknown = sorted(set(document) - set(_KEYS))
    missing = sorted({"state_dir", "listen"} - set(document))
    if unknown or missing:
        raise PolicyError(
            f"unknown keys: {', '.join(unknown) or 'none'}; missing keys: {', '.join(missing) or 'none'}; "
            f"allowed are {', '.join(sorted(_KEYS))}"
        )
    values = {key: _KEYS[key](key, value) for key, value in document.items()}
    site = Site(**{key: values.pop(key) for key in list(values) if key in _SITE_KEYS})
    values.setdefault("gateway", os.uname().nodename)
    policy = Policy(config=path, site=site, **values)
    check_choice("default_proxy", policy.default_proxy, policy.proxies)
    check_choice("default_runtime", policy.default_runtime, policy.runtimes(policy.default_proxy))
    check_number("hello_timeout", policy.hello_timeout, 1, policy.hello_timeout_max)
    return policy


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueRefused(key, value, "give a name of letters, digits, dots, dashes and underscores")
    return value


def _directory(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable() or ".." in value.split("/"):
        raise ValueRefused(key, value, "give an absolute path")
    return os.path.normpath(value)


def _yes_or_no(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueRefused(key, value, "give true or false")
    return value


def _by_role(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    def checked(key: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or not set(value) <= set(ROLES):
            raise ValueRefused(key, value, f"give an object with the keys {' and '.join(ROLES)}")
        return {role: check(f"{key}.{role}", item) for role, item in value.items()}

    return checked


def _optional_address(key: str, value: Any) -> str | None:
    return None if value is None else parse_address(key, value)


def _port_range(key: str, value: Any) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueRefused(key, value, "give the first and the last port, as [5100, 5200]")
    low = check_number(f"{key}[0]", value[0], 1, 65535)
    return low, check_number(f"{key}[1]", value[1], low, 65535)


def _rules(key: str, value: Any) -> list[TargetRule]:
    if not isinstance(value, list):
        raise ValueRefused(key, value, 'give a list such as ["10.1.0.0/16", "198.51.100.0/24:5100-5200"]')
    return [_rule(f"{key}[{index}]", item) for index, item in enumerate(value)]


def _rule(key: str, value: Any) -> TargetRule:
    match = _RULE.fullmatch(value) if isinstance(value, str) else None
    try:
        if match is None:
            raise ValueError
        network = parse_network(key, match.group("network").strip("[]"))
    except (ValueError, ValueRefused):
        raise ValueRefused(key, value, 'give "network" or "network:port" or "network:port-port"; IPv6 in []') from None
    low = int(match.group("low") or 1)
    high = int(match.group("high") or match.group("low") or 65535)
    check_number(f"{key} port", low, 1, 65535)
    check_number(f"{key} port", high, low, 65535)
    return TargetRule(value, network, low, high)


def _proxies(key: str, value: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict) or not value or not all(isinstance(item, dict) for item in value.values()):
        raise ValueRefused(key, value, 'give an object such as {"s2ds": {"runtimes": ["process"]}}')
    for name, item in value.items():
        if not set(item) <= {"runtimes", "settings"}:
            raise ValueRefused(f"{key}.{name}", item, "the keys are runtimes and settings")
        runtimes = item.get("runtimes", ["process"])
        if not isinstance(runtimes, list) or not runtimes or not all(isinstance(entry, str) for entry in runtimes):
            raise ValueRefused(f"{key}.{name}.runtimes", runtimes, 'give a list such as ["process"]')
        if not isinstance(item.get("settings", {}), dict):
            raise ValueRefused(f"{key}.{name}.settings", item["settings"], "give an object")
    return value


def _limits(key: str, value: Any) -> dict[str, int]:
    if not isinstance(value, dict) or not set(value) <= {"num_conn", "sessions"}:
        raise ValueRefused(key, value, "the keys are num_conn and sessions")
    return {name: check_number(f"{key}.{name}", item, 1, 65535) for name, item in value.items()}


def _seconds(key: str, value: Any) -> int:
    return check_number(key, value, 1, 7 * 86400)


_SITE_KEYS = ("state_dir", "program_dir", "template_dir", "supervisor", "dedicated_users", "janus")
_KEYS: dict[str, Callable[[str, Any], Any]] = {
    "gateway": _text,
    "state_dir": _directory,
    "program_dir": _directory,
    "template_dir": _directory,
    "supervisor": lambda key, value: check_choice(key, value, SUPERVISORS),
    "dedicated_users": _yes_or_no,
    "janus": parse_settings,
    "listen": _by_role(parse_address),
    "egress": _by_role(_optional_address),
    "port_range": _port_range,
    "proxies": _proxies,
    "default_proxy": _text,
    "default_runtime": _text,
    "targets": _by_role(_rules),
    "clients": _by_role(parse_networks),
    "limits": _limits,
    "hello_timeout": _seconds,
    "hello_timeout_max": _seconds,
}
