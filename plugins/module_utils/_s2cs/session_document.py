# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading of a session from its row in the store, which other versions of the collection may have written."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES, RUNTIMES
from ansible_collections.scistream.gateway.plugins.module_utils._common.dial import DIALS
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import STATES, Session


def from_json(text: Any) -> Session:
    """Return a session from the text in the store.

    Raises:
        ValueError: The text is not a session of this version of the collection.
    """
    try:
        document = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    unknown = sorted(set(document).difference(_FIELDS))
    if unknown:
        raise ValueError(f"it has fields unknown to this version of the collection: {', '.join(unknown)}")
    for name, (kind, needed) in _FIELDS.items():
        if name not in document:
            if needed:
                raise ValueError(f"its field {name} is missing")
        elif not _has_type(document[name], kind):
            raise ValueError(f"its field {name} is not of the type {kind}")
    session = Session(**document)
    if session.state not in STATES or session.role not in ROLES or session.dial not in DIALS:
        raise ValueError("it has an unknown state, role or dial")
    for name, value, here in (("proxy", session.proxy, PROXIES), ("runtime", session.runtime, RUNTIMES)):
        if value not in here:
            raise ValueError(f"it has a {name} unknown to this version of the collection: {value}")
    try:
        session.spec()
        session.to_result()
    except (ScistreamError, ValueError, OverflowError, OSError) as error:
        raise ValueError(f"it has an invalid field: {error}") from None
    return session


# The types of the fields, and whether they are required.
_FIELDS = {
    item.name: (str(item.type), item.default is MISSING and item.default_factory is MISSING) for item in fields(Session)
}


def _has_type(value: Any, kind: str) -> bool:
    """Tell whether a JSON value has the type of a field of a session, as annotated."""
    if kind == "str":
        return isinstance(value, str)
    if kind.endswith(" | None"):
        return value is None or _has_type(value, kind[: -len(" | None")])
    if kind == "list[str]":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind == "dict[str, str]":
        return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    if isinstance(value, bool):
        return kind == "bool"
    return isinstance(value, int) if kind == "int" else kind == "float" and isinstance(value, (int, float))
