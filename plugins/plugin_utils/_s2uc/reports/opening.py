# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reports of runs that open streams."""

from __future__ import annotations

from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import session_journal
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Results, has_failed, stops_run
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import fail_with, warn_unencrypted
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_opened import opened
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.reports.passing_on import passed_on, written
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.reports.run import ReportedRun
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.result_facts import stream_results

Result = dict[str, Any]


def show_opened(run: ReportedRun, result: Result) -> Result:
    """Write the tickets or replies and show the streams, unless something failed before."""
    answers = run.steps()[::-1]
    if run.probe_failed() or any(stops_run(answer) for found in answers for answer in found.values()):
        return {**result, "skipped": True}
    if run.plan.ticket_dir is not None:
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.handover import hand_over

        result.update(hand_over(run.plan, answers, run.check))
    if result.get("refused"):
        return result
    try:
        return _show(run, result)
    except ScistreamError as error:
        # If this task failed, the other gateways would not release what the run opened on them.
        unwritten = [{"file": run.plan.listeners_file, "failed": True, "msg": str(error)}]
        return {**result, "msg": [], "refused": True, "unwritten": unwritten}


def show_opening(run: ReportedRun, result: Result) -> Result:
    """Show the outcome of the task that opens streams: the streams, or why they are not open."""
    undone, files = run.answers("undo"), run.answers("opened")
    outcome: Result = next((answer for answer in files.values() if answer), {})
    if not any(stops_run(answer) for found in (*run.steps(), {"": outcome}) for answer in found.values()):
        result = _show(run, result)
    return _say_failed(run, result, undone, outcome)


def show_failed(run: ReportedRun, result: Result) -> Result:
    """Fail with the reasons why streams were not opened, if there are any."""
    return _say_failed(run, result, run.answers("release"), next(iter(run.answers("opened").values()), {}))


def _show(run: ReportedRun, result: Result) -> Result:
    """Show the streams, unless anything failed."""
    plan, answers = run.plan, run.steps()[::-1]
    if any(has_failed(answer) for found in answers for answer in found.values()):
        return result
    warn_unencrypted(stream.name for stream in plan.streams if stream.encryption == "none")
    lines = opened(plan.streams, answers, plan.purpose, run.check, plan.ticket_dir)
    result["msg"] = run.shown(lines)
    streams = stream_results(plan.streams, answers, plan.purpose, plan.ticket_dir)
    # After the task of this kind, a failure releases the streams.
    stays = run.arguments["kind"] == "opening"
    return passed_on(run, written(run, result, streams, lines if stays else []), streams)


def _say_failed(run: ReportedRun, result: Result, undone: Results, outcome: Result) -> Result:
    plan, steps = run.plan, run.steps()
    lines: list[str] = []
    probe_failed = run.probe_failed()
    if probe_failed or any(has_failed(answer) for found in (*steps, {"": outcome}) for answer in found.values()):
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_failed import key_hints, not_opened

        hints = key_hints(steps, plan.key_file, plan.key_given)
        others = ["the probe found out that a stream does not work, see above"] if probe_failed else []
        lines = not_opened(steps, undone, plan.streams, plan.purpose, outcome, hints, run.check, others)
    # The report covers the sessions of the run, so the journal must not report them again.
    session_journal.close()
    return fail_with(lines, result)
