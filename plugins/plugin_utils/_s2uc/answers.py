# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What gateways answered, and what that means for the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream

#: The answers to one message, by gateway.
Results = Mapping[str, Any]
Session = Mapping[str, Any]

#: The variable in which the playbooks keep the answer to each message, on the host that gave it.
REGISTERED = "scistream_"


def registered(hostvars: Any, gateways: Iterable[str], message: str) -> dict[str, Any]:
    """Return what gateways answered to a message earlier in this play.

    Args:
        hostvars: The variables of all hosts, as Ansible gives them to a task.
        gateways: The gateways of the run.
        message: The message.
    """
    # Nothing else of a host is of interest, so none of its variables is templated.
    found = ((gateway, hostvars.raw_get(gateway).get(REGISTERED + message)) for gateway in gateways)
    return {gateway: answer if isinstance(answer, Mapping) else {} for gateway, answer in found}


def key_of(session: Session) -> tuple[str, str]:
    """Return which session it is."""
    return str(session["uid"]), str(session["role"])


def went_wrong(answer: Any) -> bool:
    """Tell whether a gateway refused, failed, or could not be reached."""
    return isinstance(answer, Mapping) and any(answer.get(key) for key in ("failed", "unreachable", "refused"))


def ends_all(answer: Any) -> bool:
    """Tell whether what went wrong ends the run for all streams, and not only for some that were open before."""
    return went_wrong(answer) and not answer.get("alone")


def stuck(answers: Results) -> list[dict[str, str]]:
    """Return the sessions of the streams that some gateway refused to change, on both sides; the others go on."""
    uids = {
        str(item["uid"])
        for answer in answers.values()
        if went_wrong(answer) and answer.get("alone")
        for item in answer.get("failed_sessions") or []
    }
    return [{"uid": uid, "role": role} for uid in sorted(uids) for role in ROLES]


def session_of(results: Results, stream: Stream, role: str) -> Session | None:
    """Return the session of one side of a stream."""
    answer = results.get(stream.gateways[role])
    sessions = answer.get("sessions") if isinstance(answer, Mapping) else None
    for session in sessions or []:
        if session.get("uid") == stream.uid and session.get("role") == role:
            found: Session = session
            return found
    return None


def latest(results: Sequence[Results], stream: Stream, role: str) -> Session | None:
    """Return a session as the last message left it; ``results`` begins with that one."""
    found = (session_of(answers, stream, role) for answers in results)
    return next((session for session in found if session), None)


def new_sessions(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the sessions that a REQ made.

    Where the answer to a first call was lost, nobody knows which of the reserved sessions that one made; then all of
    them count.
    """
    if not answer.get("repeated"):
        return list(answer.get("new_sessions") or [])
    return [
        {"uid": session["uid"], "role": session["role"]}
        for session in answer.get("sessions") or []
        if session.get("state") == "reserved"
    ]


def moment(text: str) -> datetime:
    """Return a time as gateways show it."""
    found = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
