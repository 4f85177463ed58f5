# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The four control messages, read from the options of a module and checked before anything changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import (
    Endpoint,
    Network,
    parse_endpoints,
    parse_networks,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.dial import DEFAULT_DIAL, DIALS
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.path_capacity import check_rtt
from ansible_collections.scistream.gateway.plugins.module_utils._common.pem import check_certificate, check_private_key
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import (
    ENCRYPTIONS,
    MAX_CLIENTS,
    MAX_LIFETIME,
    MAX_PROBE_SECONDS,
    ROLES,
    TRANSPORTS,
    check_labels,
    check_length,
    check_ports,
    check_secret,
    check_uid,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import (
    check_choice,
    check_number,
    check_rate,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy

# If omitted, these have a default that does not depend on the policy.
_FIXED_DEFAULTS = ["num_conn", "rate", "encryption", "transport", "labels", "dial"]
# If omitted, the policy determines these, or the session keeps its own.
_POLICY_DEFAULTS = ["proxy", "runtime", "hello_timeout", "lifetime", "rtt"]


@dataclass(frozen=True)
class Request:
    """REQ: reserve listeners.

    Args:
        uid: The stream.
        role: Its side.
        num_conn: Number of listeners.
        rate: Limit in bits per second in each direction, or None.
        proxy: Proxy that forwards.
        runtime: Where the proxy runs.
        encryption: Protection of the connection between the gateways.
        secret: Secret of the stream.
        hello_timeout: Seconds within which the HELLO must be received.
        labels: Names and texts that describe the session.
        transport: Transport protocol of the listeners.
        lifetime: Maximum lifetime in seconds, or None for no limit.
        ports: Ports of the listeners. If empty, S2CS selects them.
        rtt: Round trip between the gateways in milliseconds, or None if it is not known.
        dial: Role whose gateway connects to the other one.
        specified: Names of the options whose values do not come from the defaults of the policy.
    """

    uid: str
    role: str
    num_conn: int
    rate: int | None
    proxy: str
    runtime: str
    encryption: str
    secret: str = field(repr=False)
    hello_timeout: int = 180
    labels: dict[str, str] = field(default_factory=dict)
    transport: str = "tcp"
    lifetime: int | None = None
    ports: tuple[int, ...] = ()
    rtt: float | None = None
    dial: str = DEFAULT_DIAL
    specified: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Hello:
    """HELLO: the application announces itself, and this gateway receives its certificate and key.

    Args:
        uid: The stream.
        role: Its side.
        secret: Secret of the stream.
        producer_listeners: Where the producer application listens.
        certificate: Certificate of this gateway, or None to keep the current one.
        key: Private key of the certificate.
        update_timeout: Seconds within which the UPDATE must be received, or None for ``hello_timeout``.
        announce: Whether the application announces itself. If not, the session keeps its listeners and waits on.
    """

    uid: str
    role: str
    secret: str = field(repr=False)
    producer_listeners: list[Endpoint] = field(default_factory=list)
    certificate: str | None = None
    key: str | None = field(default=None, repr=False)
    update_timeout: int | None = None
    announce: bool = True


@dataclass(frozen=True)
class Update:
    """UPDATE: set the targets of the listeners.

    Args:
        uid: The stream.
        role: Its side.
        remote_listeners: The targets, or None for the listeners that the application announced.
        clients: Networks that may connect. If empty, all clients that the policy allows.
        peer_listeners: Where the consumer's gateway waits for this one, or None to keep the current addresses.
        peer_clients: Networks from which the producer's gateway may connect. If empty, all that the policy allows.
        peer_certificate: Certificate of the other gateway, or None to keep the current one.
        secret: Secret of the stream. Required for users other than the owner and administrators.
        probe: Whether to probe targets that are new to the session.
        for_probe: Whether the session is for a probe. The producer's side then forwards to a temporary endpoint, and
            only the gateway itself may connect to the consumer's side.
    """

    uid: str
    role: str
    remote_listeners: list[Endpoint] | None = None
    clients: list[Network] = field(default_factory=list)
    peer_listeners: list[Endpoint] | None = None
    peer_clients: list[Network] = field(default_factory=list)
    peer_certificate: str | None = None
    secret: str | None = field(default=None, repr=False)
    probe: bool = False
    for_probe: bool = False


@dataclass(frozen=True)
class Release:
    """REL: release all resources of one or both roles."""

    uid: str
    roles: list[str]
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Probe:
    """PROBE: find out whether a stream works.

    Args:
        uid: The stream.
        role: Its side.
        pattern: Whether to send a pattern through the session, which must be one for a probe.
        seconds: Duration of the measurement of the throughput in each direction.
        secret: Secret of the stream. Required for users other than the owner and administrators.
    """

    uid: str
    role: str
    pattern: bool = False
    seconds: int = 0
    secret: str | None = field(default=None, repr=False)


def read_request(options: Mapping[str, Any], policy: Policy) -> Request:
    """Read a REQ.

    Args:
        options: Options of the module, or of one of its sessions.
        policy: The policy, which provides the defaults and limits.

    Raises:
        ValueRefused: A value is invalid.
        RefusedError: The policy does not allow a value.
    """
    role = check_choice("role", options.get("role"), ROLES)
    policy.check_role(role)
    proxy = options.get("proxy") or policy.default_proxy
    runtime = options.get("runtime") or policy.default_runtime
    policy.check_proxy(proxy, runtime)
    encryption = check_choice("encryption", options.get("encryption") or "tls", ENCRYPTIONS)
    num_conn = policy.check_connections(options.get("num_conn", 1))
    ports = options.get("ports")
    dial = check_choice("dial", options.get("dial") or DEFAULT_DIAL, DIALS)
    if ports is not None and role == "producer" and dial == "producer":
        raise ValueRefused("ports", ports, "omit it: with dial producer, the producer's gateway has no listeners")
    return Request(
        uid=check_uid(options.get("uid")),
        role=role,
        num_conn=num_conn,
        rate=check_rate(options.get("rate")),
        proxy=proxy,
        runtime=runtime,
        encryption=policy.check_encryption(encryption),
        secret=check_secret(options.get("secret")),
        hello_timeout=policy.check_hello_timeout(options.get("hello_timeout")),
        labels=check_labels(options.get("labels")),
        transport=check_choice("transport", options.get("transport") or "tcp", TRANSPORTS),
        lifetime=policy.check_lifetime(options.get("lifetime")),
        dial=dial,
        ports=() if ports is None else tuple(policy.check_ports(check_ports("ports", ports, num_conn))),
        rtt=check_rtt("rtt", options.get("rtt")),
        specified=frozenset(_FIXED_DEFAULTS + [name for name in _POLICY_DEFAULTS if options.get(name)]),
    )


def read_hello(options: Mapping[str, Any], policy: Policy) -> Hello:
    """Read a HELLO. Arguments and errors are those of ``read_request``."""
    role = check_choice("role", options.get("role"), ROLES)
    given = options.get("producer_listeners") or []
    check_length("producer_listeners", given, policy.max_connections, "a session has at most that many connections")
    listeners = parse_endpoints("producer_listeners", given)
    announce = options.get("announce") is not False
    if not announce and listeners:
        raise ValueRefused("producer_listeners", given, "omit it, or announce the application")
    if role == "producer" and announce and not listeners:
        raise ValueRefused("producer_listeners", given, "specify where the producer listens, such as 10.1.0.5:7000")
    if role == "consumer" and listeners:
        raise ValueRefused("producer_listeners", given, "only for the role producer; omit it for a consumer")
    for index, listener in enumerate(listeners):
        if listener.address is not None:
            policy.check_target(f"producer_listeners[{index}]", role, listener)
    certificate = check_certificate("certificate", options.get("certificate"))
    key = check_private_key("key", options.get("key"))
    if (certificate is None) != (key is None):
        missing = "certificate" if certificate is None else "key"
        raise ValueRefused(missing, None, "specify both certificate and key, or neither")
    uid, secret = check_uid(options.get("uid")), check_secret(options.get("secret"))
    timeout = options.get("update_timeout")
    if timeout is not None:
        timeout = check_number("update_timeout", timeout, 1, MAX_LIFETIME)
    return Hello(uid, role, secret, listeners, certificate, key, timeout, announce)


def read_update(options: Mapping[str, Any], policy: Policy) -> Update:
    """Read an UPDATE. Arguments and errors are those of ``read_request``."""
    role = check_choice("role", options.get("role"), ROLES)
    given = options.get("remote_listeners")
    check_length("remote_listeners", given, policy.max_connections, "a session has at most that many connections")
    check_length("clients", options.get("clients"), MAX_CLIENTS, "combine them into larger networks")
    targets = None if given is None else parse_endpoints("remote_listeners", given)
    for_probe = bool(options.get("probe"))
    if for_probe and role == "producer" and targets is not None:
        raise ValueRefused("remote_listeners", given, "omit it: a probe has a temporary endpoint on this gateway")
    if targets is not None and not targets:
        raise no_target(given)
    clients = parse_networks("clients", options.get("clients") or [])
    policy.check_clients("clients", role, clients)
    peer_listeners, peer_clients = _read_peer(options, policy, role)
    peer_certificate = check_certificate("peer_certificate", options.get("peer_certificate"))
    return Update(
        uid=check_uid(options.get("uid")),
        role=role,
        remote_listeners=targets,
        clients=clients,
        peer_listeners=peer_listeners,
        peer_clients=peer_clients,
        peer_certificate=peer_certificate,
        secret=_optional_secret(options),
        probe=bool(options.get("probe_targets")),
        for_probe=for_probe,
    )


def no_target(given: Any) -> ValueRefused:
    """Return the error for an UPDATE without targets."""
    return ValueRefused("remote_listeners", given, "specify at least one target; for a consumer, the peer's listeners")


def _read_peer(options: Mapping[str, Any], policy: Policy, role: str) -> tuple[list[Endpoint] | None, list[Network]]:
    """Read where the consumer's gateway waits for the producer's, and from where the latter may connect."""
    given, networks = options.get("peer_listeners"), options.get("peer_clients") or []
    check_length("peer_listeners", given, policy.max_connections, "a session has at most that many connections")
    check_length("peer_clients", networks, MAX_CLIENTS, "combine them into larger networks")
    if given is not None and role != "producer":
        raise ValueRefused("peer_listeners", given, "only for the role producer, whose gateway connects to them")
    if networks and role != "consumer":
        raise ValueRefused("peer_clients", networks, "only for the role consumer, whose gateway accepts connections")
    clients = parse_networks("peer_clients", networks)
    policy.check_clients("peer_clients", "producer", clients)
    if given is None:
        return None, clients
    listeners = parse_endpoints("peer_listeners", given)
    for index, listener in enumerate(listeners):
        if listener.address is None:
            raise ValueRefused(f"peer_listeners[{index}]", str(listener), "must be an IP address with a port")
        policy.check_target(f"peer_listeners[{index}]", "consumer", listener)
    return listeners, clients


def read_release(options: Mapping[str, Any], policy: Policy) -> Release:
    """Read a REL. It does not depend on the policy."""
    role = options.get("role")
    roles = list(ROLES) if role is None else [check_choice("role", role, ROLES)]
    return Release(check_uid(options.get("uid")), roles, _optional_secret(options))


def read_probe(options: Mapping[str, Any], policy: Policy) -> Probe:
    """Read a PROBE. It does not depend on the policy."""
    role = check_choice("role", options.get("role"), ROLES)
    pattern = bool(options.get("pattern"))
    seconds = check_number("seconds", options.get("seconds") or 0, 0, MAX_PROBE_SECONDS)
    if pattern and role != "consumer":
        raise ValueRefused("pattern", pattern, "only for the role consumer, at which the path of a stream begins")
    if seconds and not pattern:
        raise ValueRefused(
            "seconds", seconds, "only with pattern, because applications must not receive data of a probe"
        )
    return Probe(check_uid(options.get("uid")), role, pattern, seconds, _optional_secret(options))


def _optional_secret(options: Mapping[str, Any]) -> str | None:
    """Return the secret for an action that does not require one from the owner."""
    return None if options.get("secret") is None else check_secret(options["secret"])
