# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of announced applications."""

from __future__ import annotations

from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import fail_with, show_lines
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_announced import announced, not_announced
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_failed import key_hints
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_missing import missing
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.reports.run import ReportedRun

Result = dict[str, Any]


def show_announced(run: ReportedRun, result: Result) -> Result:
    """Show which applications were announced, and fail if any was not."""
    plan, before, answers = run.plan, run.answers("info"), run.answers("announce")
    result["msg"] = show_lines(announced(answers, plan.streams, run.check))
    # A described stream that does not exist is among the refusals.
    wrong = [*missing(before, plan.uids), *not_announced(answers, plan.streams)]
    hints = [] if plan.secret_file else key_hints([answers], plan.key_file, plan.key_given)
    return fail_with([*wrong, *hints] if wrong else [], result)
