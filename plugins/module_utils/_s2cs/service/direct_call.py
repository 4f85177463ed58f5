# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Handling of one call in the process of the caller, with their rights, where no service answers them."""

from __future__ import annotations

import sys
import syslog
import traceback
from typing import Any, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.action_runner import perform
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.caller import find_caller
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.info_result import gather
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy_file import DEFAULT_CONFIG
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import wire_format
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.argument_checks import (
    INFO,
    check_arguments,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.backend_call import ACTION_TYPES, log_line
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.wire_format import (
    Call,
    answer,
    read_request,
    refusal,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_protocol import (
    INTERNAL,
    ServiceError,
)

# Error code: the caller has to send a module of its own version.
_OTHER = "other"


def handle(data: bytes, version: str) -> bytes:
    """Carry out a request, and return the answer, both as of the service.

    Args:
        data: The request.
        version: Version of the caller, which must be the same, in contrast to that of a caller of the service.
    """
    try:
        if version != VERSION:
            raise ServiceError(_OTHER, f"version: this program has version {VERSION}, but the caller {version}")
        return answer(wire_format.carry_out(read_request(data), _perform))
    except ServiceError as error:
        return refusal(error)
    except Exception as error:  # pylint: disable=broad-except
        traceback.print_exc(file=sys.stderr)
        return refusal(ServiceError(INTERNAL, f"the program s2cs failed: {error!r}"))


def carry_out(action: str, arguments: Mapping[str, Any], config: str | None) -> dict[str, Any]:
    """Carry out an action with options as of its module, and return the result.

    Args:
        action: The action.
        arguments: Its options.
        config: Path of the policy, or None for the default.

    Raises:
        ValueRefused: An option is unknown or has the wrong type.
    """
    return _perform(Call(action, check_arguments(action, dict(arguments)), False, config))


def _perform(call: Call) -> dict[str, Any]:
    config = call.config or DEFAULT_CONFIG
    if call.action == INFO:
        return gather(config, call.arguments)
    # Without a service, the action also releases expired sessions, as in a module.
    result = perform(ACTION_TYPES[call.action], config, call.arguments, call.check)
    line = log_line(call, find_caller(), result)
    if line:
        # Where a module of Ansible logs that it was called.
        syslog.openlog("s2cs")
        syslog.syslog(syslog.LOG_INFO, line)
    return result
