# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a gateway's answer means for the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import ROLES


def key_of(session: Mapping[str, Any]) -> tuple[str, str]:
    """Return which session it is."""
    return str(session["uid"]), str(session["role"])


def went_wrong(answer: Any) -> bool:
    """Tell whether a gateway refused, failed, or could not be reached."""
    return isinstance(answer, Mapping) and any(answer.get(key) for key in ("failed", "unreachable", "refused"))


def ends_all(answer: Any) -> bool:
    """Tell whether what went wrong ends the run for all streams, and not only for some that were open before."""
    return went_wrong(answer) and not answer.get("alone")


def stuck(answers: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the sessions of the streams that some gateway refused to change, on both sides; the others go on."""
    uids = {
        str(item["uid"])
        for answer in answers.values()
        if went_wrong(answer) and answer.get("alone")
        for item in answer.get("failed_sessions") or []
    }
    return [{"uid": uid, "role": role} for uid in sorted(uids) for role in ROLES]
