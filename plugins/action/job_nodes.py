# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits on the control node until a job runs. The module asks the batch system."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import show
from ansible_collections.scistream.gateway.plugins.module_utils._common.formatting import format_duration
from ansible_collections.scistream.gateway.plugins.module_utils._jobs.job import FAILED, PENDING
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import readable
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import fail_with

#: Seconds between two questions, of which the first ones are more frequent, and between two signs of life.
_FIRST, _LONGEST, _PROGRESS = 1.0, 15.0, 15.0


class ActionModule(ActionBase):  # type: ignore[misc]
    """Finds the nodes of a job."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the nodes, or fail with the reason."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables, check_mode = task_vars or {}, bool(self._task.check_mode)
        host = str(self._task.delegate_to or variables.get("inventory_hostname"))
        name = f"job {show(str(self._task.args.get('job')))[1:-1]} on {host}"
        begun = time.monotonic()
        pause, shown = _FIRST, float("-inf")
        while True:
            answer = self._ask(variables)
            why = readable(str(answer.get("msg") or ""))
            patience = self._seconds(answer)
            if answer.get("state") != PENDING or not patience:
                break
            left = patience - (time.monotonic() - begun)
            if check_mode:
                Display().display(f"{name}: would wait, because {why.partition(':')[0]}")
                result.update(changed=False, state=PENDING, nodes=[])
                return result
            if left <= 0:
                why = f"it did not run within {format_duration(patience)}: {why}"
                break
            if time.monotonic() - shown >= _PROGRESS:
                shown = time.monotonic()
                waited = format_duration(shown - begun)
                Display().display(f"{name}: waiting until it runs for {waited}, {why.partition(':')[0]}")
            time.sleep(min(pause, max(left, 0.1)))
            pause = min(pause * 1.5, _LONGEST)
        if not answer.get("failed"):
            result.update(answer)
            return result
        result.update(changed=False, state=answer.get("state", FAILED), reason=f"{name}: {why}")
        if self._is_required(answer):
            return fail_with([result["reason"]], result)
        return {**result, "nodes": []}

    def _ask(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the result of the module."""
        try:
            answer: dict[str, Any] = self._execute_module(
                module_name="scistream.gateway.job_nodes", task_vars=variables
            )
        except AnsibleConnectionFailure as error:
            # If this task were unreachable, Ansible would leave out a gateway.
            return {"failed": True, "msg": f"the host cannot be reached: {error}"}
        if answer.get("failed") and "module_stdout" in answer:
            said = f"{answer.get('module_stderr') or ''}\n{answer['module_stdout'] or ''}".strip().splitlines()
            return {"failed": True, "msg": f"the module did not run: {said[-1] if said else 'no output'}"}
        return answer

    def _is_required(self, answer: dict[str, Any]) -> bool:
        found = (answer.get("invocation") or {}).get("module_args", {}).get("required", self._task.args.get("required"))
        return True if found is None else bool(boolean(found, strict=False))

    def _seconds(self, answer: dict[str, Any]) -> float:
        """Return how long to wait, as the module has validated it."""
        value = (answer.get("invocation") or {}).get("module_args", {}).get("wait", self._task.args.get("wait"))
        return float(value) if str(value or 0).isdigit() else 0.0
