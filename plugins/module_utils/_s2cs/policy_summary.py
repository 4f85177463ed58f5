# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A readable summary of a policy, with anything unrestricted in capitals."""

from __future__ import annotations

from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy

_ANY = "ANY"
_UNLIMITED = "UNLIMITED"


def summarize(policy: Policy) -> list[str]:
    """Return what a policy allows, one line for each subject."""
    return [
        *_roles(policy),
        _encryption(policy),
        _proxies(policy),
        _limits(policy),
        _administrators(policy),
        *_status(policy),
    ]


def _roles(policy: Policy) -> list[str]:
    low, high = policy.port_range
    lines = []
    for role, address in sorted(policy.listen.items(), reverse=True):
        clients = [str(network) for network in policy.clients.get(role, ())]
        rules = policy.targets.get(role)
        targets = f"to {_ANY} address that is not special or the gateway's own"
        if rules is not None:
            targets = f"to {', '.join(rule.text for rule in rules)}" if rules else "nowhere"
        shown = f"[{address}]" if ":" in address else address
        lines.append(
            f"{role}: listens on {shown}, ports {low}-{high}, for {', '.join(clients) or f'{_ANY} client'}; "
            f"forwards {targets}"
        )
    return lines


def _encryption(policy: Policy) -> str:
    if list(policy.encryption) == ["tls"]:
        return "encryption: tls only"
    only = "" if "tls" in policy.encryption else " ONLY"
    return f"encryption: {', '.join(policy.encryption)}: streams may be UNENCRYPTED{only}"


def _proxies(policy: Policy) -> str:
    offered = [f"{name} ({', '.join(policy.runtimes(name))})" for name in policy.proxies]
    return f"proxies: {', '.join(offered)}; by default {policy.default_proxy} in {policy.default_runtime}"


def _limits(policy: Policy) -> str:
    limits = policy.limits
    life = f"lifetime of at most {limits.lifetime} s" if limits.lifetime else f"{_UNLIMITED} lifetime"
    return (
        f"limits: {limits.sessions} sessions with {policy.max_connections} connections each, {life}; "
        f"{_count(limits.owner_sessions)} sessions and {_count(limits.owner_num_conn)} connections for each owner"
        f"{' except root' if limits.by_default else ''}"
    )


def _count(number: int | None) -> str:
    return _UNLIMITED if number is None else str(number)


def _administrators(policy: Policy) -> str:
    names: Sequence[str] = ("root", *policy.administrators)
    return f"administrators: {', '.join(names)}"


def _status(policy: Policy) -> list[str]:
    if policy.status_address is None:
        return []
    return [f"status page: {policy.status_address}, for {_ANY} client"]
