# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Differences between the description of a stream and its sessions on the gateways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES
from ansible_collections.scistream.gateway.plugins.module_utils._common.dial import DEFAULT_DIAL
from ansible_collections.scistream.gateway.plugins.module_utils._common.path_capacity import check_rtt, show_rtt
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_rate
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Session, parse_time
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.fingerprints import CertificateError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import listed, readable
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.messages import producer_clients
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.pairing import PairingError, connection_map
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import OTHER_ROLE, Stream

#: States in which a session exists but its stream is not open yet.
UNOPENED_STATES = ("reserved", "announced")


@dataclass
class Differences:
    """Differences of a stream, one phrase each.

    Attributes:
        fixed: What cannot be changed in place.
        changes: What can be changed in place.
        drift: What is not as a run left it, whatever the description says.
        unopened: What another run may be opening.
    """

    fixed: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    drift: list[str] = field(default_factory=list)
    unopened: list[str] = field(default_factory=list)


def differences(
    stream: Stream, sessions: Mapping[str, Session | None], policies: Mapping[str, Mapping[str, Any]], now: datetime
) -> Differences:
    """Compare a stream with its sessions.

    Args:
        stream: The stream.
        sessions: The session of each role. At least one exists, and none has expired.
        policies: Policy of the gateway of each role, as s2cs_info returns it.
        now: The current time.
    """
    there = {role: session for role, session in sessions.items() if session}
    found = Differences()
    for role, session in there.items():
        where = stream.gateways[role]
        found.fixed += _fixed(stream, role, session, now)
        found.changes += _request_changes(stream, session)
        if session.get("health") == "busy" or session.get("state") in UNOPENED_STATES:
            found.unopened.append(f"its {role} side on {where} is {_state(session)}")
        else:
            found.changes += _target_changes(stream, role, there, policies.get(role) or {})
            found.drift += _health(session, where)
    found.drift += [f"its {role} side on {stream.gateways[role]} is missing" for role in ROLES if role not in there]
    if len(there) == len(ROLES) and not found.unopened:
        found.drift += _misfits(stream, there)
    # Both sides usually differ in the same way.
    return Differences(
        *(list(dict.fromkeys(items)) for items in (found.fixed, found.changes, found.drift, found.unopened))
    )


def change(key: str, old: Any, new: Any) -> str:
    """Describe a difference."""
    return f"{key} {_shown(old)} -> {_shown(new)}"


def _fixed(stream: Stream, role: str, session: Session, now: datetime) -> Iterable[str]:
    wanted = {
        "num_conn": stream.num_conn,
        "encryption": stream.encryption,
        "transport": stream.transport or "tcp",
        "dial": stream.dial,
        "proxy": stream.proxy,
        "runtime": stream.runtime,
    }
    for key, new in wanted.items():
        # Gateways with earlier versions return no dial.
        present = session.get(key) or (DEFAULT_DIAL if key == "dial" else None)
        if new is not None and present != new:
            yield change(key, present, new)
    ports = [int(str(listener).rpartition(":")[2]) for listener in session.get("listeners") or []]
    if stream.ports.get(role) and ports != stream.ports[role]:
        yield change(f"{role}.ports", ports, stream.ports[role])
    certificate = session.get("certificate")
    if stream.encryption != "tls" or not certificate:
        return
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import not_after

    try:
        end = not_after(certificate)
    except CertificateError:
        yield f"the certificate of its {role} side cannot be read"
        return
    if end <= now:
        yield f"the certificate of its {role} side expired at {end:%Y-%m-%d %H:%M:%SZ}"
    elif stream.lifetime and stream.lifetime != session.get("lifetime"):
        # The certificates are valid for the lifetime with which a stream was opened. A second of tolerance for the
        # fractions that gateways do not return.
        ends = parse_time(session["created"]) + timedelta(seconds=stream.lifetime - 1)
        if ends > end:
            yield change("lifetime", _seconds(session.get("lifetime")), _seconds(stream.lifetime))


def _request_changes(stream: Stream, session: Session) -> Iterable[str]:
    """Return what a REQ changes in place."""
    rate, new_rate = session.get("rate"), check_rate(stream.rate)
    if rate != new_rate:
        able = PROXIES.get(str(session.get("proxy")))
        where = "" if able is None or able.limits_open_connections else " for new connections"
        yield change("rate", _rate(rate), _rate(new_rate)) + where
    if stream.rtt and session.get("rtt") != check_rtt("rtt", stream.rtt):
        yield change("rtt", None if session.get("rtt") is None else show_rtt(session["rtt"]), stream.rtt)
    if stream.lifetime and session.get("lifetime") != stream.lifetime:
        yield change("lifetime", _seconds(session.get("lifetime")), _seconds(stream.lifetime))
    labels = session.get("labels") or {}
    for name in sorted({*labels, *stream.labels}):
        if labels.get(name) != stream.labels.get(name):
            yield change(f"labels.{name}", labels.get(name), stream.labels.get(name))


def _target_changes(
    stream: Stream, role: str, sessions: Mapping[str, Session], policy: Mapping[str, Any]
) -> Iterable[str]:
    """Return what HELLO and UPDATE change in place, apart from what follows from the answers of the other gateway."""
    session = sessions[role]
    if role == "producer":
        listeners = list(session.get("producer_listeners") or [])
        if listeners != stream.producer_listeners:
            yield change("listeners", listeners, stream.producer_listeners)
        if stream.is_turned:
            return
        wanted = producer_clients(stream, session, sessions.get("consumer"))
        if "consumer" not in sessions and not wanted:
            # The consumer's gateway tells its address when it is repaired.
            return
        key = "address"
    else:
        wanted, key = stream.clients, "clients"
        if stream.is_turned and (stream.producer_address or "producer" in sessions):
            from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.dialling import peer_clients

            peers = peer_clients(stream, session, sessions.get("producer"))
            yield from _allowed_change("address", session.get("peer_clients"), peers, policy, "producer")
    yield from _allowed_change(key, session.get("clients"), wanted, policy, role)


def _allowed_change(
    key: str, present: Any, wanted: Sequence[str], policy: Mapping[str, Any], role: str
) -> Iterable[str]:
    """Return the change of the networks that may connect. Without any, the policy of the gateway applies."""
    if not wanted:
        rules = policy.get("clients")
        if rules is None:
            return
        wanted = list(rules.get(role) or [])
    present = list(present or [])
    if set(present) != set(wanted):
        yield change(key, present or "any", wanted or "any")


def _health(session: Session, where: str) -> Iterable[str]:
    health = session.get("health")
    if health == "ok":
        return
    reason = readable(str(session.get("reason") or ""), 200).rstrip(".")
    what = "an action was killed" if health == "unfinished" else f"the data server is {readable(str(health), 64)}"
    yield f"{what} on {where}" + (f" ({reason})" if reason else "")


def _misfits(stream: Stream, sessions: Mapping[str, Session]) -> Iterable[str]:
    """Return why the two open sides of a stream do not fit together."""
    producer, consumer = sessions["producer"], sessions["consumer"]
    try:
        listeners = [row["producer_listener"] for row in connection_map(producer, consumer)]
        if stream.is_turned and list(producer.get("peer_listeners") or []) != list(
            consumer.get("peer_listeners") or []
        ):
            yield f"{stream.gateways['producer']} does not connect to the listeners of {stream.gateways['consumer']}"
    except PairingError:
        # The description differs from at least one of the sides, too.
        listeners = []
    if listeners and not stream.is_turned and list(consumer.get("targets") or []) != listeners:
        yield f"{stream.gateways['consumer']} does not forward to the listeners of {stream.gateways['producer']}"
    if list(producer.get("targets") or []) != list(producer.get("producer_listeners") or []):
        yield f"{stream.gateways['producer']} does not forward to the listeners that were announced"
    if stream.encryption != "tls":
        return
    for role in ROLES:
        own, known = sessions[role].get("certificate"), sessions[OTHER_ROLE[role]].get("peer_certificate")
        if not own or str(own).strip() != str(known or "").strip():
            yield f"{stream.gateways[OTHER_ROLE[role]]} does not have the certificate of {stream.gateways[role]}"


def _state(session: Session) -> str:
    return "being changed" if session.get("health") == "busy" else readable(str(session.get("state")), 64)


def resolves_names(stream: Stream) -> bool:
    """Return whether the producer's gateway resolves names for a stream, which may have other addresses by now."""
    return any(any(map(str.isalpha, _host(listener))) for listener in stream.producer_listeners)


def _host(listener: str) -> str:
    # IPv6 addresses are in brackets and may have letters.
    return "" if listener.startswith("[") else listener.rpartition(":")[0]


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return listed([readable(str(item), 200) for item in value]) or "none"
    return "none" if value is None else readable(str(value), 200)


def _seconds(value: Any) -> str:
    return "unlimited" if value is None else f"{value}s"


def _rate(bits: Any) -> str:
    if bits is None:
        return "unlimited"
    units: Sequence[tuple[int, str]] = ((10**12, "Tbit"), (10**9, "Gbit"), (10**6, "Mbit"), (10**3, "kbit"))
    for size, unit in units:
        if bits >= size and bits % (size // 1000) == 0:
            return f"{bits / size:g}{unit}"
    return f"{bits}"
