# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checking the replies of a data server, which may be compromised: JSON of limited depth, and counters of a fixed form.

Everything else in a reply is ignored.
"""

from __future__ import annotations

import json
import re
from typing import Any, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint, parse_endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import (
    S2DSException,
    ScistreamError,
    printable,
    show,
)

MAX_COUNT = (1 << 63) - 1
_LATEST = float(1 << 40)
_DIGITS = 20
_MAX_LISTENERS = 65535

_CONNECTIONS = ("open", "total", "refused", "failed")
_ENCRYPTED_BY = ("kernel", "user space")
_SUITE = re.compile(r"[A-Z0-9_-]{1,64}", re.ASCII)
_MAX_PATHS = 255
_LEGS = ("client", "target")
_CONGESTION = re.compile(r"[a-z][a-z0-9_-]{0,14}", re.ASCII)
_LONGEST_RTT = 1e6
_DIAL_ROLES = ("waits", "dials")
_BYTES = ("to_consumer", "to_producer")


class InvalidReply(S2DSException):
    """A data server sent a reply that is not valid."""

    def __init__(self, what: str) -> None:
        super().__init__(f"invalid answer of the data server: {what}")


def document(text: str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        InvalidReply: The text is something else.
    """
    try:
        found = json.loads(text, parse_int=_whole, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise InvalidReply(f"{show(text[:60])} is not valid JSON, or is nested too deeply") from None
    if not isinstance(found, dict):
        raise InvalidReply(f"{show(found)} where an object is expected")
    return found


def counters(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counters in a reply, in the format of ``s2cs_info``.

    Raises:
        InvalidReply: They are incomplete or invalid.
    """
    return {
        "since": moment(found, "since"),
        "restarts": count(found, "restarts") if "restarts" in found else 0,
        "connections": {name: count(part(found, "connections"), name) for name in _CONNECTIONS},
        "bytes": {name: count(part(found, "bytes"), name) for name in _BYTES},
        "last_byte": moment(found, "last_byte") if found.get("last_byte") is not None else None,
        "exact": found.get("exact", True) is True,
    }


def encryption(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return how a data server encrypts, or None if it does not say.

    Raises:
        InvalidReply: It is incomplete or invalid.
    """
    if found.get("tls") is None:
        return None
    given = part(found, "tls")
    for key in ("sending", "receiving"):
        if given.get(key) not in (*_ENCRYPTED_BY, None):
            raise InvalidReply(f"{key} is {show(given.get(key))}, not one of {', '.join(_ENCRYPTED_BY)}")
    suite, why = given.get("suite"), given.get("reason")
    if suite is not None and not (isinstance(suite, str) and _SUITE.fullmatch(suite)):
        raise InvalidReply(f"suite is {show(suite)}, not the name of a cipher suite")
    if not isinstance(why, str):
        raise InvalidReply(f"reason is {show(why)}, not a text")
    return {
        "sending": given.get("sending"),
        "receiving": given.get("receiving"),
        "suite": suite,
        "reason": printable(why),
        "with_one_key": count(given, "with_one_key") if "with_one_key" in given else 0,
    }


def multipath(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the paths of the latest connection, or None if the data server does not use Multipath TCP.

    Raises:
        InvalidReply: They are missing or invalid.
    """
    if found.get("multipath") is None:
        return None
    given = part(found, "multipath")
    paths = None if given.get("paths") is None else count(given, "paths")
    if paths is not None and paths > _MAX_PATHS:
        raise InvalidReply(f"paths is {paths}, not a number from 0 to {_MAX_PATHS}")
    return {"paths": paths}


def path(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the round trips and congestion controls of the latest connection, or None if they are not known.

    Raises:
        InvalidReply: They are missing or invalid.
    """
    if found.get("path") is None:
        return None
    given = part(found, "path")
    legs = {leg: None if given.get(leg) is None else _leg(part(given, leg)) for leg in _LEGS}
    return legs if any(legs.values()) else None


def _leg(found: Mapping[str, Any]) -> dict[str, Any]:
    rtt, congestion = found.get("rtt"), found.get("congestion")
    # The comparison also refuses NaN.
    if rtt is not None and not (_is_number(rtt) and 0 < rtt < _LONGEST_RTT):
        raise InvalidReply(f"rtt is {show(rtt)}, not a number of milliseconds")
    if congestion is not None and not (isinstance(congestion, str) and _CONGESTION.fullmatch(congestion)):
        raise InvalidReply(f"congestion is {show(congestion)}, not the name of a congestion control")
    return {"rtt": rtt, "congestion": congestion}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def dial(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the connections that wait, or None if the producer's gateway does not dial.

    Raises:
        InvalidReply: They are missing or invalid.
    """
    if found.get("dial") is None:
        return None
    given = part(found, "dial")
    role, error = given.get("role"), given.get("error")
    if role not in _DIAL_ROLES:
        raise InvalidReply(f"role is {show(role)}, not one of {', '.join(_DIAL_ROLES)}")
    if error is not None and not isinstance(error, str):
        raise InvalidReply(f"error is {show(error)}, not a text")
    return {
        "role": role,
        "waiting": count(given, "waiting"),
        "without": listeners(given, "without"),
        "since": None if given.get("since") is None else moment(given, "since"),
        "error": None if error is None else printable(error),
    }


def part(found: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return an object in a reply."""
    value = found.get(key)
    if not isinstance(value, dict):
        raise InvalidReply(f"{key} is {show(value)}, not an object")
    return value


def count(found: Mapping[str, Any], key: str) -> int:
    """Return a count in a reply."""
    value = found.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_COUNT:
        raise InvalidReply(f"{key} is {show(value)}, not a number of 0 or more")
    return value


def moment(found: Mapping[str, Any], key: str) -> float:
    """Return a time in a reply, in seconds since the epoch."""
    value = found.get(key)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < _LATEST:
        raise InvalidReply(f"{key} is {show(value)}, not a time in seconds since the epoch")
    return float(value)


def listeners(found: Mapping[str, Any], key: str = "listeners") -> list[str]:
    """Return the listeners in a reply."""
    value = found.get(key)
    if not isinstance(value, list) or len(value) > _MAX_LISTENERS:
        raise InvalidReply(f"{key} is {show(value)}, not a list of addresses")
    try:
        endpoints = [parse_endpoint(key, item) for item in value]
    except ScistreamError:
        raise InvalidReply(f"{key} is {show(value)}, not a list of addresses") from None
    if any(endpoint.address is None for endpoint in endpoints):
        raise InvalidReply(f"{key} is {show(value)}, not a list of addresses")
    return [str(endpoint) for endpoint in endpoints]


def check_listeners(listeners: Sequence[str], wanted: Sequence[Endpoint], ports: Sequence[int] | None) -> None:
    """Refuse listeners that differ from the specification. What a data server reports is stored and passed on.

    Args:
        listeners: The reported listeners.
        wanted: The listeners of the specification, with port 0 where it may choose one.
        ports: First and last port to choose from. If omitted, any port.

    Raises:
        InvalidReply: They differ.
    """
    low, high = ports or (1, 65535)
    found = [parse_endpoint("listeners", text) for text in listeners]
    if len(found) != len(wanted) or not all(
        is_.host == to_be.host and (is_.port == to_be.port or (not to_be.port and low <= is_.port <= high))
        for is_, to_be in zip(found, wanted)
    ):
        raise InvalidReply(
            f"it listens at {show(list(listeners))} but should listen at {show([str(end) for end in wanted])}"
        )


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError
    return int(text)


def _refuse(text: str) -> Any:
    raise ValueError(text)
