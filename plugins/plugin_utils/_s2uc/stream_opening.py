# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""REQ, HELLO and UPDATE for one gateway in one task, in step with the other gateways of the run.

A message is only sent when all gateways have answered the previous one, but HELLO and UPDATE are one call if all
sessions are new. If anything fails on any gateway, or the run is interrupted, each worker releases what the run opened
on its gateway.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleError
from ansible.utils.display import Display

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import (
    Results,
    has_failed,
    session_key,
    stops_run,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import readable
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.gateway_client import GatewayClient
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.interruption import (
    InterruptedRun,
    Interruption,
    interruption,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import Plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.rendezvous import Rendezvous

if TYPE_CHECKING:
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.joint_messages import JointMessages

Result = dict[str, Any]
MESSAGES = ("request", "hello", "update")
#: Displayed name of each step.
_SHOWN = {"request": "REQ", "hello": "HELLO", "wait": "wait", "update": "UPDATE", "opened": "files", "undo": "REL"}


class StreamOpening:
    """Opens the streams of a run on one gateway.

    Args:
        name: Name of the task, the same for all gateways.
        gateway: The gateway.
        gateways: All gateways of the run.
        plan: The plan of the run.
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
            make: Creates the client of this gateway from a function that returns earlier answers.

        Returns:
            ``steps`` with the answers of this gateway by message, and the common results of a task.
        """
        client = make(self._answers)
        interrupted = False
        with interruption() as state:
            try:
                with Rendezvous(self._name, self._gateway, self._gateways, state.look) as rendezvous:
                    self._step("request", client.request, rendezvous, state)
                    joint = client.joint()
                    if joint is not None:
                        self._together(joint, rendezvous, state)
                    else:
                        self._step("hello", client.hello, rendezvous, state)
                        if self._plan.hello_dir is not None:
                            self._step("wait", partial(self._wait, client, rendezvous, state), rendezvous, state)
                        self._step("update", client.update, rendezvous, state)
                    # One worker writes the files of all gateways.
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

    def _together(self, joint: JointMessages, rendezvous: Rendezvous, state: Interruption) -> None:
        """Take the steps of HELLO and UPDATE with one call."""
        offer = _guarded(joint.offer)
        state.look()
        rendezvous.publish("offer", offer)
        offers = rendezvous.collect("offer")
        answers = {"hello": offer} if has_failed(offer) else joint.send(offers)
        for message in ("hello", "update"):
            self._step(message, partial(answers.get, message), rendezvous, state)

    def _wait(self, client: GatewayClient, rendezvous: Rendezvous, state: Interruption) -> Result | None:
        return client.wait(state.look, partial(_has_stopped, rendezvous))

    def _write(self) -> Result | None:
        answers = [self._answers(message) for message in reversed(MESSAGES)]
        if self._plan.ticket_dir is None or any(stops_run(answer) for found in answers for answer in found.values()):
            return None
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.handover import hand_over

        return hand_over(self._plan, answers, self._check)

    def _answers(self, message: str) -> Results:
        own = self._steps.get(message)
        return self._heard.get(message) or ({self._gateway: own} if own else {})

    def _interrupted(self) -> Result:
        """Return a minimal result, which is not displayed."""
        return {"changed": False, "refused": True, "msg": "interrupted", "steps": {}}

    def _result(self) -> Result:
        steps = self._steps
        Display().display(f"{self._gateway}: {', '.join(f'{_SHOWN[name]} {_outcome(steps[name])}' for name in steps)}")
        result: Result = {"changed": any(answer.get("changed") for answer in steps.values()), "steps": steps}
        # Ansible only displays the warnings of the task itself.
        warnings = [warning for answer in steps.values() for warning in answer.pop("warnings", None) or []]
        if warnings:
            result["warnings"] = list(dict.fromkeys(warnings))
        diffs = [answer.pop("diff") for answer in steps.values() if answer.get("diff")]
        if diffs:
            result["diff"] = [diff for diff in diffs if diff.get("before") or diff.get("after")]
        heard = [answer for results in self._heard.values() for answer in results.values()]
        if not any(map(has_failed, [*heard, *steps.values()])):
            result["steps"] = without_repetition(steps)
        return result


def without_repetition(steps: Mapping[str, Result]) -> dict[str, Result]:
    """Return the answers to messages, each session only in the last one that contains it.

    Ansible takes longer to process the sessions in a result than the gateways take for a message.
    """
    returned: set[tuple[str, str]] = set()
    found: dict[str, Result] = {}
    for message in reversed(list(steps)):
        answer = steps[message]
        sessions = answer.get("sessions") or []
        if sessions:
            answer = {**answer, "sessions": [item for item in sessions if session_key(item) not in returned]}
            returned.update(map(session_key, sessions))
        found[message] = answer
    return {message: found[message] for message in steps}


def wait_together(name: str, gateway: str, gateways: Sequence[str], client: GatewayClient) -> Result | None:
    """Wait for the HELLO of applications in a task of its own, until the wait has ended on all gateways.

    If the run is interrupted, each worker releases what the run opened on its gateway.

    Args:
        name: Name of the task, the same for all gateways.
        gateway: The gateway.
        gateways: The gateways whose workers run at the same time.
        client: The client of the gateway.
    """
    with interruption() as state:
        try:
            with Rendezvous(name, gateway, gateways, state.look) as rendezvous:
                # From here on, an interruption of the run reaches all workers.
                rendezvous.publish("ready", None)
                rendezvous.collect("ready")
                stopped = partial(_has_stopped, rendezvous)
                answer = _guarded(lambda: client.wait(state.look, stopped))
                rendezvous.publish("wait", answer)
                rendezvous.collect("wait")
                return answer
        except InterruptedRun:
            state.disarm()
            _end_children()
            _guarded(lambda: client.undo(True))
            return {"changed": False, "refused": True, "msg": "interrupted"}


def _has_stopped(rendezvous: Rendezvous) -> bool:
    """Return whether the wait has failed on another gateway."""
    return any(map(stops_run, rendezvous.peek("wait").values()))


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
