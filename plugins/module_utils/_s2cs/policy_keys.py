# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keys of a policy and their validation, for reading and writing a policy."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Any, Callable, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import (
    parse_address,
    parse_endpoint,
    parse_networks,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES, RUNTIMES
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import (
    ENCRYPTIONS,
    MAX_HELLO_TIMEOUT,
    ROLES,
    check_gateway,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import (
    check_choice,
    check_number,
    check_path,
    check_port_range,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import PolicyError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.limits import parse_limits
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.target_rules import parse_rules
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import SUPERVISORS, Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxy_settings import read_settings, unknown
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus.settings import (
    JanusSettings,
    parse_settings,
)

# User names from directory services may include a domain, as in DOMAIN\\user or user@example.org.
_USER = re.compile(r"[^\s:/,-][^\s:/,]{0,252}")
#: Data servers and the web server have no privilege to listen on lower ports.
LOWEST_PORT = 1024
_REQUIRED = ("state_dir", "listen")


def parse(config: str, document: Any) -> Policy:
    """Return the policy in a document.

    Its ``problems`` contain the errors. Faulty keys have their defaults or are omitted, so that such a policy can only
    be used for listing and releasing sessions.

    Args:
        config: Path of the policy file.
        document: The parsed document.

    Raises:
        PolicyError: The document does not specify where the sessions are.
    """
    if not isinstance(document, dict):
        raise PolicyError("it must be an object with the keys of the policy")
    problems = [unknown(key, KEYS) for key in document if key not in KEYS]
    missing = [key for key in _REQUIRED if key not in document]
    if missing:
        problems.append(f"missing keys: {', '.join(missing)}")
    values: dict[str, Any] = {}
    faulty = list(missing)
    for key, value in document.items():
        if key not in KEYS:
            continue
        before = len(problems)
        try:
            if key in _PARTIAL:
                values[key] = _PARTIAL[key](key, value, problems)
            else:
                values[key] = _KEYS[key](key, value)
        except ScistreamError as error:
            problems.append(str(error))
        if len(problems) > before:
            faulty.append(key)
    if "state_dir" not in values:
        raise PolicyError("; ".join(problems))
    return _policy(config, values, problems, faulty)


def _policy(config: str, values: dict[str, Any], problems: list[str], faulty: list[str]) -> Policy:
    """Return the policy after checking that its keys are consistent."""
    layout = Layout(**{key: values.pop(key) for key in list(values) if key in _LAYOUT_KEYS})
    values.setdefault("gateway", os.uname().nodename)
    values.setdefault("listen", {})
    policy = Policy(config=config, layout=layout, **values)
    low, high = policy.port_range
    policy = replace(policy, limits=policy.limits.for_ports(high - low + 1))
    _check_consistency(policy, problems, faulty)
    return replace(policy, problems=tuple(problems), faulty=tuple(faulty))


def _check_consistency(policy: Policy, problems: list[str], faulty: list[str]) -> None:
    """Check keys that depend on each other, and add errors to ``problems`` and ``faulty``."""

    def proxy() -> None:
        check_choice("default_proxy", policy.default_proxy, policy.proxies)

    def runtime() -> None:
        check_choice("default_runtime", policy.default_runtime, policy.runtimes(policy.default_proxy))

    def timeout() -> None:
        check_number("hello_timeout", policy.hello_timeout, 1, policy.hello_timeout_max)

    def status() -> None:
        address = policy.status_address
        low, high = policy.port_range
        if address is not None and low <= int(address.rpartition(":")[2]) <= high:
            raise ValueRefused("status_address", address, f"specify a port outside of port_range ({low}-{high})")

    for check, keys in (
        (proxy, ("default_proxy", "proxies")),
        (runtime, ("default_runtime", "default_proxy", "proxies")),
        (timeout, ("hello_timeout", "hello_timeout_max")),
        (status, ("status_address", "port_range")),
    ):
        # Faulty keys have already been reported.
        if set(keys) & set(faulty):
            continue
        try:
            check()
        except ScistreamError as error:
            problems.append(str(error))
            faulty.append(keys[0])


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > 253 or not value.isprintable():
        raise ValueRefused(key, value, "must be a name")
    return value


def _boolean(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueRefused(key, value, "must be true or false")
    return value


def _by_role(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    def checked(key: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or not set(value) <= set(ROLES):
            raise ValueRefused(key, value, f"must be an object with the keys {' and '.join(ROLES)}")
        return {role: check(f"{key}.{role}", item) for role, item in value.items()}

    return checked


def _optional_address(key: str, value: Any) -> str | None:
    return None if value is None else parse_address(key, value)


def _proxies(key: str, value: Any, problems: list[str]) -> dict[str, dict[str, Any]]:
    """Return the available proxies with their valid settings, and add errors to ``problems``."""
    if not isinstance(value, dict) or not value:
        raise ValueRefused(key, value, 'must be an object such as {"s2ds": {"runtimes": ["process"]}}')
    found: dict[str, dict[str, Any]] = {}
    for name, item in value.items():
        if name not in PROXIES:
            problems.append(f"{key}: {unknown(name, PROXIES)}")
        elif not isinstance(item, dict) or not set(item) <= {"runtimes", "settings"}:
            problems.append(str(ValueRefused(f"{key}.{name}", item, "the allowed keys are runtimes and settings")))
        else:
            found[name] = {
                "runtimes": _runtimes(f"{key}.{name}.runtimes", item.get("runtimes", ["process"]), problems),
                "settings": _settings(f"{key}.{name}.settings", name, item.get("settings", {}), problems),
            }
    return found


def _runtimes(key: str, value: Any, problems: list[str]) -> list[str]:
    if not isinstance(value, list) or not value:
        problems.append(str(ValueRefused(key, value, 'must be a list such as ["process"]')))
        return []
    problems += [f"{key}: {unknown(item, RUNTIMES)}" for item in value if item not in RUNTIMES]
    return [item for item in value if item in RUNTIMES]


def _settings(key: str, proxy: str, value: Any, problems: list[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        problems.append(str(ValueRefused(key, value, "must be an object")))
        return {}
    settings, errors = read_settings(key, proxy, value)
    problems += errors
    return settings


def _janus(key: str, value: Any, problems: list[str]) -> JanusSettings:
    """Return the settings of Janus without an invalid one, if it is optional."""
    try:
        return parse_settings(key, value)
    except ValueRefused as error:
        if not isinstance(value, dict):
            raise
        for name in value:
            rest = {other: item for other, item in value.items() if other != name}
            try:
                found = parse_settings(key, rest)
            except ValueRefused:
                continue
            problems.append(str(error))
            return found
        raise


def _encryptions(key: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        raise ValueRefused(key, value, f"must be a list of {' and '.join(ENCRYPTIONS)}, or one of them")
    return [check_choice(f"{key}[{index}]", item, ENCRYPTIONS) for index, item in enumerate(value)]


def _users(key: str, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise ValueRefused(key, value, "must be a list of user names")
    for index, item in enumerate(value):
        if not isinstance(item, str) or not _USER.fullmatch(item) or not item.isprintable():
            raise ValueRefused(f"{key}[{index}]", item, "must be a user name")
    return value


def _seconds(key: str, value: Any) -> int:
    return check_number(key, value, 1, MAX_HELLO_TIMEOUT)


def _status_address(key: str, value: Any) -> str | None:
    if value is None or value == "":
        return None
    endpoint = parse_endpoint(key, value, LOWEST_PORT)
    if endpoint.address is None:
        raise ValueRefused(key, value, "must be an IP address and a port, such as 192.0.2.1:9464")
    return str(endpoint)


_LAYOUT_KEYS = ("state_dir", "program_dir", "template_dir", "supervisor", "dedicated_users", "janus")
_KEYS: dict[str, Callable[[str, Any], Any]] = {
    "gateway": check_gateway,
    "state_dir": check_path,
    "program_dir": check_path,
    "template_dir": check_path,
    "supervisor": lambda key, value: check_choice(key, value, SUPERVISORS),
    "dedicated_users": _boolean,
    "listen": _by_role(parse_address),
    "egress": _by_role(_optional_address),
    "port_range": check_port_range,
    "default_proxy": _text,
    "default_runtime": _text,
    "targets": _by_role(parse_rules),
    "clients": _by_role(parse_networks),
    "limits": parse_limits,
    "encryption": _encryptions,
    "administrators": _users,
    "hello_timeout": _seconds,
    "hello_timeout_max": _seconds,
    "status_address": _status_address,
}
# Keys whose valid parts are used for listing and releasing sessions if other parts are invalid.
_PARTIAL: Mapping[str, Callable[[str, Any, list[str]], Any]] = {"proxies": _proxies, "janus": _janus}
#: All keys of a policy.
KEYS = (*_KEYS, *_PARTIAL)
