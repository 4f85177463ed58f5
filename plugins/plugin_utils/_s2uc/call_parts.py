# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls with more sessions than a gateway accepts at once, which are made in several parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import MAX_CALL_SESSIONS
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import has_failed, new_sessions

Result = dict[str, Any]


def call_in_parts(module: str, arguments: Mapping[str, Any], send: Callable[[Mapping[str, Any]], Result]) -> Result:
    """Call a module, in several parts if there are many sessions.

    Args:
        module: The module.
        arguments: Its options.
        send: Calls it with other options, and returns its answer.

    Returns:
        The answer, as if it had been one call.
    """
    sessions = arguments.get("sessions") or []
    if len(sessions) <= MAX_CALL_SESSIONS:
        return send(arguments)
    answers = []
    for begin in range(0, len(sessions), MAX_CALL_SESSIONS):
        answer = send({**arguments, "sessions": sessions[begin : begin + MAX_CALL_SESSIONS]})
        answers.append(answer)
        # If only some sessions failed, the others are as independent of them as in one call.
        independent = module in ("s2cs_release", "s2cs_drop", "s2cs_probe") or answer.get("failed_sessions")
        if answer.get("lost") or (has_failed(answer) and not independent):
            break
    return _join(answers)


def _join(answers: Sequence[Result]) -> Result:
    """Return the answers to the parts of a call as one."""
    joined: Result = {}
    for answer in answers:
        for key, value in answer.items():
            known = joined.get(key)
            if isinstance(value, list):
                joined[key] = [*(known or []), *value]
            elif isinstance(value, bool):
                joined[key] = bool(known) or value
            elif key == "diff":
                joined[key] = {name: {**(known or {}).get(name, {}), **value.get(name, {})} for name in value}
            elif key == "msg":
                joined[key] = "; ".join(dict.fromkeys([*([known] if known else []), value]))
            else:
                joined[key] = value
    if joined.pop("repeated", False):
        # Determined for each part, because only sessions of the repeated ones are uncertain.
        joined["new_sessions"] = [item for answer in answers for item in new_sessions(answer)]
    return joined
