# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the tickets or replies of a run, with what the other facility needs to know about this side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Results
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.exchange_file import write_file
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import warn_replaced
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import Plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.result_facts import exchange_files


def hand_over(plan: Plan, answers: Sequence[Results], check: bool) -> dict[str, Any]:
    """Write the tickets or replies.

    Args:
        plan: The plan of the run.
        answers: The answers of the gateways, those to the last message first.
        check: Whether this is check mode.

    Returns:
        Whether this changes anything. If a file cannot be written, also ``refused`` and ``unwritten``, because one side
        of a stream is useless without it.
    """
    written = []
    for made in exchange_files(plan.streams, answers, plan.purpose) if plan.ticket_dir is not None else ():
        done = write_file(os.path.join(str(plan.ticket_dir), made["file"]), made["text"], check)
        if done["replaced"] and not check:
            warn_replaced(done["path"])
        written.append({**done, "file": made["file"]})
    result: dict[str, Any] = {"changed": any(item["changed"] for item in written)}
    unwritten = [item for item in written if item.get("failed")]
    return {**result, "refused": True, "unwritten": unwritten} if unwritten else result
