# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the two sides of a stream fit together, wherever what is known of the other side comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import show
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import (
    CertificateError,
    fingerprint,
    start,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import OTHER, Peer, Stream
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.ticket import ticket_fingerprint

Session = Mapping[str, Any]


def side_problems(stream: Stream, sessions: Mapping[str, Session | None]) -> Iterable[str]:
    """Return what keeps the sides of a stream from working together, one sentence each.

    Args:
        stream: The stream.
        sessions: Those of the gateways that this run reaches, by role.
    """
    found = {role: session for role, session in sessions.items() if session}
    ends = [Peer.of(session) for session in found.values()] + ([stream.peer] if stream.peer else [])
    for problem in (
        _other_ends(ends) if stream.encryption == "tls" else None,
        _other_ticket(stream, found.get("producer") or {}),
        *(_older(stream, role, session) for role, session in found.items()),
    ):
        if problem:
            yield f"stream {show(stream.name)}: {problem}"


def _other_ends(ends: list[Peer]) -> str | None:
    """Nginx ends one direction without the end that TLS protects, which s2ds takes for an attack."""
    proxies = {peer.proxy for peer in ends}
    if proxies != {"nginx", "s2ds"} or not all(peer.half_close for peer in ends):
        return None
    return (
        "its gateways use nginx and s2ds, which do not agree on how one direction of an encrypted connection ends: "
        "name the same proxy for both, as in 'proxy: s2ds', or set 'half_close: false' for nginx in the policy of its "
        "gateway, for applications that never end one direction first"
    )


def _other_ticket(stream: Stream, producer: Session) -> str | None:
    """Return why a reply does not answer the ticket of this producer side."""
    if not stream.answers or not producer.get("certificate") or not producer.get("listeners"):
        return None
    ticket = ticket_fingerprint(stream, producer)
    if stream.answers in (ticket, fingerprint(producer["certificate"])):
        return None
    return (
        f"the reply answers another ticket (fingerprint {show(stream.answers)}) than the one of this producer side "
        f"(fingerprint {ticket}): either the ticket was changed on its way, or the stream was opened anew or changed "
        "since; run stream_inbound without the reply, hand over its ticket, and compare the fingerprints"
    )


def _older(stream: Stream, role: str, session: Session) -> str | None:
    """Return why a ticket or a reply is not the last one: the other side was opened anew since, with another key."""
    known, given = session.get("peer_certificate"), stream.certificates.get(OTHER[role])
    if not known or not given or stream.peer is None or fingerprint(known) == fingerprint(given):
        return None
    try:
        if start(given) >= start(known):
            return None
    except CertificateError:
        return None
    kind = "reply" if role == "producer" else "ticket"
    return (
        f"the {kind} is older than the one that this side was opened with: give the last one of "
        f"{stream.gateways[OTHER[role]]}. If it is the last one, clocks differ: release the stream on both sides, and "
        "open it anew"
    )
