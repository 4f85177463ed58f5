# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deals the connections of streams out over their gateways, before anything changes."""

from __future__ import annotations

import uuid
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import registered
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.dealt_streams import deal_streams, dealt_plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import readable
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import fail_with, show_lines, unsupported
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import given_plan

_ARGUMENTS = frozenset(("planned",))


class ActionModule(ActionBase):  # type: ignore[misc]
    """Replaces the streams of a plan that have many gateways by their legs."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the plan, or fail if streams cannot be dealt out."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments, variables = self._task.args, task_vars or {}
        if set(arguments) - _ARGUMENTS:
            raise AnsibleError(unsupported(set(arguments) - _ARGUMENTS, _ARGUMENTS))
        result.update(changed=False, msg=[], deals=False)
        try:
            plan = given_plan(arguments, variables)
            answers = registered(variables["hostvars"], plan.gateways, "info")
            dealt = deal_streams(plan, answers)
            if dealt.problems:
                return fail_with([readable(line) for line in dealt.problems], result)
            result["plan"] = dealt_plan(plan, dealt, answers, lambda: str(uuid.uuid4())).document()
        except ScistreamError as error:
            return fail_with([str(error)], result)
        for warning in dealt.warnings:
            Display().warning(f"{readable(warning)}.")
        result["msg"] = show_lines(dealt.notes)
        return result
