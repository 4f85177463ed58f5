# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Call the service of a gateway with its program ``s2cs call``, over the connection that Ansible has."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION

_PROTOCOL = 1
#: Exit code of the program: the service exited before it answered.
_NO_ANSWER = 4
#: The service does not act on this policy, or accepts no request of this size: the module may.
_FOR_THE_MODULE = ("config", "too_large")
_BUSY = "busy"
#: Modules and the actions of the service.
_ACTIONS = {f"s2cs_{action}": action for action in ("request", "hello", "update", "release", "info")}


class Service:
    """The service of a gateway.

    Args:
        program: Path of its program on the gateway.
        socket: Path of its socket on the gateway.
    """

    def __init__(self, program: str, socket: str) -> None:
        self._program = program
        self._socket = socket
        #: Whether it may answer. False as soon as it does not.
        self.answers = bool(program and socket)

    def call(self, action: ActionBase, module: str, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        """Have the service do what a module does.

        The program runs as the user of the connection, without become: the service knows its callers by their users.

        Args:
            action: The running action.
            module: The module.
            arguments: Its options.

        Returns:
            The result of the module; with ``lost`` if there was no answer. None if nothing was done because no service
            answers this user.

        Raises:
            AnsibleConnectionFailure: The gateway cannot be reached.
        """
        if not action._connection.has_pipelining:
            self.answers = False
        if not self.answers:
            return None
        options = dict(arguments)
        request: dict[str, Any] = {"protocol": _PROTOCOL, "version": VERSION, "action": _ACTIONS[module]}
        if options.get("config"):
            request["config"] = options.pop("config")
        request.update(check=bool(action._task.check_mode), arguments=options)
        program, socket = shlex.quote(self._program), shlex.quote(self._socket)
        done = action._low_level_execute_command(
            # Most often there is no service because there is no socket, which the shell finds out fastest.
            f"[ -S {socket} ] && [ -x {program} ] || exit 3; {program} call --socket {socket}",
            sudoable=False,
            in_data=json.dumps(request).encode(),
        )
        if done["rc"] == 0 or done["rc"] == _NO_ANSWER:
            return self._read(done["stdout"])
        self.answers = False
        return None

    def _read(self, text: str) -> dict[str, Any] | None:
        """Return the result in an answer."""
        try:
            answer = json.loads(text)
            error = answer.get("error")
            result = answer["result"] if error is None else {"failed": True, "msg": str(error["msg"])}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {"failed": True, "lost": True, "msg": "the service exited before it answered"}
        if error is not None and error.get("code") in _FOR_THE_MODULE:
            return None
        if error is not None and error.get("code") == _BUSY:
            # Nothing was done.
            return {**result, "lost": True}
        return dict(result)
