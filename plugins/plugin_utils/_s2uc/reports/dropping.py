# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of closed connections."""

from __future__ import annotations

from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import fail_with, show_lines
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_dropped import dropped, not_dropped
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_failed import key_hints
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_missing import missing
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.reports.run import ReportedRun

Result = dict[str, Any]


def show_dropped(run: ReportedRun, result: Result) -> Result:
    """Show which connections were closed, and fail if a requested stream does not exist."""
    plan, before, answers = run.plan, run.answers("info"), run.answers("drop")
    uids = [*(str(uid).lower() for uid in plan.uids), *(stream.uid for stream in plan.streams)]
    result["msg"] = show_lines(dropped(answers, before, uids, run.check))
    wrong = [*missing(before, plan.uids, plan.streams, strict=True), *not_dropped(answers, plan.streams)]
    return fail_with([*wrong, *key_hints([answers], plan.key_file, plan.key_given)] if wrong else [], result)
