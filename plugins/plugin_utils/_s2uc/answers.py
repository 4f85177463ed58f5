# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The answers of gateways to messages, and their meaning for a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.dial import is_turned
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream

#: The answers to one message, by gateway.
Results = Mapping[str, Any]
Session = Mapping[str, Any]

#: The playbooks register the answer to each message as a variable of the gateway, with this prefix.
VARIABLE_PREFIX = "scistream_"
#: Prefix of the messages of a probe, beside those of the streams themselves.
PROBE_PREFIX = "probe_"


def registered(hostvars: Any, gateways: Iterable[str], message: str) -> dict[str, Any]:
    """Return the gateways' answers to an earlier message of this play.

    Args:
        hostvars: Variables of all hosts, as Ansible passes them to a task.
        gateways: The gateways of the run.
        message: The message.
    """
    # raw_get, because templating all variables of all hosts would take long.
    found = ((gateway, hostvars.raw_get(gateway).get(VARIABLE_PREFIX + message)) for gateway in gateways)
    return {gateway: answer if isinstance(answer, Mapping) else {} for gateway, answer in found}


def registered_steps(hostvars: Any, gateways: Iterable[str], message: str) -> dict[str, Any]:
    """Return the gateways' answers to one of the messages that a single task sent earlier in this play.

    Args:
        hostvars: Variables of all hosts, as Ansible passes them to a task.
        gateways: The gateways of the run.
        message: The message.
    """
    found = {}
    for gateway, answer in registered(hostvars, gateways, "opening").items():
        # A task that failed as a whole has no steps. It counts as a failure of the first one.
        failed = answer if message == "request" and has_failed(answer) else {}
        found[gateway] = answer["steps"].get(message, {}) if "steps" in answer else failed
    return found


def session_key(session: Session) -> tuple[str, str]:
    """Return the uid and the role that identify a session."""
    return str(session["uid"]), str(session["role"])


def has_failed(answer: Any) -> bool:
    """Return whether a gateway refused, failed, or could not be reached."""
    return isinstance(answer, Mapping) and any(answer.get(key) for key in ("failed", "unreachable", "refused"))


def stops_run(answer: Any) -> bool:
    """Return whether an answer is a failure that stops the whole run, not only changes of streams that stay open."""
    return has_failed(answer) and not answer.get("alone")


def refused_sessions(answers: Results) -> list[dict[str, str]]:
    """Return both sides of each open stream that a gateway refused to change. The run continues without them."""
    uids = {
        str(item["uid"])
        for answer in answers.values()
        if has_failed(answer) and answer.get("alone")
        for item in answer.get("failed_sessions") or []
    }
    return [{"uid": uid, "role": role} for uid in sorted(uids) for role in ROLES]


def session_of(results: Results, stream: Stream, role: str) -> Session | None:
    """Return the session of one side of a stream, None if its gateway did not return one."""
    answer = results.get(stream.gateways[role])
    sessions = answer.get("sessions") if isinstance(answer, Mapping) else None
    for session in sessions or []:
        if session.get("uid") == stream.uid and session.get("role") == role:
            found: Session = session
            return found
    return None


def is_ready(session: Session) -> bool:
    """Return whether a session has the listeners that it needs. The side of a producer that connects needs none."""
    return bool(session.get("listeners")) or (is_turned(session) and session.get("role") == "producer")


def latest_session(results: Sequence[Results], stream: Stream, role: str) -> Session | None:
    """Return a session after the last message that returned it; ``results`` begins with the last message."""
    found = (session_of(answers, stream, role) for answers in results)
    return next((session for session in found if session), None)


def new_sessions(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the sessions that a REQ created.

    If the call was repeated because its first answer was lost, any reserved session may have been created by the first
    call, so all of them are returned.
    """
    if not answer.get("repeated"):
        return list(answer.get("new_sessions") or [])
    return [
        {"uid": session["uid"], "role": session["role"]}
        for session in answer.get("sessions") or []
        if session.get("state") == "reserved"
    ]


def yielded(decides: Mapping[str, str], gateways: Mapping[str, Mapping[str, str]], asked: Results) -> set[str]:
    """Return the uids of the streams that another run is opening, because it was the first to reserve their listeners.

    Args:
        decides: Role that decides who opens a stream, by uid.
        gateways: Gateways of each stream by role, by uid.
        asked: Answers of the gateways to REQ.
    """
    made = {gateway: set(map(session_key, answer.get("new_sessions") or [])) for gateway, answer in asked.items()}
    return {
        uid
        for uid, role in decides.items()
        if (answer := asked.get(gateways[uid][role]))
        and not stops_run(answer)
        and (uid, role) not in made[gateways[uid][role]]
    }


def parse_time(text: str) -> datetime:
    """Parse a time as gateways return it."""
    found = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
