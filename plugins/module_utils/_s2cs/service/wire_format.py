# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests and answers as the service receives and sends them: strict validation of requests, and JSON of answers."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any, Callable, Iterable, NoReturn

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.argument_checks import (
    ACTIONS,
    SEQUENCE,
    check_arguments,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_client import MAX_REQUEST
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_protocol import (
    BAD_REQUEST,
    OTHER_VERSION,
    PROTOCOL,
    TOO_LARGE,
    ServiceError,
)

_KEYS = ("protocol", "version", "action", "arguments", "check", "config")
# JSON values are much larger in memory than in a request.
_MAX_VALUES = 100_000
_MAX_DIGITS = 18
# Arguments have at most 4 levels.
_MAX_DEPTH = 16
_MAX_VERSION = 64
_MAX_PATH = 4096


@dataclass(frozen=True)
class Call:
    """A call of the service.

    Args:
        action: Name of the action.
        arguments: The options of its module.
        check: Whether to change nothing.
        config: Path of the policy that the caller expects, or None.
        version: Version of the caller.
    """

    action: str
    arguments: dict[str, Any]
    check: bool = False
    config: str | None = None
    version: str = VERSION

    @property
    def steps(self) -> list[Call]:
        """The calls that it consists of: those of a sequence, otherwise itself."""
        if self.action != SEQUENCE:
            return [self]
        return [replace(self, action=step["action"], arguments=step["arguments"]) for step in self.arguments["steps"]]


def read_request(data: bytes) -> Call:
    """Return the call in a request.

    Raises:
        ServiceError: The request is invalid, or of an incompatible version.
    """
    if len(data) > MAX_REQUEST:
        raise ServiceError(TOO_LARGE, f"the request is larger than {MAX_REQUEST} bytes: specify fewer sessions")
    if sum(map(data.count, b"[{,:")) > _MAX_VALUES:
        raise ServiceError(TOO_LARGE, f"the request has more than {_MAX_VALUES} values: specify fewer sessions")
    document = _parse(data)
    if not isinstance(document, dict):
        raise ServiceError(BAD_REQUEST, "the request is not a JSON object")
    # Checked first, because the rest can be different in other versions.
    _check_version(document)
    unknown = sorted(set(document) - set(_KEYS))
    if unknown:
        raise ServiceError(BAD_REQUEST, f"{show(unknown[0])} is not a key of requests. Keys are {', '.join(_KEYS)}")
    action = document.get("action")
    if not isinstance(action, str) or action not in ACTIONS:
        raise ServiceError(BAD_REQUEST, f"action: {show(action)} is not allowed: must be one of {', '.join(ACTIONS)}")
    check, config = document.get("check", False), document.get("config")
    if not isinstance(check, bool):
        raise ServiceError(BAD_REQUEST, f"check: {show(check)} is not allowed: must be true or false")
    if config is not None and (not isinstance(config, str) or len(config) > _MAX_PATH):
        raise ServiceError(
            BAD_REQUEST, f"config: {show(config)} is not allowed: must be a path of at most {_MAX_PATH} characters"
        )
    try:
        arguments = check_arguments(action, document.get("arguments", {}))
    except ScistreamError as error:
        raise ServiceError(BAD_REQUEST, str(error)) from None
    return Call(action, arguments, check, config, document["version"])


def to_request(call: Call) -> bytes:
    """Return a call as a request in its shortest form, so that the backend does not parse what callers have written."""
    if call.action == SEQUENCE:
        steps = [{"action": step.action, "arguments": _given(step.arguments)} for step in call.steps]
        given: dict[str, Any] = {"steps": steps}
    else:
        given = _given(call.arguments)
    document = {"protocol": PROTOCOL, "version": call.version, "action": call.action, "arguments": given}
    if call.check:
        document["check"] = True
    if call.config is not None:
        document["config"] = call.config
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in arguments.items() if value is not None}
    if "sessions" in given:
        given["sessions"] = [
            {name: value for name, value in item.items() if value is not None} for item in given["sessions"]
        ]
    return given


def carry_out(call: Call, act: Callable[[Call], dict[str, Any]]) -> dict[str, Any]:
    """Return the result of a call. That of a sequence has those of its steps, up to the first one that failed.

    Args:
        call: The call.
        act: Carries out a call of one action.
    """
    if call.action != SEQUENCE:
        return act(call)
    results: list[dict[str, Any]] = []
    for step in call.steps:
        results.append(act(step))
        if results[-1].get("failed"):
            break
    return {"results": results}


def _parse(data: bytes) -> Any:
    try:
        document = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_constant,
        )
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise ServiceError(BAD_REQUEST, f"the request is not valid JSON: {error}") from None
    # Deeper values could be parsed, but not shown or written.
    level = [document]
    for _depth in range(_MAX_DEPTH):
        level = [item for value in level for item in _children(value)]
        if not level:
            return document
    raise _too_deep()


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _too_deep() -> ServiceError:
    return ServiceError(BAD_REQUEST, f"the request is nested too deeply: at most {_MAX_DEPTH} levels are allowed")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ServiceError(BAD_REQUEST, "the request contains a key twice")
    return found


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ServiceError(BAD_REQUEST, f"the request contains a number of more than {_MAX_DIGITS} digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _constant(text)


def _constant(text: str) -> NoReturn:
    raise ServiceError(BAD_REQUEST, f"the request is not valid JSON: {text[:32]} is not a number")


def _check_version(document: dict[str, Any]) -> None:
    version = document.get("version")
    if not isinstance(version, str) or len(version) > _MAX_VERSION:
        raise ServiceError(
            BAD_REQUEST, f"version: {show(version)} is not allowed: must be the version of the collection"
        )
    if document.get("protocol") == PROTOCOL and major_minor(version) == major_minor(VERSION):
        return
    remedy = (
        f"install version {VERSION} of the collection where the caller runs"
        if _numbers(version) < _numbers(VERSION)
        else "upgrade the gateway with the playbook scistream.gateway.gateway"
    )
    raise ServiceError(
        OTHER_VERSION,
        f"version: the service of this gateway has version {VERSION} of scistream.gateway, but the caller "
        f"{show(version)}: {remedy}",
    )


def _numbers(version: str) -> list[int]:
    return [int(part) if part.isdecimal() else 0 for part in major_minor(version)]


def major_minor(version: str) -> list[str]:
    """Return the part of a version that must be the same on both sides."""
    return version.split(".")[:2]


def answer(result: dict[str, Any]) -> bytes:
    """Return the answer with the result of an action."""
    return _answer({"result": result})


def refusal(error: ServiceError) -> bytes:
    """Return the answer for a refused call."""
    return _answer({"error": {"code": error.code, "msg": str(error)}})


def _answer(content: dict[str, Any]) -> bytes:
    return json.dumps({"protocol": PROTOCOL, "version": VERSION, **content}).encode() + b"\n"
