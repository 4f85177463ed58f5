# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of a probe."""

from __future__ import annotations

from typing import Any

from ansible import constants as C
from ansible.utils.display import Display

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import report_probed, session_journal
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import PROBE_PREFIX, stops_run
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import fail_with, show_lines
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.reports.run import ReportedRun

Result = dict[str, Any]


def show_probed(run: ReportedRun, result: Result) -> Result:
    """Show the outcome of a probe, and fail if a stream does not work."""
    plan = run.plan
    names = ("contact", "request", "hello", "update", "pattern", "release")
    answers = {name: run.answers(f"{PROBE_PREFIX}{name}") for name in names}
    failed = any(stops_run(item) for found in run.steps() for item in found.values())
    if not plan.probes or (plan.purpose == "open" and (run.check or failed)):
        return {**result, "skipped": True}
    # The report covers the sessions of the probes, which expire if they were not released.
    session_journal.close()
    found = report_probed.findings(plan, answers, run.check)
    good, bad = report_probed.shown(found, run.check)
    result["msg"] = show_lines(good)
    if bad and plan.purpose == "open":
        # If this task failed, the other gateways would not release what the run opened on them.
        Display().display("\n".join(bad), color=str(C.COLOR_ERROR))
        return {**result, "refused": True, "msg": bad}
    if not bad:
        result["streams"] = report_probed.results(found)
    return fail_with(bad, result)
