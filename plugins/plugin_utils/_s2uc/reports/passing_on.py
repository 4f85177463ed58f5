# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Passes the streams of a run on: to a file with their listeners, to later plays, and to later jobs of a workflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import session_journal
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.reports.run import ReportedRun

Result = dict[str, Any]
# What AWX passes to the next job of a workflow.
_STAT = "scistream_result"


def written(run: ReportedRun, result: Result, streams: Result, lines: Sequence[str]) -> Result:
    """Write the listeners of streams to a file, if this is requested.

    Args:
        run: The run.
        result: The result of the report.
        streams: The streams.
        lines: What the report says, for errors.
    """
    plan = run.plan
    if not plan.listeners_file or run.check:
        return result
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.listeners_file import write_listeners

    try:
        changed = write_listeners(streams, plan.listeners_file, plan.listeners_template)
    except ScistreamError:
        # The streams are open nevertheless, so the journal must not report them.
        session_journal.close()
        # No other task shows the report, as this one fails.
        if run.shows_later:
            run.shown(lines, at_once=True)
        raise
    where = [f"{'Listeners written to' if changed else 'Listeners are in'} {plan.listeners_file}"]
    return {**result, "msg": [*result["msg"], *run.shown(where)], "changed": result["changed"] or changed}


def passed_on(run: ReportedRun, result: Result, streams: Result) -> Result:
    """Return a result with the streams, also as a stat: as of ansible.builtin.set_stats, without another task."""
    result = {**result, "streams": streams}
    if not run.check:
        result["ansible_stats"] = {"data": {_STAT: streams}, "per_host": False, "aggregate": True}
    return result
