# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reports of runs that release streams: before anything is released, and after that."""

from __future__ import annotations

from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import ask, fail_with, show_lines
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import Plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_missing import misspelled
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.reports.run import ReportedRun

Result = dict[str, Any]


def refuse_misspelled(run: ReportedRun, result: Result) -> Result:
    """Find the legs of streams with many gateways, and fail if names are misspelled. The result has the plan."""
    plan, answers = _with_legs(run), run.answers("info")
    result["plan"] = plan.document()
    return _confirm(run, result) if plan.all else fail_with(misspelled(answers, plan.uids, plan.streams), result)


def _with_legs(run: ReportedRun) -> Plan:
    """Return the plan with what the streams and uids are on the gateways."""
    plan = run.plan
    if not plan.uids and not any(stream.deal for stream in plan.streams):
        return plan
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.dealt_streams import deal_streams, dealt_plan

    answers = run.answers("info")
    # Nothing is dealt out that is released.
    return dealt_plan(plan, deal_streams(plan, answers), answers, str)


def _confirm(run: ReportedRun, result: Result) -> Result:
    """Ask whether to release all sessions, unless nothing would be released."""
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import all_sessions

    text = all_sessions.question(run.answers("info"))
    if not text or run.check or not run.plan.confirm:
        return result
    answer = ask(f"{text} Enter yes to release them, or anything else to cancel:")
    if answer is None:
        return fail_with([f"Nothing was released. {text} Set -e confirm=false, as there is no terminal."], result)
    return result if answer.lower() in ("yes", "y") else fail_with(["Nothing was released."], result)


def show_released(run: ReportedRun, result: Result) -> Result:
    """Show what was released, and fail if anything was not."""
    if run.plan.all:
        return _show_all(run, result)
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_released import released, unreleased

    plan, answers = run.plan, run.answers("release")
    lines = released(answers, plan.streams, plan.uids, plan.gateways, run.check, run.answers("info"))
    result["msg"] = show_lines(lines)
    wrong = unreleased(answers, plan.streams)
    if not wrong:
        return result
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_failed import key_hints

    return fail_with([*wrong, *key_hints([answers], plan.key_file, plan.key_given)], result)


def _show_all(run: ReportedRun, result: Result) -> Result:
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import all_sessions
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_released import released, unreleased

    before, answers = run.answers("info"), run.answers("release")
    answered = {gateway: answer for gateway, answer in answers.items() if not answer.get("skipped")}
    lines = released(answered, check_mode=run.check, before=before) if answered else []
    result["msg"] = show_lines([*lines, *all_sessions.left(before)])
    return fail_with(unreleased(all_sessions.outcomes(before, answers)), result)
