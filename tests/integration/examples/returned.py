# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of plugins, and what it says of results compared with what there is."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

PLUGINS = "ansible_collections.scistream.gateway.plugins"
# What Ansible adds to a result, or takes out of it for itself.
_COMMON = {"ansible_loop_var", "changed", "diff", "failed", "invocation", "item", "warnings", "deprecations"}
# "success" alone, or "always" with a word about null; not "success, if ...".
_ALWAYS = re.compile(r"success$|always$|always, (?:null|unless the arguments were invalid)")
_TYPES: dict[str, Any] = {"str": str, "int": int, "float": (int, float), "bool": bool, "list": list, "dict": dict}


def documented(kind: str, name: str, part: str) -> Any:
    """Read a part of a plugin's documentation."""
    text = getattr(importlib.import_module(f"{PLUGINS}.{kind}.{name}"), part)
    return yaml.safe_load(text)


def of_module(name: str) -> dict[str, Any]:
    """Read what a module returns; sessions that another module describes are described by that."""
    described: dict[str, Any] = documented("modules", name, "RETURN")
    of_request = documented("modules", "s2cs_request", "RETURN")
    reference = "M(scistream.gateway.s2cs_request)"
    for key in ("session", "sessions"):
        if reference in str(described.get(key, {}).get("description")) and name != "s2cs_request":
            own = described[key].get("contains", {})
            described[key] = {**described[key], "contains": {**of_request["session"]["contains"], **own}}
    return described


def differences(described: dict[str, Any], results: list[dict[str, Any]]) -> list[str]:
    """Name what is returned and not described, described and never returned, or of another type."""
    found = list(dict.fromkeys(fault for result in results for fault in _faults(described, result, "")))
    seen = {path for result in results for path in _paths(result, "")}
    missing = [path for path in _expected(described, seen, "") if path not in seen]
    return found + [f"described, but never returned: {path}" for path in missing]


def _faults(described: dict[str, Any], value: dict[str, Any], where: str) -> Iterator[str]:
    for key, item in value.items():
        path = f"{where}{key}"
        if key in described:
            yield from _fault(described[key], item, path)
        elif where or not (key in _COMMON or key.startswith("_ansible")):
            yield f"returned, but not described: {path}"
    for key, entry in described.items():
        if _ALWAYS.match(str(entry.get("returned", "always"))) and key not in value:
            yield f"said to be always returned: {where}{key}"


def _fault(entry: dict[str, Any], item: Any, path: str) -> Iterator[str]:
    if item is None:
        if "null" not in " ".join(_sentences(entry)).lower():
            yield f"null, of which the description does not speak: {path}"
    elif not isinstance(item, _TYPES[entry["type"]]) or (isinstance(item, bool) and entry["type"] == "int"):
        yield f"{type(item).__name__} and not {entry['type']}: {path}"
    elif "contains" in entry:
        for one in item if isinstance(item, list) else [item]:
            yield from _faults(entry["contains"], one, f"{path}.")


def _sentences(entry: dict[str, Any]) -> list[str]:
    text = entry["description"]
    return [*(text if isinstance(text, list) else [text]), str(entry.get("returned", ""))]


def _paths(value: Any, where: str) -> Iterable[str]:
    if isinstance(value, list):
        for one in value:
            yield from _paths(one, where)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield f"{where}{key}"
            yield from _paths(item, f"{where}{key}.")


def _expected(described: dict[str, Any], seen: set[str], where: str) -> Iterator[str]:
    """Name what a success has to show; what is inside of a list that was always empty cannot be seen."""
    for key, entry in described.items():
        if str(entry.get("returned")).startswith("failure"):
            continue
        path = f"{where}{key}"
        yield path
        if any(found.startswith(f"{path}.") for found in seen):
            yield from _expected(entry.get("contains", {}), seen, f"{path}.")
