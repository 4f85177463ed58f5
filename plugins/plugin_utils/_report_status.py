# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stream_status shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._certificate import CertificateError, expiry
from ansible_collections.scistream.gateway.plugins.plugin_utils._plan import moment, roles_at
from ansible_collections.scistream.gateway.plugins.plugin_utils._stream import Stream
from ansible_collections.scistream.gateway.plugins.plugin_utils._words import Results, duration, fingerprint_of, size

_LOG_LINES = 5
#: How long before its end a certificate is worth a word.
_SOON = timedelta(days=14)


def status(
    results: Results, uids: Sequence[str] = (), streams: Sequence[Stream] = (), now: datetime | None = None
) -> list[str]:
    """Return one line for each session of each gateway, or only for the sessions of the uids and streams."""
    now = now or datetime.now(timezone.utc)
    asked = [str(uid).lower() for uid in uids]
    lines = []
    for gateway, answer in results.items():
        if "sessions" not in answer:
            lines.append(f"{gateway}: {answer.get('msg', 'no answer')}")
            continue
        sessions = meant(answer, uids, streams)
        ports = (answer.get("gateway") or {}).get("ports") or {}
        used = f", {ports.get('used')} of {ports.get('total')} ports used" if ports else ""
        lines.append(f"{gateway}: {len(sessions)} session(s){used}")
        for session in sessions:
            lines.append(f"  {_status_line(session, now)}")
            lines.extend(f"    {line}" for line in _encryption(session, now))
            if _is_dead(session):
                lines.extend(f"    log: {line}" for line in (session.get("log") or [])[-_LOG_LINES:])
        shown = {session["uid"] for session in sessions}
        lines.extend(f"  no session {uid} here" for uid in asked if uid not in shown)
        lines.extend(
            f"  no session of {stream.name} here (uid {stream.uid})"
            for stream in streams
            if stream.uid not in shown and roles_at(stream, gateway, "identify")
        )
    return lines


def meant(answer: Mapping[str, Any], uids: Sequence[str], streams: Sequence[Stream]) -> list[Mapping[str, Any]]:
    """Return the sessions of a gateway that were asked for; without uids and streams, all."""
    wanted = {*(str(uid).lower() for uid in uids), *(stream.uid for stream in streams)}
    return [session for session in answer.get("sessions") or [] if not wanted or session["uid"] in wanted]


def unencrypted(results: Results, uids: Sequence[str] = (), streams: Sequence[Stream] = ()) -> list[str]:
    """Return the names of the streams that are shown and cross the network as they are."""
    return [
        _name(session)
        for answer in results.values()
        for session in meant(answer, uids, streams)
        if session.get("encryption") == "none"
    ]


def _is_dead(session: Mapping[str, Any]) -> bool:
    return session.get("state") == "streaming" and not session.get("running")


def _status_line(session: Mapping[str, Any], now: datetime) -> str:
    parts = [f"{_name(session)} {session['role']}: {session['state']}"]
    if _is_dead(session):
        parts.append("NOT RUNNING")
    elif session.get("running"):
        parts.append("running")
    counters = session.get("counters") or {}
    if counters:
        connections, moved = counters.get("connections") or {}, counters.get("bytes") or {}
        parts.extend(_connections(connections))
        parts.append(
            f"{size(moved.get('to_consumer'))} to the consumer, {size(moved.get('to_producer'))} to the producer"
        )
    listeners = session.get("listeners") or []
    parts.append(f"listens on {', '.join(listeners[:4])}{' ...' if len(listeners) > 4 else ''}")
    if session.get("created"):
        parts.append(f"age {duration((now - moment(session['created'])).total_seconds())}")
    if session.get("expires"):
        parts.append(f"expires in {duration((moment(session['expires']) - now).total_seconds())}")
    return ", ".join(parts) + f" (uid {session['uid']})"


def _connections(counted: Mapping[str, Any]) -> list[str]:
    """What went wrong is shown only where something did; what a data server cannot count, never."""
    parts = [
        f"{counted[key]} {words}"
        for key, words in (("open", "open"), ("total", "in all"))
        if counted.get(key) is not None
    ]
    for key, words in (("failed", "failed (the target did not answer)"), ("refused", "refused")):
        if counted.get(key):
            parts.append(f"{counted[key]} {words}")
    return [f"connections {parts[0]}", *parts[1:]] if parts else []


def _encryption(session: Mapping[str, Any], now: datetime) -> Iterable[str]:
    """Who the gateway is, and whom it lets in; or that anybody can look on."""
    if session.get("encryption") == "none":
        yield "WARNING: not encrypted between the gateways"
        return
    own, peer = session.get("certificate"), session.get("peer_certificate")
    yield f"tls: certificate {fingerprint_of(own)}, that of the other gateway {fingerprint_of(peer)}"
    for certificate in filter(None, (own, peer)):
        try:
            end = expiry(certificate)
        except CertificateError:
            continue
        # A session that ends no later says so already.
        if session.get("expires") and moment(session["expires"]) <= end + timedelta(minutes=1):
            continue
        left = end - now
        if left < _SOON:
            ends = f"expires in {duration(left.total_seconds())}" if left > timedelta(0) else "has expired"
            yield f"WARNING: certificate {fingerprint_of(certificate)} {ends}: release the stream and open it again"


def _name(session: Mapping[str, Any]) -> str:
    return str((session.get("labels") or {}).get("stream") or "stream")
