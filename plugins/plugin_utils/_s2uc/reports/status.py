# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of the status of streams."""

from __future__ import annotations

from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import (
    fail_with,
    show_lines,
    show_styled,
    terminal_width,
    warn_unencrypted,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_missing import missing
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_status import status_lines, unencrypted
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.reports.run import ReportedRun
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.status_report import StatusReport

Result = dict[str, Any]


def show_status(run: ReportedRun, result: Result) -> Result:
    """Show the streams, and what is wrong with them."""
    plan, answers = run.plan, run.answers("info")
    report = StatusReport(plan)
    status = report.take(answers)
    warn_unencrypted(unencrypted(status))
    result["msg"] = show_styled(status_lines(status, plan.show, terminal_width()))
    # A watch has written all of its samples.
    unwritten = [str(answer["unwritten"]) for answer in answers.values() if plan.watch and answer.get("unwritten")]
    if not run.check and (plan.output if plan.watch else report.write(status)) and not unwritten:
        result["msg"] += show_lines([f"Written to {plan.output}"])
    # Why others did not is above.
    silent = [gateway.name for gateway in status.gateways if not gateway.answered]
    answered = {name: answer for name, answer in answers.items() if name not in silent}
    # Streams that are not found may be on those that did not answer.
    wrong = [*missing(answered, plan.uids, plan.streams, strict=not silent), *unwritten]
    wrong += [f"{', '.join(silent)}: no answer, see above"] if silent else []
    # Ansible displays the whole result of a failure.
    return fail_with(wrong, result) if wrong else {**result, "status": report.document(status)}


def write_page(run: ReportedRun, result: Result) -> Result:
    """Write a page about streams, with a throughput that was measured by other means."""
    arguments = run.arguments
    report = StatusReport(run.plan)
    when = arguments.get("time")
    status = report.take(run.answers("info"), None if when is None else float(when))
    measured = arguments.get("measured") or {}
    if not run.check:
        report.write_page(status, str(arguments.get("output")), str(arguments.get("heading") or ""), measured)
    return result
