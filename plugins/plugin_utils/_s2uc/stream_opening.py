# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""REQ, HELLO and UPDATE of one gateway in one task, in step with those of the other gateways of the run.

No message is sent before all gateways answered the one before. If anything goes wrong anywhere, or somebody interrupts
the run, each releases what the run opened on its gateway.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

from ansible.errors import AnsibleError
from ansible.utils.display import Display

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Results, has_failed, stops_run
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import readable
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.gateway_client import GatewayClient
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.handover import hand_over
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.interruption import (
    InterruptedRun,
    Interruption,
    interruption,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import Plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.rendezvous import Rendezvous

Result = dict[str, Any]
MESSAGES = ("request", "hello", "update")
#: What is shown of a step, and what the step is called there.
_SHOWN = {"request": "REQ", "hello": "HELLO", "update": "UPDATE", "opened": "files", "undo": "REL"}


class StreamOpening:
    """One gateway's share.

    Args:
        name: Of the task that all gateways share.
        gateway: The gateway.
        gateways: All that take part.
        plan: What the run is to do.
        check: Whether this is check mode.
    """

    def __init__(self, name: str, gateway: str, gateways: Sequence[str], plan: Plan, check: bool) -> None:
        self._name = name
        self._gateway = gateway
        self._gateways = list(gateways)
        self._plan = plan
        self._check = check
        self._steps: dict[str, Result] = {}
        self._heard: dict[str, Results] = {}

    def run(self, make: Callable[[Callable[[str], Results]], GatewayClient]) -> Result:
        """Open the streams.

        Args:
            make: Makes the part of this gateway, given where earlier answers are found.

        Returns:
            ``steps``, the answers of this gateway by message; the rest as of the last step.
        """
        client = make(self._answers)
        interrupted = False
        with interruption() as state:
            try:
                with Rendezvous(self._name, self._gateway, self._gateways, state.look) as rendezvous:
                    for message in MESSAGES:
                        self._step(message, getattr(client, message), rendezvous, state)
                    # The files of all are written by one.
                    writer = self._gateway == self._gateways[0]
                    self._step("opened", self._write if writer else _nothing, rendezvous, state)
            except InterruptedRun:
                interrupted = True
                _end_children()
            except BaseException:
                # A defect, or the time limit of the task.
                state.disarm()
                _guarded(lambda: client.undo(True))
                raise
            state.disarm()
            undone = _guarded(lambda: client.undo(interrupted))
            if undone is not None:
                self._steps["undo"] = undone
            return self._interrupted() if interrupted else self._result()

    def _step(
        self, message: str, send: Callable[[], Result | None], rendezvous: Rendezvous, state: Interruption
    ) -> None:
        answer = _guarded(send)
        if answer is not None:
            self._steps[message] = answer
        state.look()
        rendezvous.publish(message, answer)
        self._heard[message] = {**{gateway: {} for gateway in self._plan.gateways}, **rendezvous.collect(message)}

    def _write(self) -> Result | None:
        answers = [self._answers(message) for message in reversed(MESSAGES)]
        if self._plan.ticket_dir is None or any(stops_run(answer) for found in answers for answer in found.values()):
            return None
        return hand_over(self._plan, answers, self._check)

    def _answers(self, message: str) -> Results:
        own = self._steps.get(message)
        return self._heard.get(message) or ({self._gateway: own} if own else {})

    def _interrupted(self) -> Result:
        """Return a short result, which nobody reads."""
        return {"changed": False, "refused": True, "msg": "interrupted", "steps": {}}

    def _result(self) -> Result:
        steps = self._steps
        Display().display(f"{self._gateway}: {', '.join(f'{_SHOWN[name]} {_outcome(steps[name])}' for name in steps)}")
        result: Result = {"changed": any(answer.get("changed") for answer in steps.values()), "steps": steps}
        # Ansible only shows those of the task itself.
        warnings = [warning for answer in steps.values() for warning in answer.pop("warnings", None) or []]
        if warnings:
            result["warnings"] = list(dict.fromkeys(warnings))
        diffs = [answer.pop("diff") for answer in steps.values() if answer.get("diff")]
        if diffs:
            result["diff"] = [diff for diff in diffs if diff.get("before") or diff.get("after")]
        return result


def _guarded(send: Callable[[], Result | None]) -> Result | None:
    try:
        return send()
    except (ScistreamError, AnsibleError) as error:
        return {"refused": True, "msg": readable(str(error))}


def _nothing() -> None:
    return None


def _outcome(answer: Result) -> str:
    if has_failed(answer):
        return "refused"
    return "changed" if answer.get("changed") else "ok"


def _end_children() -> None:
    """End the connection that a call still waits for, where this process leads a group of its own."""
    if os.getpgrp() == os.getpid():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
