# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares the description of streams with the answers of all gateways, and returns what is to be done."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import session_journal
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import (
    has_failed,
    registered,
    registered_steps,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import fail_with, show_lines, unsupported
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import Plan, given_plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_applied import (
    left_alone,
    plan_lines,
    unanswered,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.round_answers import Sent
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_rounds import (
    Round,
    given_round,
    next_round,
    predicted,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_steps import (
    REPLACE,
    Wishes,
    left_in_set,
    plan_steps,
)

Result = dict[str, Any]
_ARGUMENTS = frozenset(("planned", "previous", "in_turn"))


class ActionModule(ActionBase):  # type: ignore[misc]
    """One comparison on the control node."""

    _supports_check_mode = True
    _supports_diff = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: Result | None = None) -> Result:
        """Return the next round of the run, and its plan for the tasks that send messages."""
        result: Result = super().run(tmp, task_vars)
        arguments, variables = self._task.args, task_vars or {}
        if set(arguments) - _ARGUMENTS:
            raise AnsibleError(unsupported(set(arguments) - _ARGUMENTS, _ARGUMENTS))
        result.update(changed=False, msg=[])
        try:
            plan = given_plan(arguments, variables)
            if arguments.get("previous") is None:
                this = Round(self._steps(plan, variables, patient=True), notes=self._left_alone(plan, variables))
                # If there is nothing to do, the report shows all that there is to say.
                if this.acts or self._task.diff or self._task.check_mode:
                    result["msg"] = show_lines([*this.notes, *plan_lines(this.steps, everything=bool(self._task.diff))])
            else:
                this = self._next(plan, given_round(variables, "previous", arguments["previous"]), variables)
                # The next tasks know what to do about the sessions of the round, so the journal must not report them.
                session_journal.close()
        except ScistreamError as error:
            return fail_with([str(error)], result)
        result.update(acts=this.acts, waits=this.waits, round=this.document())
        result["plan"] = self._part(plan, this).document()
        return result

    def _next(self, plan: Plan, previous: Round, variables: Result) -> Round:
        find = registered if boolean(self._task.args.get("in_turn") or False) else registered_steps
        request, hello, update = (
            find(variables["hostvars"], plan.gateways, message) for message in ("request", "hello", "update")
        )
        release, undo = (
            registered(variables["hostvars"], plan.gateways, "release"),
            find(variables["hostvars"], plan.gateways, "undo"),
        )
        sent = Sent(release, request, hello, update, undo)
        if self._task.check_mode:
            return predicted(previous, plan.streams, sent)
        answers = registered(variables["hostvars"], plan.gateways, "info")
        silent = {gateway for gateway, answer in answers.items() if has_failed(answer)}
        this = next_round(previous, self._steps(plan, variables, patient=False), plan.streams, sent, silent)
        return replace(this, notes=[*this.notes, *unanswered(plan.streams, update)])

    def _steps(self, plan: Plan, variables: Result, patient: bool) -> list[Any]:
        wishes = Wishes(plan.stream_set, plan.prune, plan.replace, patient)
        answers = registered(variables["hostvars"], plan.gateways, "info")
        return plan_steps(plan.streams, answers, wishes, datetime.now(timezone.utc))

    def _left_alone(self, plan: Plan, variables: Result) -> list[str]:
        wishes = Wishes(plan.stream_set, plan.prune)
        answers = registered(variables["hostvars"], plan.gateways, "info")
        return left_alone(left_in_set(plan.streams, answers, wishes), plan.stream_set)

    def _part(self, plan: Plan, this: Round) -> Plan:
        """Return the plan of a round, with the streams that it concerns."""
        # In check mode, the old sessions of a replaced stream still exist, and gateways would refuse other parameters.
        sends = {
            step.uid
            for step in (this.steps if this.acts else ())
            if step.sends and not (self._task.check_mode and step.action == REPLACE)
        }
        return replace(
            plan,
            streams=[stream for stream in plan.streams if stream.uid in sends],
            releases=[item for step in this.steps if this.acts and step.acts for item in step.releases],
            decides={uid: role for uid, role in this.decides.items() if uid in sends},
        )
