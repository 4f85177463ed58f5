# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What s2cs_info tells: the sessions as they really are, and the gateway. Nothing here changes anything."""

from __future__ import annotations

import platform
from dataclasses import asdict
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.store import Store
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.registry import PROXIES, data_server
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.version import VERSION

# What is shown under another name than the key of the policy.
_KEYS = {"name": "gateway", "config": "", "state_dir": "", "ports": "port_range", "versions": ""}


def sessions(policy: Policy, store: Store, uid: str | None) -> list[dict[str, Any]]:
    """Return the sessions, or those of one stream, each with what is seen of its data server."""
    return [{**session.shown(), **_seen(policy, session)} for session in store.all(uid)]


def _seen(policy: Policy, session: Session) -> dict[str, Any]:
    settings = policy.proxies.get(session.proxy, {}).get("settings", {})
    server = data_server(policy.site, session.proxy, session.runtime, settings)
    return {"pending": session.pending, **asdict(server.status(session.instance()))}


def gateway(policy: Policy, store: Store) -> dict[str, Any]:
    """Return the policy in force, and what is in use."""
    low, high = policy.port_range
    listen = set(policy.listen.values())
    # Sessions of before keep their addresses when the policy names others.
    used = {address: sorted(store.ports(address)) for address in sorted(listen | set(store.addresses()))}
    total = (high - low + 1) * len(listen)
    in_range = sum(low <= port <= high for address in listen for port in used[address])
    shown = {
        "name": policy.gateway,
        "config": policy.config,
        "state_dir": policy.site.state_dir,
        "supervisor": "systemd" if policy.site.uses_systemd else "process",
        "listen": dict(policy.listen),
        "egress": dict(policy.egress),
        "port_range": [low, high],
        "ports": {"total": total, "used": sum(map(len, used.values())), "free": total - in_range, "in_use": used},
        "proxies": {
            name: {
                "runtimes": list(item.get("runtimes", ["process"])),
                "encryptions": list(PROXIES[name]().encryptions) if name in PROXIES else [],
                "transports": list(PROXIES[name]().transports) if name in PROXIES else [],
            }
            for name, item in policy.proxies.items()
        },
        "default_proxy": policy.default_proxy,
        "default_runtime": policy.default_runtime,
        "targets": {role: [rule.text for rule in rules] for role, rules in policy.targets.items()},
        "clients": {role: [str(network) for network in networks] for role, networks in policy.clients.items()},
        "encryption": list(policy.encryption),
        "limits": {**policy.limits.shown(), "num_conn": policy.max_connections},
        "hello_timeout": policy.hello_timeout,
        "hello_timeout_max": policy.hello_timeout_max,
        "versions": {"collection": VERSION, "python": platform.python_version()},
    }
    # What cannot be read is not shown as if it were the default, which may allow more.
    return {key: None if _KEYS.get(key, key) in policy.faulty else value for key, value in shown.items()}
