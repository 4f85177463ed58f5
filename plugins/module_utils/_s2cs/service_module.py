# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules of users without root: their actions are carried out by the service, if there is one."""

from __future__ import annotations

import os
from typing import Any, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import service_client
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy_file import DEFAULT_CONFIG
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_client import (
    NoAccessError,
    NoAnswerError,
    NoServiceError,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_protocol import (
    OTHER_CONFIG,
    ServiceError,
    read_answer,
    request,
)


def call_service(action: str, params: Mapping[str, Any], options: Mapping[str, Any], check: bool) -> Any:
    """Return the result of an action by the service, or None if the module has to carry it out itself.

    Modules that run as root act themselves, because the service would not know on whose behalf they run.

    Args:
        action: Name of the action.
        params: Options of the module, including ``config``.
        options: Names of the options of one session.
        check: Whether to change nothing.
    """
    if os.geteuid() == 0 or not os.path.exists(service_client.SOCKET):
        return None
    sessions = params.get("sessions")
    arguments = {name: params[name] for name in options} if sessions is None else {"sessions": sessions}
    try:
        return read_answer(service_client.ask(request(action, arguments, check, params["config"])))
    except NoAccessError as error:
        if params["config"] != DEFAULT_CONFIG:
            return None
        # Ansible keeps connections open, in which a new group does not count yet.
        return _failed(f"{error} (end SSH connections that are kept open), or run the task with become")
    except NoServiceError:
        return None
    except NoAnswerError as error:
        return _failed(str(error))
    except ServiceError as error:
        return None if error.code == OTHER_CONFIG else _failed(str(error))


def _failed(message: str) -> dict[str, Any]:
    return {"failed": True, "msg": message}
