# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The protocol of the service for its callers: a request and an answer, each a JSON object, for each connection."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION

PROTOCOL = 1

# Error codes. Nothing was done.
BUSY, TOO_LARGE, BAD_REQUEST, OTHER_VERSION, DENIED, OTHER_CONFIG, INTERNAL = (
    *("busy", "too_large", "bad_request", "version", "denied", "config", "internal"),
)


class ServiceError(ScistreamError):
    """The service refused a call.

    Args:
        code: The error code.
        message: The problem and its remedy.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def request(
    action: str, arguments: dict[str, Any], check: bool = False, config: str | None = None, version: str = VERSION
) -> bytes:
    """Return a request."""
    document = {"protocol": PROTOCOL, "version": version, "action": action, "arguments": arguments, "check": check}
    if config is not None:
        document["config"] = config
    return json.dumps(document).encode() + b"\n"


def read_answer(data: bytes) -> dict[str, Any]:
    """Return the result in an answer of the service.

    Raises:
        ServiceError: The service refused the call, or the answer is invalid.
    """
    try:
        document = json.loads(data)
        if "error" in document:
            raise ServiceError(str(document["error"]["code"]), str(document["error"]["msg"]))
        result = document["result"]
        if not isinstance(result, dict):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ServiceError(INTERNAL, "the answer of the service is invalid") from None
    return result
