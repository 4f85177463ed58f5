# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the four actions are asked for: options of a module, checked before anything changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import (
    Endpoint,
    Network,
    parse_endpoints,
    parse_networks,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.pem import check_certificate, check_private_key
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import (
    ENCRYPTIONS,
    MAX_LIFETIME,
    ROLES,
    TRANSPORTS,
    check_labels,
    check_secret,
    check_uid,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import (
    check_choice,
    check_number,
    check_rate,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy

# Leaving these out has a meaning of its own, which no policy changes.
_ALWAYS = ["num_conn", "rate", "encryption", "transport", "labels"]
# Leaving these out leaves the choice to the policy.
_BY_POLICY = ["proxy", "runtime", "hello_timeout", "lifetime"]


@dataclass(frozen=True)
class Request:
    """REQ: reserve listeners. ``asked`` names the options that were given, not left to the policy's defaults."""

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
    specified: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Hello:
    """HELLO: the application announces itself, and this gateway gets its own certificate and key."""

    uid: str
    role: str
    secret: str = field(repr=False)
    producer_listeners: list[Endpoint] = field(default_factory=list)
    certificate: str | None = None
    key: str | None = field(default=None, repr=False)
    update_timeout: int | None = None


@dataclass(frozen=True)
class Update:
    """UPDATE: point the listeners at targets.

    Args:
        uid: The stream.
        role: The side of it.
        remote_listeners: The targets; None for those that the application announced.
        clients: Who may connect; empty for all clients that the policy allows.
        peer_certificate: The certificate of the other gateway; None for the one that the session has.
        secret: The secret of the stream, which somebody else than the owner needs.
        probe: Whether to look at targets that are new for the session.
    """

    uid: str
    role: str
    remote_listeners: list[Endpoint] | None = None
    clients: list[Network] = field(default_factory=list)
    peer_certificate: str | None = None
    secret: str | None = field(default=None, repr=False)
    probe: bool = False


@dataclass(frozen=True)
class Release:
    """REL: give everything back, of one role or of both."""

    uid: str
    roles: list[str]
    secret: str | None = field(default=None, repr=False)


def read_request(options: Mapping[str, Any], policy: Policy) -> Request:
    """Check the options of a REQ against the allowed values and the policy."""
    role = check_choice("role", options.get("role"), ROLES)
    policy.check_role(role)
    proxy = options.get("proxy") or policy.default_proxy
    runtime = options.get("runtime") or policy.default_runtime
    policy.check_proxy(proxy, runtime)
    encryption = check_choice("encryption", options.get("encryption") or "tls", ENCRYPTIONS)
    return Request(
        uid=check_uid(options.get("uid")),
        role=role,
        num_conn=policy.check_connections(options.get("num_conn", 1)),
        rate=check_rate(options.get("rate")),
        proxy=proxy,
        runtime=runtime,
        encryption=policy.check_encryption(encryption),
        secret=check_secret(options.get("secret")),
        hello_timeout=policy.check_hello_timeout(options.get("hello_timeout")),
        labels=check_labels(options.get("labels")),
        transport=check_choice("transport", options.get("transport") or "tcp", TRANSPORTS),
        lifetime=policy.check_lifetime(options.get("lifetime")),
        specified=frozenset(_ALWAYS + [name for name in _BY_POLICY if options.get(name)]),
    )


def read_hello(options: Mapping[str, Any], policy: Policy) -> Hello:
    """Check the options of a HELLO."""
    role = check_choice("role", options.get("role"), ROLES)
    given = options.get("producer_listeners") or []
    listeners = parse_endpoints("producer_listeners", given)
    if role == "producer" and not listeners:
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
        raise ValueRefused(missing, None, "give both certificate and key, or neither")
    uid, secret = check_uid(options.get("uid")), check_secret(options.get("secret"))
    timeout = options.get("update_timeout")
    if timeout is not None:
        timeout = check_number("update_timeout", timeout, 1, MAX_LIFETIME)
    return Hello(uid, role, secret, listeners, certificate, key, timeout)


def read_update(options: Mapping[str, Any], policy: Policy) -> Update:
    """Check the options of an UPDATE."""
    role = check_choice("role", options.get("role"), ROLES)
    given = options.get("remote_listeners")
    targets = None if given is None else parse_endpoints("remote_listeners", given)
    if (targets is not None and not targets) or (targets is None and role == "consumer"):
        raise ValueRefused("remote_listeners", given, "give at least one target; for a consumer, the peer's listeners")
    clients = parse_networks("clients", options.get("clients") or [])
    policy.check_clients("clients", role, clients)
    peer_certificate = check_certificate("peer_certificate", options.get("peer_certificate"))
    return Update(
        uid=check_uid(options.get("uid")),
        role=role,
        remote_listeners=targets,
        clients=clients,
        peer_certificate=peer_certificate,
        secret=_optional_secret(options),
        probe=bool(options.get("probe_targets")),
    )


def read_release(options: Mapping[str, Any], policy: Policy) -> Release:
    """Check the options of a REL; the policy has no say in giving back."""
    role = options.get("role")
    roles = list(ROLES) if role is None else [check_choice("role", role, ROLES)]
    return Release(check_uid(options.get("uid")), roles, _optional_secret(options))


def _optional_secret(options: Mapping[str, Any]) -> str | None:
    """Return the secret of an action that the owner needs none for."""
    return None if options.get("secret") is None else check_secret(options["secret"])
