# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of runs that make the gateways match a description."""

from __future__ import annotations

from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import report_applied
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import describe_key
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import fail_with, warn_unencrypted
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.reports.passing_on import passed_on, written
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.reports.run import ReportedRun
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.result_facts import stream_results
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import GONE
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_rounds import given_round

Result = dict[str, Any]


def show_applied(run: ReportedRun, result: Result) -> Result:
    """Show what a run did to make the gateways match, and fail if they do not."""
    plan, answers = run.plan, run.answers("info")
    this = given_round(run.variables, "compared", run.arguments.get("compared"))
    key = describe_key(plan.key_file, plan.key_given)
    differing = report_applied.differing(this, answers, key, plan.prune, run.check)
    if not run.check:
        warn_unencrypted(report_applied.unencrypted(this, plan.streams))
        lines = report_applied.applied(this, plan.streams, answers)
        result["msg"] = run.shown(lines, bool(differing))
        present = [stream for stream in plan.streams if stream.state not in GONE]
        streams = stream_results(present, [answers], plan.purpose)
        try:
            result = written(run, result, streams, [] if differing else lines)
        except ScistreamError as error:
            differing.append(str(error))
        # Ansible displays the whole result of a failure.
        if not differing:
            result = passed_on(run, result, streams)
    return fail_with(differing, result)
