# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sends control messages to a gateway: one call for each message, which is repeated once if it is lost.

A refusal does not fail the task: the run reports it at its end, together with those of the other gateways.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, show
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import messages
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import PROBE_PREFIX, Results, registered
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import readable
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.gateway_client import GatewayClient
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.module_call import call, call_in_order
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import unsupported
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import given_plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.service_call import Service

# What few messages need is loaded where it is used: Ansible compiles the modules of collections in every run.
if TYPE_CHECKING:
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.hello_commands import HelloCommands

Result = dict[str, Any]
_ARGUMENTS = frozenset(("message", "config", "plan", "planned", "service"))
_MESSAGES = ("open", "request", "hello", "wait", "update", "undo", "release", "drop", "info", "watch", "announce")
_PROBE_MESSAGES = tuple(
    f"{PROBE_PREFIX}{name}" for name in ("contact", "request", "hello", "update", "pattern", "release")
)


class ActionModule(ActionBase):  # type: ignore[misc]
    """Sends one control message to one gateway, or all messages that open its streams."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Result:
        """Send the message, if this gateway participates in the run."""
        result: Result = super().run(tmp, task_vars)
        arguments = self._task.args
        self._variables = task_vars or {}
        self._check = bool(self._task.check_mode)
        self._gateway = str(self._variables.get("inventory_hostname"))
        self._config = {"config": arguments["config"]} if arguments.get("config") else {}
        service = arguments.get("service") or {}
        self._service = Service(str(service.get("program") or ""), str(service.get("socket") or ""))
        message = str(arguments.get("message"))
        if set(arguments) - _ARGUMENTS:
            raise AnsibleError(unsupported(set(arguments) - _ARGUMENTS, _ARGUMENTS))
        if message not in (*_MESSAGES, *_PROBE_MESSAGES):
            known = ", ".join((*_MESSAGES, *_PROBE_MESSAGES))
            raise AnsibleError(f"message must be one of: {known}, got: {show(message)}")
        try:
            self._plan = given_plan(arguments, self._variables)
            answer = self._sender(message)()
            if answer and self._plan.purpose == "apply":
                # The plan of the run shows the differences, in one line for each stream.
                answer.pop("diff", None)
        except (ScistreamError, AnsibleError) as error:
            answer = {"refused": True, "msg": readable(str(error))}
        result.update({"changed": False, "skipped": True} if answer is None else answer)
        return result

    def _sender(self, message: str) -> Callable[[], Result | None]:
        """Return the function that sends a message."""
        if message in ("open", "watch", "wait"):
            return {"open": self._open, "watch": self._watch, "wait": self._wait}[message]
        client: object = self._client(self._answers)
        if message in _PROBE_MESSAGES:
            from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.probe_client import ProbeClient

            client = ProbeClient(self._gateway, self._plan, self._ask, self._answers, self._key_text, self._check)
        send: Callable[[], Result | None] = getattr(client, message.removeprefix(PROBE_PREFIX))
        return send

    def _open(self) -> Result | None:
        """Send the messages that open the streams, in step with the workers of the other gateways."""
        plan = self._plan
        present = self._variables.get("ansible_play_hosts") or plan.gateways
        gateways = [
            gateway
            for gateway in plan.gateways
            if gateway in present and messages.sides_at(plan.streams, gateway, plan.purpose)
        ]
        if self._gateway not in gateways:
            return None
        self._check_forks(gateways)
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_opening import StreamOpening

        opening = StreamOpening(str(self._task._uuid), self._gateway, gateways, plan, self._check)
        return opening.run(self._client)

    def _wait(self) -> Result | None:
        """Wait for the applications, as long as those of other gateways, if Ansible works on all gateways at a time."""
        if self._plan.hello_dir is None:
            return None
        present = self._variables.get("ansible_play_hosts") or self._plan.gateways
        sides = self._plan.streams, self._plan.purpose
        gateways = [
            name for name in self._plan.gateways if name in present and messages.sides_at(sides[0], name, sides[1])
        ]
        if self._gateway not in gateways:
            return None
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_opening import wait_together

        together = len(gateways) <= int(self._variables.get("ansible_forks") or 1)
        return wait_together(
            str(self._task._uuid),
            self._gateway,
            gateways if together else [self._gateway],
            self._client(self._answers),
        )

    def _watch(self) -> Result:
        """Query the gateway repeatedly, and show the answers of all gateways."""
        present = self._variables.get("ansible_play_hosts") or self._plan.gateways
        gateways = [gateway for gateway in self._plan.gateways if gateway in present]
        self._check_forks(gateways)
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_watch import StreamWatch

        watch = StreamWatch(str(self._task._uuid), self._gateway, gateways, self._plan, self._check)
        return watch.run(self._client(self._answers).info)

    def _check_forks(self, gateways: Sequence[str]) -> None:
        forks = int(self._variables.get("ansible_forks") or 1)
        if len(gateways) > forks:
            # The workers that wait would prevent the others from starting.
            raise AnsibleError(
                f"{len(gateways)} gateways participate, but --forks is {forks}: use --forks {len(gateways)}"
            )

    def _client(self, answers: Callable[[str], Results]) -> GatewayClient:
        return GatewayClient(
            *(self._gateway, self._plan, self._ask, answers, self._key_text, self._check, self._hello_commands()),
            self._ask_in_order,
        )

    def _hello_commands(self) -> HelloCommands | None:
        """Return the commands with which applications announce themselves, if the run waits for them."""
        if self._plan.hello_dir is None:
            return None
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.hello_commands import (
            HELLO_USER,
            HelloCommands,
        )

        account = str(self._variables.get("s2cs_hello_user") or HELLO_USER)
        host = str(self._variables.get("ansible_host") or self._gateway)
        login = f"{account}@{host}" if self._variables.get("s2cs_hello_keys") else ""
        program, config = str((self._task.args.get("service") or {}).get("program") or ""), self._config.get("config")
        return HelloCommands(self._gateway, self._plan.hello_dir, program, str(config or ""), login)

    def _ask(self, module: str, options: Mapping[str, Any], predict: bool = False) -> Result:
        self._task.check_mode = self._check or predict
        try:
            answer = call(self, module, {**self._config, **options}, self._variables, self._service)
        finally:
            self._task.check_mode = self._check
        if not self._task.diff:
            # Most of the result of many sessions. Ansible would process it for seconds, and not show it.
            answer.pop("diff", None)
        return answer

    def _ask_in_order(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Result] | None:
        answers = call_in_order(self, calls, self._config.get("config"), self._service)
        if not self._task.diff:
            for answer in answers or []:
                answer.pop("diff", None)
        return answers

    def _key_text(self) -> str | None:
        """Return the text of the user's key, if it is set. It is no argument of the task, as these may be displayed."""
        if not self._plan.key_given:
            return None
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.inputs import read_inputs

        return read_inputs(self._loader, self._templar, self._variables).key()

    def _answers(self, message: str) -> Results:
        """Return the answers of the gateways to an earlier message of this play."""
        return registered(self._variables["hostvars"], self._plan.gateways, message)
