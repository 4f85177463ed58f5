# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The settings of the forwarder in the policy. The forwarder accepts the same values."""

from __future__ import annotations

import re
from typing import Any, Callable, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_number, check_path

SETTINGS: Mapping[str, Any] = {
    "pipe_size": 1048576,
    "workers": 0,
    "max_connections": 1024,
    "connect_timeout": 10,
    "congestion": {"accept": None, "connect": None},
    # Interpreter on this host. Images have their own.
    "python": "",
}
_OPTION = "proxies.s2ds.settings"
_LEGS = ("accept", "connect")
_ALGORITHM = re.compile(r"[a-z][a-z0-9_-]{0,14}", re.ASCII)


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings, after checking those that are given.

    Args:
        given: The settings in the policy.

    Raises:
        ValueRefused: A setting is unknown or invalid.
    """
    unknown = sorted(map(str, set(given) - set(SETTINGS)))
    if unknown:
        raise ValueRefused(_OPTION, unknown, f"the settings are {', '.join(sorted(SETTINGS))}")
    return {**SETTINGS, **{name: _CHECKS[name](f"{_OPTION}.{name}", value) for name, value in given.items()}}


def _whole(low: int, high: int) -> Callable[[str, Any], int]:
    return lambda option, value: check_number(option, value, low, high)


def _seconds(option: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.1 <= value <= 3600:
        raise ValueRefused(option, value, "give a number from 0.1 to 3600")
    return value


def _congestion(option: str, value: Any) -> dict[str, str | None]:
    if not isinstance(value, dict) or not set(value) <= set(_LEGS):
        raise ValueRefused(option, value, 'give an object such as {"accept": "bbr", "connect": "cubic"}')
    for leg, algorithm in value.items():
        if algorithm is not None and not (isinstance(algorithm, str) and _ALGORITHM.fullmatch(algorithm)):
            raise ValueRefused(f"{option}.{leg}", algorithm, "give the name of a TCP congestion control such as cubic")
    return value


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "pipe_size": _whole(4096, 64 << 20),
    "workers": _whole(0, 64),
    "max_connections": _whole(1, 65536),
    "connect_timeout": _seconds,
    "congestion": _congestion,
    "python": check_path,
}
