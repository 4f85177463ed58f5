# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls of the program ``s2cs`` on a gateway over Ansible's connection, instead of modules.

The program passes a call to the service, or carries it out itself if no service accepts the user of the connection.
Both are several times faster than a module, which Ansible has to assemble, transfer and compile.
"""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION

_PROTOCOL = 1
#: Exit codes: nothing was done, and the service exited before it answered.
_NOTHING_DONE, _NO_ANSWER = 3, 4
#: Exit codes of a program that does not know the command, and of a shell that cannot run it.
_UNKNOWN = (2, 126, 127)
#: Error codes: the service acts on another policy, it accepts no request of this size, or the program that would act
#: itself has another version. Nothing was done.
_FOR_THE_MODULE = ("config", "too_large", "other")
_BUSY = "busy"
#: Error codes of a service that does not know sequences, or accepts no request of this size. Nothing was done.
_FOR_SINGLE_CALLS = ("bad_request", "too_large")
_LOST = {"failed": True, "lost": True}
#: Modules and the actions of the service.
_ACTIONS = {f"s2cs_{action}": action for action in ("request", "hello", "update", "release", "drop", "probe", "info")}


class Service:
    """The service of a gateway.

    Args:
        program: Path of its program on the gateway.
        socket: Path of its socket on the gateway.
    """

    def __init__(self, program: str, socket: str) -> None:
        self._program = shlex.quote(program)
        self._socket = shlex.quote(socket)
        # Whether to try the service and the program, until one of them does not answer.
        self._serves = bool(program and socket)
        self.answers = bool(program)

    def call(self, action: ActionBase, module: str, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        """Carry out the action of a module through the service or the program.

        Args:
            action: The running action.
            module: The module.
            arguments: Its options.

        Returns:
            The result of the module; with ``lost`` if there was no answer. None if nothing was done, so that the module
            has to be called.

        Raises:
            AnsibleConnectionFailure: The gateway cannot be reached.
        """
        options = dict(arguments)
        config = options.pop("config", None)
        text = self._send(action, _ACTIONS[module], options, config)
        return self._result(text) if isinstance(text, str) else text

    def call_in_order(
        self, action: ActionBase, calls: Sequence[tuple[str, Mapping[str, Any]]], config: str | None
    ) -> list[dict[str, Any]] | None:
        """Carry out the actions of several modules in one call, up to the first one that fails.

        Args:
            action: The running action.
            calls: Each module with its options.
            config: Path of the policy of the gateway.

        Returns:
            The results of the modules; with ``lost`` if there was no answer. None if nothing was done, so that they
            have to be called one by one.

        Raises:
            AnsibleConnectionFailure: The gateway cannot be reached.
        """
        steps = [{"action": _ACTIONS[module], "arguments": dict(options)} for module, options in calls]
        text = self._send(action, "sequence", {"steps": steps}, config)
        if not isinstance(text, str):
            return text if text is None else [text]
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
            answer = json.loads(text)
            if (answer.get("error") or {}).get("code") in _FOR_SINGLE_CALLS:
                return None
            if "result" in answer:
                return [dict(result) for result in answer["result"]["results"]]
        found = self._result(text)
        return found if found is None else [found]

    def _send(
        self, action: ActionBase, name: str, options: Mapping[str, Any], config: str | None
    ) -> str | dict[str, Any] | None:
        """Return the answer of the service or the program, the result if there was none, or None if nothing was done.

        Args:
            action: The running action.
            name: Name of the action of the gateway.
            options: Its options.
            config: Path of the policy of the gateway.
        """
        if not self.answers or not action._connection.has_pipelining:
            return None
        request: dict[str, Any] = {"protocol": _PROTOCOL, "version": VERSION, "action": name}
        if config:
            request["config"] = config
        request.update(check=bool(action._task.check_mode), arguments=options)
        data = json.dumps(request).encode()
        direct = f"{self._program} direct --caller {VERSION}"
        if self._serves:
            # Without become, because the service identifies its callers by their users. The shell is the fastest way to
            # find out whether there is a socket.
            otherwise = f"exit {_NOTHING_DONE}" if action._connection.become else direct
            command = (
                f"if [ -S {self._socket} ]; then {self._program} call --socket {self._socket}; else {otherwise}; fi"
            )
            done = action._low_level_execute_command(command, sudoable=False, in_data=data)
            if done["rc"] in (0, _NO_ANSWER):
                return str(done["stdout"])
            self._serves = False
            if done["rc"] != _NOTHING_DONE or not action._connection.become:
                # The module reports best what this user lacks.
                return self._failed(done)
        if not action._is_pipelining_enabled("new"):
            return None
        done = action._low_level_execute_command(direct, in_data=data)
        return str(done["stdout"]) if done["rc"] == 0 else self._failed(done)

    def _failed(self, done: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the result of a call without an answer. None if nothing was done."""
        self.answers = False
        if done["rc"] in (_NOTHING_DONE, *_UNKNOWN):
            return None
        return {**_LOST, "msg": done["stderr"].strip() or "the program s2cs exited without an answer"}

    def _result(self, text: str) -> dict[str, Any] | None:
        """Return the result in an answer. None if the module has to be called."""
        try:
            answer = json.loads(text)
            error = answer.get("error")
            result = dict(answer["result"]) if error is None else {"failed": True, "msg": str(error["msg"])}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            # If there is any text, it is not from the service.
            self.answers = not text.strip()
            return {**_LOST, "msg": "the service exited before it answered"}
        if error is None:
            return result
        if error.get("code") in _FOR_THE_MODULE:
            self.answers = False
            return None
        # Nothing was done if it is busy.
        return {**result, "lost": True} if error.get("code") == _BUSY else result
