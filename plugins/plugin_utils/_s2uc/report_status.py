# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of sessions and their health."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, show
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Results, has_failed, parse_time
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import CertificateError, not_after
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import (
    duration,
    fingerprint_of,
    listed,
    readable,
    size,
    targets_with_addresses,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.messages import roles_at
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream

_LOG_LINES = 5
#: Remaining validity of a certificate below which a warning is shown.
_SOON = timedelta(days=14)
#: Time without data on open connections after which it is shown, and after which it is a problem.
_SILENT, _TOO_SILENT = timedelta(minutes=1), timedelta(minutes=15)
_SHOWN = ("all", "problems")
#: Health of sessions without problems. Gateways with older versions do not report it.
_WELL = ("ok", "idle", "waiting", "busy", "", None)


def status(
    results: Results,
    uids: Sequence[str] = (),
    streams: Sequence[Stream] = (),
    now: datetime | None = None,
    show: str = "all",
) -> list[str]:
    """Return lines about the selected sessions of each gateway. Without uids and streams, all sessions are selected.

    Args:
        results: Answers of the gateways to s2cs_info.
        uids: Uids of selected sessions.
        streams: Selected streams.
        now: Current time.
        show: ``all``, or ``problems`` to omit sessions without problems.
    """
    _check(show)
    now = now or datetime.now(timezone.utc)
    asked = [str(uid).lower() for uid in uids]
    lines = []
    for gateway, answer in results.items():
        if has_failed(answer) or "sessions" not in answer:
            # The reason is part of the failure at the end of the play.
            lines.append(f"{gateway}: no answer")
            lines.extend(f"  WARNING: {line}" for line in _orphans(answer))
            continue
        sessions = selected_sessions(answer, uids, streams)
        shown = [session for session in sessions if show == "all" or problems(session, now)]
        lines.append(f"{gateway}: {_sessions(sessions, shown, show)}{_ports(answer)}")
        lines.extend(f"  WARNING: policy: {readable(str(fault))}" for fault in _policy_problems(answer))
        for session in shown:
            lines.append(f"  {_status_line(session, now)}")
            lines.extend(f"    WARNING: {problem}" for problem in problems(session, now))
            lines.extend(f"    {line}" for line in _encryption(session))
            if _is_dead(session):
                lines.extend(f"    log: {readable(str(line))}" for line in (session.get("log") or [])[-_LOG_LINES:])
        lines.extend(f"  WARNING: {line}" for line in _orphans(answer))
        there = {session["uid"] for session in sessions}
        lines.extend(f"  no session {uid} here" for uid in asked if uid not in there)
        lines.extend(
            f"  no session of {stream.name} here (uid {stream.uid})"
            for stream in streams
            if stream.uid not in there and roles_at(stream, gateway, "identify")
        )
    return lines


def _check(shown: str) -> None:
    if shown not in _SHOWN:
        raise ScistreamError(f"show: {show(shown)} is not allowed: must be one of {', '.join(_SHOWN)}")


def _sessions(sessions: Sequence[Any], shown: Sequence[Any], wanted: str) -> str:
    text = f"{len(sessions)} session{'' if len(sessions) == 1 else 's'}"
    if wanted == "all":
        return text
    return f"{text}, {f'{len(shown)} with problems' if shown else 'no problems'}"


def _ports(answer: Mapping[str, Any]) -> str:
    ports = (answer.get("gateway") or {}).get("ports") or {}
    return f", {ports.get('used')} of {ports.get('total')} ports used" if ports else ""


def _policy_problems(answer: Mapping[str, Any]) -> list[Any]:
    found = answer.get("policy_problems") or (answer.get("gateway") or {}).get("policy_problems") or []
    return list(found)


def _orphans(answer: Mapping[str, Any]) -> Iterable[str]:
    """Return a line for each data server without a session, for example after the store was lost."""
    for orphan in answer.get("orphans") or []:
        state = "runs" if orphan.get("running") else "is left"
        yield (
            f"{orphan.get('role')} of {orphan.get('uid')} {state} without a session: release it with "
            f"stream_release -e uid={orphan.get('uid')}"
        )


def selected_sessions(
    answer: Mapping[str, Any], uids: Sequence[str], streams: Sequence[Stream]
) -> list[Mapping[str, Any]]:
    """Return the selected sessions of a gateway. Without uids and streams, all sessions are selected."""
    wanted = {*(str(uid).lower() for uid in uids), *(stream.uid for stream in streams)}
    return [session for session in answer.get("sessions") or [] if not wanted or session["uid"] in wanted]


def unencrypted(results: Results, uids: Sequence[str] = (), streams: Sequence[Stream] = ()) -> list[str]:
    """Return the names of the selected streams that are not encrypted."""
    return [
        _name(session)
        for answer in results.values()
        for session in selected_sessions(answer, uids, streams)
        if session.get("encryption") == "none"
    ]


def problems(session: Mapping[str, Any], now: datetime) -> list[str]:
    """Return the problems of a session."""
    found = []
    if _is_dead(session) or not _is_well(session):
        found.append(readable(str(session.get("reason") or "its data server has a problem")))
    elif session.get("pending") and session.get("health") != "busy":
        found.append(f"its last action ({session['pending']}) was interrupted; run it again to finish it")
    elif session.get("state") == "expired":
        found.append("its lifetime has ended; the service, the timer or the next action on this gateway releases it")
    connections = (session.get("counters") or {}).get("connections") or {}
    for key, words in (("failed", "failed: the target did not answer"), ("refused", "refused")):
        if connections.get(key):
            found.append(f"{connections[key]} connection{'' if connections[key] == 1 else 's'} {words}")
    return [*found, *_silence(session.get("counters") or {}, now, _TOO_SILENT), *_ends(session, now)]


def _silence(counters: Mapping[str, Any], now: datetime, most: timedelta) -> Iterable[str]:
    """Return how long open connections have transferred no data: a lost peer cannot be detected otherwise."""
    if (counters.get("connections") or {}).get("open") and counters.get("last_byte"):
        silent = now.timestamp() - float(counters["last_byte"])
        if silent >= most.total_seconds():
            yield f"no data transferred for {duration(silent)}"


def _is_dead(session: Mapping[str, Any]) -> bool:
    return session.get("state") == "streaming" and not session.get("running")


def _is_well(session: Mapping[str, Any]) -> bool:
    return session.get("health") in _WELL


def _status_line(session: Mapping[str, Any], now: datetime) -> str:
    parts = [f"{_name(session)} {session['role']}: {session['state']}"]
    if _is_dead(session):
        parts.append("NOT RUNNING")
    elif not _is_well(session) and session["health"] != session["state"]:
        parts.append(readable(str(session["health"])).upper())
    elif session.get("running"):
        parts.append("running")
    parts.extend(_counted(session.get("counters") or {}, now))
    parts.append(f"listens on {listed(session.get('listeners') or [])}")
    if session.get("targets"):
        parts.append(f"forwards to {readable(listed(targets_with_addresses(session)))}")
    if session.get("owner"):
        parts.append(f"owner {readable(str(session['owner']))}")
    if session.get("created"):
        start = parse_time(session["created"])
        parts += [f"started {start:%Y-%m-%d %H:%M:%SZ}", f"age {duration((now - start).total_seconds())}"]
    if session.get("expires"):
        parts.append(f"expires in {duration((parse_time(session['expires']) - now).total_seconds())}")
    return ", ".join(parts) + f" (uid {session['uid']})"


def _counted(counters: Mapping[str, Any], now: datetime) -> list[str]:
    """Return the counters of a session. Counters that the data server does not have are omitted."""
    if not counters:
        return []
    connections, moved = counters.get("connections") or {}, counters.get("bytes") or {}
    parts = [
        f"{connections[key]} {words}"
        for key, words in (("open", "open"), ("total", "in all"))
        if connections.get(key) is not None
    ]
    if parts:
        parts[0] = f"connections {parts[0]}"
    least = "" if counters.get("exact", True) else "at least "
    parts.append(
        f"{least}{size(moved.get('to_consumer'))} to the consumer, {size(moved.get('to_producer'))} to the producer"
    )
    restarts = counters.get("restarts")
    if restarts:
        since = datetime.fromtimestamp(float(counters["since"]), timezone.utc) if counters.get("since") else None
        when = f" since {since:%Y-%m-%d %H:%M:%SZ}" if since else ""
        parts.append(f"{restarts} restart{'' if restarts == 1 else 's'} of the data server{when}")
    if not list(_silence(counters, now, _TOO_SILENT)):
        parts.extend(_silence(counters, now, _SILENT))
    return parts


def _encryption(session: Mapping[str, Any]) -> Iterable[str]:
    """Return the certificates of a session, or a warning if it is not encrypted."""
    if session.get("encryption") == "none":
        yield "WARNING: not encrypted between the gateways"
        return
    own, peer = session.get("certificate"), session.get("peer_certificate")
    yield f"tls: certificate {fingerprint_of(own)}, peer certificate {fingerprint_of(peer)}"


def _ends(session: Mapping[str, Any], now: datetime) -> Iterable[str]:
    """Return a line for each certificate that expires soon, and before the session."""
    for certificate in filter(None, (session.get("certificate"), session.get("peer_certificate"))):
        try:
            end = not_after(certificate)
        except CertificateError:
            continue
        # The end of the session is shown anyway.
        if session.get("expires") and parse_time(session["expires"]) <= end + timedelta(minutes=1):
            continue
        left = end - now
        if left < _SOON:
            ends = f"expires in {duration(left.total_seconds())}" if left > timedelta(0) else "has expired"
            yield f"certificate {fingerprint_of(certificate)} {ends}: release the stream and open it again"


def _name(session: Mapping[str, Any]) -> str:
    return str((session.get("labels") or {}).get("stream") or "stream")
