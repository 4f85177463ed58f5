# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Displays the outcome of a run, once for all gateways, based on their answers to its messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, show
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import registered, registered_steps
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import fail_with, unsupported
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import given_plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.reports.run import ReportedRun

Result = dict[str, Any]
Report = Callable[[ReportedRun, Result], Result]
_ARGUMENTS = frozenset(("kind", "plan", "planned", "compared", "output", "heading", "measured", "time", "defer"))
_KINDS = (
    *("opened", "failed", "opening", "status", "page", "misspelled", "released", "dropped", "announced", "applied"),
    "probed",
)


class ActionModule(ActionBase):  # type: ignore[misc]
    """One report on the control node."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Result:
        """Show the report, and fail if there are problems."""
        result: Result = super().run(tmp, task_vars)
        arguments, variables = self._task.args, task_vars or {}
        kind = arguments.get("kind")
        if set(arguments) - _ARGUMENTS:
            raise AnsibleError(unsupported(set(arguments) - _ARGUMENTS, _ARGUMENTS))
        if kind not in _KINDS:
            raise AnsibleError(f"kind must be one of: {', '.join(_KINDS)}, got: {show(kind)}")
        # The messages that open streams are sent by several tasks, or by one.
        find = registered_steps if kind == "opening" else registered
        result.update(changed=False, msg=[])
        try:
            plan = given_plan(arguments, variables)
            return _report(str(kind))(
                ReportedRun(plan, arguments, variables, bool(self._task.check_mode), find), result
            )
        except ScistreamError as error:
            return fail_with([str(error)], result)


def _report(kind: str) -> Report:
    """Return the function that shows a report. Only its modules are loaded, which Ansible compiles in every run."""
    if kind in ("opened", "failed", "opening"):
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.reports import opening

        return {"opened": opening.show_opened, "failed": opening.show_failed, "opening": opening.show_opening}[kind]
    if kind in ("misspelled", "released"):
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.reports import releasing

        return releasing.refuse_misspelled if kind == "misspelled" else releasing.show_released
    if kind in ("status", "page"):
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.reports import status

        return status.show_status if kind == "status" else status.write_page
    if kind == "dropped":
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.reports.dropping import show_dropped

        return show_dropped
    if kind == "announced":
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.reports.announcing import show_announced

        return show_announced
    if kind == "applied":
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.reports.applying import show_applied

        return show_applied
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.reports.probing import show_probed

    return show_probed
