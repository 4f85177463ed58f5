# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the tickets or replies of a run, which hand over to the other facility what it needs of this half."""

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
        plan: What the run is to do.
        answers: What the gateways answered, the last message first.
        check: Whether this is check mode.

    Returns:
        Whether that changes anything; with ``refused`` and ``unwritten`` where it fails: one half of a stream is of no
        use without what the other facility needs to know of it.
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
