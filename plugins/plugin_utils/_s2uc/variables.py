# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of the roles, and misspelled names of variables."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import yaml

_ROLES = Path(__file__).resolve().parents[3] / "roles"
# Prefixes that are reserved for the roles of this collection.
_PREFIXES = ("s2cs_", "s2ds_")
# Minimum similarity of a name without a reserved prefix: one different letter in ten. With a prefix, less is enough.
_SIMILARITY = 0.9
_SIMILARITY_WITH_PREFIX = 0.75


@lru_cache(maxsize=1)
def known_variables() -> frozenset[str]:
    """Return the names of all variables of the roles of this collection."""
    names: set[str] = set()
    for path in _ROLES.glob("*/meta/argument_specs.yml"):
        document = yaml.safe_load(path.read_text("utf-8"))
        for entry in document["argument_specs"].values():
            names.update(entry.get("options", {}))
    for pattern in ("*/defaults/*.yml", "*/vars/*.yml"):
        for path in _ROLES.glob(pattern):
            names.update(yaml.safe_load(path.read_text("utf-8")) or {})
    return frozenset(names)


def unknown_variables(names: Iterable[str]) -> list[str]:
    """Return one sentence for each misspelled name.

    Args:
        names: Names of all variables of a host.
    """
    known = sorted(known_variables())
    ours = [name for name in known if name.startswith(_PREFIXES)]
    problems: list[str] = []
    # Names that begin with an underscore are internal to a role.
    for name in sorted(name for name in set(names) - known_variables() if not name.startswith("_")):
        if name.startswith(_PREFIXES):
            near = difflib.get_close_matches(name, ours, 1, _SIMILARITY_WITH_PREFIX)
            problems.append(_sentence(name, near) + f"; names that begin with {name[:5]} belong to the roles")
        elif near := difflib.get_close_matches(name.lower(), ours, 1, _SIMILARITY):
            problems.append(_sentence(name, near))
    return problems


def _sentence(name: str, near: list[str]) -> str:
    return f"there is no variable {name}" + (f": did you mean {near[0]}?" if near else "")
