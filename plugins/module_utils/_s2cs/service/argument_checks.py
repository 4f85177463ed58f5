# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Validation of the arguments of calls, with the same options and types as the modules."""

from __future__ import annotations

import math
from typing import Any, Callable, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused, show
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import options

INFO = "info"
#: Several actions in one call, in the order in which they are listed.
SEQUENCE = "sequence"
_SESSIONS: Mapping[str, options.Options] = {
    "request": options.REQUEST,
    "hello": options.HELLO,
    "update": options.UPDATE,
    "release": options.RELEASE,
    "drop": options.DROP,
    "probe": options.PROBE,
}
ACTIONS = (*_SESSIONS, INFO, SEQUENCE)

# As many as there are messages in the life of a session.
_MAX_STEPS = 4
# Longer than any certificate.
_MAX_CHARACTERS = 65536


def check_arguments(action: str, given: Any) -> dict[str, Any]:
    """Return the options of an action as Ansible would pass them to its module.

    Raises:
        ValueRefused: An option is unknown or has the wrong type.
    """
    if not isinstance(given, dict):
        raise ValueRefused("arguments", given, "specify an object with the options of the module")
    if action == INFO:
        return _options("", given, options.INFO)
    if action == SEQUENCE:
        return _check_steps(given)
    allowed = _SESSIONS[action]
    # Null means omitted.
    given = {name: value for name, value in given.items() if value is not None}
    if "sessions" not in given:
        return {**_options("", given, allowed), "sessions": None}
    others = sorted(set(given) - {"sessions"})
    if others:
        raise ValueRefused(_escaped(others[0]), "(given)", "specify either sessions or the options of a single session")
    items = given["sessions"]
    if not isinstance(items, list):
        raise ValueRefused("sessions", items, "must be a list")
    return {"sessions": [_options(f"sessions[{index}].", item, allowed) for index, item in enumerate(items)]}


def _check_steps(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a sequence, with the options of each of its actions."""
    unknown = sorted(set(given) - {"steps"})
    if unknown:
        raise ValueRefused(_escaped(unknown[0]), "(given)", "a sequence only has steps")
    steps = given.get("steps")
    if not isinstance(steps, list) or not 1 <= len(steps) <= _MAX_STEPS:
        raise ValueRefused("steps", steps, f"must be a list of 1 to {_MAX_STEPS} actions")
    found = []
    for index, step in enumerate(steps):
        if not isinstance(step, dict) or set(step) != {"action", "arguments"}:
            raise ValueRefused(f"steps[{index}]", "(given)", "must be an object with action and arguments")
        if not isinstance(step["action"], str) or step["action"] not in _SESSIONS:
            raise ValueRefused(f"steps[{index}].action", step["action"], f"must be one of {', '.join(_SESSIONS)}")
        found.append({"action": step["action"], "arguments": check_arguments(step["action"], step["arguments"])})
    return {"steps": found}


def _options(where: str, given: Any, allowed: options.Options) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ValueRefused(where.rstrip("."), given, "must be an object")
    for name in given:
        if name not in allowed.session:
            raise ValueRefused(f"{where}{_escaped(name)}", "(given)", f"options are {', '.join(allowed.session)}")
    found: dict[str, Any] = {}
    for name, spec in allowed.session.items():
        value = given.get(name)
        if value is None:
            if name in allowed.required:
                raise ValueRefused(f"{where}{name}", None, "this option is required")
            found[name] = spec.get("default")
            continue
        found[name] = _value(f"{where}{name}", value, spec)
    return found


def _escaped(name: str) -> str:
    """Return the name of an option that may not exist for use in a message."""
    return show(name)[1:-1]


def _value(name: str, value: Any, spec: Mapping[str, Any]) -> Any:
    shown = "(hidden)" if spec.get("no_log") else value
    kind = spec["type"]
    try:
        found = _TYPES[kind](value)
        if kind == "list":
            found = [_TYPES[spec["elements"]](item) for item in found]
    except ValueError:
        raise ValueRefused(name, shown, f"must be a value of type {kind}") from None
    choices = spec.get("choices")
    if choices and found not in choices:
        raise ValueRefused(name, shown, f"must be one of {', '.join(choices)}")
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)) or len(str(value)) > _MAX_CHARACTERS:
        raise ValueError
    # Fails for lone surrogates, which cannot be written to any file.
    str(value).encode()
    return str(value)


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (str, int)) or len(str(value)) > 18:
        raise ValueError
    return int(value)


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)) or len(str(value)) > 18:
        raise ValueError
    found = float(value)
    if not math.isfinite(found):
        raise ValueError
    return found


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _list(value: Any) -> list[Any]:
    if isinstance(value, int) and not isinstance(value, bool):
        # As Ansible does.
        return [value]
    if not isinstance(value, list):
        raise ValueError
    return value


def _dictionary(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError
    for key, item in value.items():
        _text(key)
        if not isinstance(item, (bool, float)):
            _text(item)
    return value


_TYPES: Mapping[str, Callable[[Any], Any]] = {
    "str": _text,
    "int": _number,
    "float": _real,
    "bool": _flag,
    "list": _list,
    "dict": _dictionary,
}
