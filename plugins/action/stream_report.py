# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Displays the outcome of a run, once for all gateways, based on their answers to its messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, show
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import (
    all_sessions,
    report_applied,
    report_probed,
    session_journal,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import (
    Results,
    has_failed,
    registered,
    registered_steps,
    stops_run,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.handover import hand_over
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import describe_key
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.listeners_file import write_listeners
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import (
    ask,
    fail_with,
    message_lines,
    show_lines,
    show_styled,
    terminal_width,
    unsupported,
    warn_unencrypted,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import given_plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.probe_client import PREFIX
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_announced import announced, not_announced
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_dropped import dropped, not_dropped
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_failed import key_hints, not_opened
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_missing import missing, misspelled
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_opened import opened
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_released import released, unreleased
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_status import (
    status_lines,
    unencrypted,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.result_facts import stream_results
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.status_report import StatusReport
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import GONE
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_rounds import given_round

Result = dict[str, Any]
_ARGUMENTS = frozenset(("kind", "plan", "planned", "compared", "output", "heading", "measured", "time", "defer"))
# What AWX passes to the next job of a workflow.
_STAT = "scistream_result"


class ActionModule(ActionBase):  # type: ignore[misc]
    """One report on the control node."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Result:
        """Show the report, and fail if there are problems."""
        result: Result = super().run(tmp, task_vars)
        arguments = self._task.args
        reports = {
            "opened": self._opened,
            "failed": self._failed,
            "opening": self._opening,
            "status": self._status,
            "page": self._page,
            "misspelled": self._misspelled,
            "released": self._released,
            "dropped": self._dropped,
            "announced": self._announced,
            "applied": self._applied,
            "probed": self._probed,
        }
        if set(arguments) - _ARGUMENTS:
            raise AnsibleError(unsupported(set(arguments) - _ARGUMENTS, _ARGUMENTS))
        report = reports.get(str(arguments.get("kind")))
        if report is None:
            raise AnsibleError(f"kind must be one of: {', '.join(reports)}, got: {show(arguments.get('kind'))}")
        self._variables = task_vars or {}
        self._hostvars = self._variables["hostvars"]
        self._check = bool(self._task.check_mode)
        # The messages that open streams are sent by several tasks, or by one.
        self._find = registered_steps if arguments["kind"] == "opening" else registered
        result.update(changed=False, msg=[])
        try:
            self._plan = given_plan(arguments, self._variables)
            return report(result)
        except ScistreamError as error:
            return fail_with([str(error)], result)

    def _answers(self, message: str) -> Results:
        return self._find(self._hostvars, self._plan.gateways, message)

    def _steps(self) -> list[Results]:
        return [self._answers(message) for message in ("request", "hello", "wait", "update")]

    def _opened(self, result: Result) -> Result:
        """Write the tickets or replies and show the streams, unless something failed before."""
        answers = self._steps()[::-1]
        if self._probe_failed() or any(stops_run(answer) for found in answers for answer in found.values()):
            return {**result, "skipped": True}
        result.update(hand_over(self._plan, answers, self._check))
        return result if result.get("refused") else self._show_opened(result)

    def _opening(self, result: Result) -> Result:
        """Show the outcome of the task that opens streams: the streams, or why they are not open."""
        undone, written = self._answers("undo"), self._answers("opened")
        outcome: Result = next((answer for answer in written.values() if answer), {})
        if not any(stops_run(answer) for found in (*self._steps(), {"": outcome}) for answer in found.values()):
            result = self._show_opened(result)
        return self._say_failed(result, undone, outcome)

    def _show_opened(self, result: Result) -> Result:
        """Show the streams, unless anything failed."""
        plan, answers = self._plan, self._steps()[::-1]
        if any(has_failed(answer) for found in answers for answer in found.values()):
            return result
        warn_unencrypted(stream.name for stream in plan.streams if stream.encryption == "none")
        result["msg"] = self._shown(opened(plan.streams, answers, plan.purpose, self._check, plan.ticket_dir))
        streams = stream_results(plan.streams, answers, plan.purpose, plan.ticket_dir)
        return self._passed_on(self._written(result, streams), streams)

    def _written(self, result: Result, streams: Result) -> Result:
        """Write the listeners of streams to a file, if this is requested."""
        plan = self._plan
        if plan.listeners_file and not self._check:
            try:
                changed = write_listeners(streams, plan.listeners_file, plan.listeners_template)
            except ScistreamError:
                # The streams are open all the same, so the journal must not report them.
                session_journal.close()
                raise
            lines = [f"{'Listeners written to' if changed else 'Listeners are in'} {plan.listeners_file}"]
            result.update(msg=[*result["msg"], *self._shown(lines)], changed=result["changed"] or changed)
        return result

    def _passed_on(self, result: Result, streams: Result) -> Result:
        """Return a result with the streams, also as a stat: as of ansible.builtin.set_stats, without another task."""
        result["streams"] = streams
        if not self._check:
            result["ansible_stats"] = {"data": {_STAT: streams}, "per_host": False, "aggregate": True}
        return result

    def _shown(self, texts: Sequence[str], at_once: bool = False) -> list[str]:
        """Show lines, unless another task shows them later, and return them."""
        later = boolean(self._task.args.get("defer", False)) and not at_once
        return message_lines(texts) if later else show_lines(texts)

    def _failed(self, result: Result) -> Result:
        return self._say_failed(result, self._answers("release"), next(iter(self._answers("opened").values()), {}))

    def _say_failed(self, result: Result, undone: Results, outcome: Result) -> Result:
        plan, steps = self._plan, self._steps()
        hints = key_hints(steps, plan.key_file, plan.key_given)
        others = ["the probe found out that a stream does not work, see above"] if self._probe_failed() else []
        lines = not_opened(steps, undone, plan.streams, plan.purpose, outcome, hints, self._check, others)
        # The report covers the sessions of the run, so the journal must not report them again.
        session_journal.close()
        return fail_with(lines, result)

    def _probe_failed(self) -> bool:
        """Return whether streams were probed before they are shown as open, and one of them does not work."""
        return any(map(has_failed, self._answers("probed").values())) if self._plan.purpose == "open" else False

    def _status(self, result: Result) -> Result:
        plan, answers = self._plan, self._answers("info")
        report = StatusReport(plan)
        status = report.take(answers)
        warn_unencrypted(unencrypted(status))
        result["msg"] = show_styled(status_lines(status, plan.show, terminal_width()))
        # A watch has written all of its samples.
        unwritten = [str(answer["unwritten"]) for answer in answers.values() if plan.watch and answer.get("unwritten")]
        if not self._check and (plan.output if plan.watch else report.write(status)) and not unwritten:
            result["msg"] += show_lines([f"Written to {plan.output}"])
        # Why others did not is above.
        silent = [gateway.name for gateway in status.gateways if not gateway.answered]
        answered = {name: answer for name, answer in answers.items() if name not in silent}
        wrong = [*missing(answered, plan.uids, plan.streams), *unwritten]
        wrong += [f"{', '.join(silent)}: no answer, see above"] if silent else []
        # Ansible displays the whole result of a failure.
        return fail_with(wrong, result) if wrong else {**result, "status": report.document(status)}

    def _page(self, result: Result) -> Result:
        """Write a page about streams, with a throughput that was measured by other means."""
        arguments = self._task.args
        report = StatusReport(self._plan)
        when = arguments.get("time")
        status = report.take(self._answers("info"), None if when is None else float(when))
        measured = arguments.get("measured") or {}
        if not self._check:
            report.write_page(status, str(arguments.get("output")), str(arguments.get("heading") or ""), measured)
        return result

    def _misspelled(self, result: Result) -> Result:
        if self._plan.all:
            return self._confirm(result)
        return fail_with(misspelled(self._answers("info"), self._plan.uids, self._plan.streams), result)

    def _confirm(self, result: Result) -> Result:
        """Ask whether to release all sessions, unless nothing would be released."""
        text = all_sessions.question(self._answers("info"))
        if not text or self._check or not self._plan.confirm:
            return result
        answer = ask(f"{text} Enter yes to release them, or anything else to cancel:")
        if answer is None:
            return fail_with([f"Nothing was released. {text} Set -e confirm=false, as there is no terminal."], result)
        return result if answer.lower() in ("yes", "y") else fail_with(["Nothing was released."], result)

    def _applied(self, result: Result) -> Result:
        """Show what a run did to make the gateways match, and fail if they do not."""
        plan, answers = self._plan, self._answers("info")
        this = given_round(self._variables, "compared", self._task.args.get("compared"))
        key = describe_key(plan.key_file, plan.key_given)
        differing = report_applied.differing(this, answers, key, plan.prune, self._check)
        if not self._check:
            warn_unencrypted(report_applied.unencrypted(this, plan.streams))
            result["msg"] = self._shown(report_applied.applied(this, plan.streams, answers), bool(differing))
            present = [stream for stream in plan.streams if stream.state not in GONE]
            streams = stream_results(present, [answers], plan.purpose)
            result = self._written(result, streams)
            # Ansible displays the whole result of a failure.
            if not differing:
                result = self._passed_on(result, streams)
        return fail_with(differing, result)

    def _probed(self, result: Result) -> Result:
        """Show the outcome of a probe, and fail if a stream does not work."""
        plan = self._plan
        names = ("contact", "request", "hello", "update", "pattern", "release")
        answers = {name: self._answers(f"{PREFIX}{name}") for name in names}
        failed = any(stops_run(item) for found in self._steps() for item in found.values())
        if not plan.probes or (plan.purpose == "open" and (self._check or failed)):
            return {**result, "skipped": True}
        # The report covers the sessions of the probes, which expire if they were not released.
        session_journal.close()
        found = report_probed.findings(plan, answers, self._check)
        good, bad = report_probed.shown(found, self._check)
        result["msg"] = show_lines(good)
        if bad and plan.purpose == "open":
            # If this task failed, the other gateways would not release what the run opened on them.
            Display().display("\n".join(bad), color=str(C.COLOR_ERROR))
            return {**result, "refused": True, "msg": bad}
        if not bad:
            result["streams"] = report_probed.results(found)
        return fail_with(bad, result)

    def _dropped(self, result: Result) -> Result:
        plan, before, answers = self._plan, self._answers("info"), self._answers("drop")
        uids = [*(str(uid).lower() for uid in plan.uids), *(stream.uid for stream in plan.streams)]
        result["msg"] = show_lines(dropped(answers, before, uids, self._check))
        wrong = [*missing(before, plan.uids, plan.streams, strict=True), *not_dropped(answers, plan.streams)]
        return fail_with([*wrong, *key_hints([answers], plan.key_file, plan.key_given)] if wrong else [], result)

    def _announced(self, result: Result) -> Result:
        plan, before, answers = self._plan, self._answers("info"), self._answers("announce")
        result["msg"] = show_lines(announced(answers, plan.streams, self._check))
        # A described stream that does not exist is among the refusals.
        wrong = [*missing(before, plan.uids), *not_announced(answers, plan.streams)]
        hints = [] if plan.secret_file else key_hints([answers], plan.key_file, plan.key_given)
        return fail_with([*wrong, *hints] if wrong else [], result)

    def _released_all(self, result: Result) -> Result:
        before, answers = self._answers("info"), self._answers("release")
        told = {gateway: answer for gateway, answer in answers.items() if not answer.get("skipped")}
        lines = released(told, check_mode=self._check, before=before) if told else []
        result["msg"] = show_lines([*lines, *all_sessions.left(before)])
        return fail_with(unreleased(all_sessions.outcomes(before, answers)), result)

    def _released(self, result: Result) -> Result:
        if self._plan.all:
            return self._released_all(result)
        plan, answers = self._plan, self._answers("release")
        lines = released(answers, plan.streams, plan.uids, plan.gateways, self._check, self._answers("info"))
        result["msg"] = show_lines(lines)
        wrong = unreleased(answers, plan.streams)
        return fail_with([*wrong, *key_hints([answers], plan.key_file, plan.key_given)] if wrong else [], result)
