# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The settings of a proxy in the policy. Each setting is checked separately, by the proxy."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any, Iterable, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import truth, whole_number
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.loader import proxy_class
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker import (
    settings as container_settings,
)


def read_settings(option: str, proxy: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the valid settings, and the problems of the others.

    Strings such as ``"16"`` and ``"yes"`` are converted if the setting is a number or a boolean.

    Args:
        option: Name of the option with the settings, for messages.
        proxy: Name of an existing proxy.
        given: The settings.
    """
    if not given:
        return {}, []
    kind = proxy_class(proxy)
    names = {*kind.setting_names(), *(field.name for field in fields(container_settings.ContainerSettings))}
    good: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in given.items():
        if name not in names:
            problems.append(f"{option}: {unknown(name, names)}")
            continue
        try:
            good[name] = _normalized(kind, name, value)
        except ValueRefused as error:
            problems.append(str(error))
    return good, problems


def unknown(name: Any, known: Iterable[str]) -> str:
    """Return the message for an unknown name, with the most similar known name, or all known names."""
    # Only needed after a mistake.
    import difflib

    near = difflib.get_close_matches(name, sorted(known), 1, 0.6) if isinstance(name, str) else []
    advice = f": did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(known))}"
    return f"there is no {show(name)}{advice}"


def _normalized(kind: type[Proxy], name: str, value: Any) -> Any:
    """Return the value of a setting, converted if only that makes it valid."""
    try:
        _check(kind, {name: value})
    except ValueRefused:
        converted = _converted(value)
        if converted is None:
            raise
        try:
            _check(kind, {name: converted})
        except ValueRefused:
            # The error about the original value is the one that the administrator can understand.
            converted = None
        if converted is None:
            raise
        return converted
    return value


def _check(kind: type[Proxy], settings: Mapping[str, Any]) -> None:
    own, containers = container_settings.split(settings)
    container_settings.read(f"proxies.{kind.name}.settings", PROXIES[kind.name].image, containers)
    kind(Layout("/"), own)


def _converted(value: Any) -> int | float | bool | None:
    if not isinstance(value, str):
        return None
    if re.fullmatch(r"[0-9]{1,9}\.[0-9]{1,9}", value, re.ASCII):
        return float(value)
    found: int | bool | str = truth(whole_number(value))
    return None if isinstance(found, str) else found
