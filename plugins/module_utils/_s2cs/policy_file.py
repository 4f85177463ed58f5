# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The administrator's policy file: one JSON file, written by the role ``s2cs``; every key and its check are here."""

from __future__ import annotations

import json
import os
import re
from typing import Any, Callable

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import PolicyError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.limits import parse_limits
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.targets import parse_rules
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.values import ENCRYPTIONS, ROLES
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.endpoint import parse_address, parse_networks
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import ScistreamError, ValueRefused, show
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus_settings import parse_settings
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.site import SUPERVISORS, Site
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.values import (
    check_choice,
    check_number,
    check_path,
)

DEFAULT_CONFIG = "/etc/scistream/s2cs.json"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}", re.ASCII)
# Names of users in directories may have a domain, as in DOMAIN\user or user@example.org.
_USER = re.compile(r"[^\s:/,-][^\s:/,]{0,252}")


def load_policy(path: str) -> Policy:
    """Read and check the policy file.

    Raises:
        PolicyError: It cannot be read, or a key in it is unknown, missing or wrong.
    """
    shown = path if path.isprintable() and len(path) <= 200 else show(path)
    try:
        with open(path, encoding="utf-8") as stream:
            document = json.load(stream)
    except FileNotFoundError:
        raise PolicyError(
            f"config: there is no policy file {shown}: run the role scistream.gateway.s2cs on this gateway, "
            "or name another file with the option config"
        ) from None
    except (OSError, ValueError) as error:
        raise PolicyError(f"config: the policy file {shown} cannot be read: {_readable(error)}") from None
    try:
        return _parse(path, document)
    except ScistreamError as error:
        raise PolicyError(f"config: {shown}: {error}") from None


def _readable(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "permission denied; does the task become the user of this control server (become: true)?"
    return error.strerror or "it is no file" if isinstance(error, OSError) else str(error)


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


def _encryptions(key: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        raise ValueRefused(key, value, f"give a list of {' and '.join(ENCRYPTIONS)}, or of one of them")
    return [check_choice(f"{key}[{index}]", item, ENCRYPTIONS) for index, item in enumerate(value)]


def _users(key: str, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise ValueRefused(key, value, "give a list of names of users")
    for index, item in enumerate(value):
        if not isinstance(item, str) or not _USER.fullmatch(item) or not item.isprintable():
            raise ValueRefused(f"{key}[{index}]", item, "give the name of a user")
    return value


def _seconds(key: str, value: Any) -> int:
    return check_number(key, value, 1, 7 * 86400)


_SITE_KEYS = ("state_dir", "program_dir", "template_dir", "supervisor", "dedicated_users", "janus")
_KEYS: dict[str, Callable[[str, Any], Any]] = {
    "gateway": _text,
    "state_dir": check_path,
    "program_dir": check_path,
    "template_dir": check_path,
    "supervisor": lambda key, value: check_choice(key, value, SUPERVISORS),
    "dedicated_users": _yes_or_no,
    "janus": parse_settings,
    "listen": _by_role(parse_address),
    "egress": _by_role(_optional_address),
    "port_range": _port_range,
    "proxies": _proxies,
    "default_proxy": _text,
    "default_runtime": _text,
    "targets": _by_role(parse_rules),
    "clients": _by_role(parse_networks),
    "limits": parse_limits,
    "encryption": _encryptions,
    "administrators": _users,
    "hello_timeout": _seconds,
    "hello_timeout_max": _seconds,
}
