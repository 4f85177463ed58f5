# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads and validates the inputs of a run once, before any gateway is contacted."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import show
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.inputs import read_inputs
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import fail_with, unsupported
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import (
    READ_PURPOSES,
    make_directory,
    make_plan,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import DescriptionError

_ARGUMENTS = frozenset(("purpose", "streams", "key_file", "probe"))
_HEADLINE = "The input of the run has errors."


class ActionModule(ActionBase):  # type: ignore[misc]
    """Creates the plan of a run."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the plan, or fail with all errors of the description."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments, variables = self._task.args, task_vars or {}
        purpose = arguments.get("purpose")
        if set(arguments) - _ARGUMENTS:
            raise AnsibleError(unsupported(set(arguments) - _ARGUMENTS, _ARGUMENTS))
        if purpose not in READ_PURPOSES:
            raise AnsibleError(f"purpose must be one of: {', '.join(READ_PURPOSES)}, got: {show(purpose)}")
        own = {key: value for key, value in arguments.items() if key != "purpose"}
        inputs = read_inputs(self._loader, self._templar, variables, own)
        check_mode = bool(self._task.check_mode)
        result["changed"] = False
        try:
            gateways, groups = variables["ansible_play_hosts_all"], variables.get("groups")
            plan = make_plan(inputs, purpose, gateways, check_mode, _show, groups, _inventory(variables))
            for directory in (plan.ticket_dir, plan.hello_dir):
                if directory is not None:
                    result["changed"] = make_directory(directory, check_mode)
        except DescriptionError as error:
            return fail_with(error.problems, result, _HEADLINE if len(error.problems) > 1 else None)
        finally:
            for note in inputs.notes:
                Display().warning(note if note.endswith("?") else f"{note}.")
        result["plan"] = plan.document()
        # What these are depends on what the gateways have.
        ends = plan.uids and purpose in ("release", "drop")
        result["deals"] = bool(ends) or any(stream.deal for stream in plan.streams)
        result["jobs"] = []
        if any(stream.job for stream in plan.streams):
            from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_jobs import jobs

            result["jobs"] = jobs(plan.streams, plan.wait_for_job, purpose != "apply")
        return result


def _inventory(variables: dict[str, Any]) -> set[str]:
    """Return the names of all hosts that tasks can be delegated to."""
    return {"localhost", *map(str, (variables.get("groups") or {}).get("all") or ())}


def _show(text: str) -> None:
    if text.startswith("A new key"):
        Display().display(text)
    else:
        Display().warning(text)
