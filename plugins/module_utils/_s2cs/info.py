# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Information about the sessions and the gateway for ``s2cs_info``. Nothing here changes anything."""

from __future__ import annotations

import queue
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import reason
from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import host_network, restarts
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.host_network import session_carries
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.sampling import Sampling, take_samples
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import STREAMING, Session
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.store import Store
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.factory import data_server
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Status

# Results whose names differ from the keys of the policy.
_POLICY_KEYS = {"name": "gateway", "config": "", "state_dir": "", "ports": "port_range", "versions": "", "network": ""}
# Timeout in seconds for all data servers together. A working one responds within milliseconds.
_TIMEOUT = 10.0
_MAX_THREADS = 128


def describe_sessions(
    policy: Policy, store: Store, uid: str | None, role: str | None = None, sampling: Sampling | None = None
) -> list[dict[str, Any]]:
    """Return sessions, each with the observed state of its data server.

    Args:
        policy: The policy.
        store: The session store.
        uid: A stream, or None for all streams.
        role: A role, or None for both roles.
        sampling: How often to sample the counters, or None for once.
    """
    found = [session for session in store.all(uid) if role in (None, session.role)]
    attempts = restarts.read(policy.layout.state_dir)

    def query(indexes: Sequence[int]) -> list[tuple[Status, float]]:
        return _statuses(policy, [found[index] for index in indexes])

    sampled = take_samples(query(range(len(found))), sampling or Sampling(), query)
    return [
        {
            **(described := session.to_result()),
            "carries": session_carries(described),
            **_observed(session, status, store, attempts.get(session.name)),
            **({"samples": samples} if sampling and sampling.count else {}),
        }
        for session, (status, samples) in zip(found, sampled)
    ]


def _observed(session: Session, status: Status, store: Store, attempts: restarts.Attempts | None) -> dict[str, Any]:
    """Return the observed state of a data server, with the health of its session."""
    health, why = status.health, status.reason
    if session.is_expired:
        health, why = "expired", "the service, the timer or the next action on this gateway releases it"
    elif session.pending and store.locks.is_locked(session.uid, session.role):
        health, why = "busy", f"an action is in progress on it ({session.pending})"
    elif session.pending:
        does = "restores its previous state" if session.pending == "update" else "releases it"
        health, why = "unfinished", f"its last action ({session.pending}) was killed; the next action on it {does}"
    elif session.state != STREAMING and health in ("ok", "idle"):
        health = "waiting"
    elif health == "down" and attempts is not None:
        why = f"{why}; {attempts.describe()}"
    observed = asdict(status)
    # The name of an option of the session.
    observed["dialled"] = observed.pop("dial", None)
    return {**observed, "health": health, "reason": why}


def _statuses(policy: Policy, found: Sequence[Session]) -> list[tuple[Status, float]]:
    """Query all data servers concurrently, without waiting for those that do not respond in time.

    Returns:
        The status of each, and the time when it was determined.
    """
    timed_out = Status(
        False,
        health="unknown",
        reason=f"the state of its data server cannot be determined: no answer within {_TIMEOUT:.0f} s",
    )
    results = [(timed_out, time.time())] * len(found)
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()

    def work() -> None:
        with suppress(queue.Empty):
            while True:
                index = waiting.get_nowait()
                results[index] = _status(policy, found[index]), time.time()

    for index in range(len(found)):
        waiting.put(index)
    # A thread pool would wait for its threads when the process exits.
    threads = [threading.Thread(target=work, daemon=True) for _unused in found[:_MAX_THREADS]]
    deadline = time.monotonic() + _TIMEOUT
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return list(results)


def _status(policy: Policy, session: Session) -> Status:
    try:
        spec, settings = session.spec(), policy.settings(session.proxy)
        return data_server(policy.layout, session.proxy, session.runtime, settings, spec, lenient=True).status()
    except Exception as error:  # pylint: disable=broad-except
        # An error in one session must not hide the others.
        why = f"the state of its data server cannot be determined: {reason(error)}"
        return Status(False, health="unknown", reason=why)


def describe_gateway(policy: Policy, store: Store) -> dict[str, Any]:
    """Return the current policy and its usage.

    Args:
        policy: The policy. Its faulty keys are null in the result.
        store: The session store.
    """
    low, high = policy.port_range
    listen = set(policy.listen.values())
    # Existing sessions keep their addresses if the policy changes.
    used = {address: sorted(store.ports(address)) for address in sorted(listen | set(store.addresses()))}
    total = (high - low + 1) * len(listen)
    in_range = sum(low <= port <= high for address in listen for port in used[address])
    shown = {
        "name": policy.gateway,
        "config": policy.config,
        "state_dir": policy.layout.state_dir,
        "supervisor": "systemd" if policy.layout.uses_systemd else "process",
        "listen": dict(policy.listen),
        "egress": dict(policy.egress),
        "port_range": [low, high],
        "ports": {"total": total, "used": sum(map(len, used.values())), "free": total - in_range, "in_use": used},
        "proxies": {
            name: {
                "runtimes": list(item.get("runtimes", ["process"])),
                "encryptions": list(PROXIES[name].encryptions) if name in PROXIES else [],
                "transports": list(PROXIES[name].transports) if name in PROXIES else [],
            }
            for name, item in policy.proxies.items()
        },
        "default_proxy": policy.default_proxy,
        "default_runtime": policy.default_runtime,
        "targets": {role: [rule.text for rule in rules] for role, rules in policy.targets.items()},
        "clients": {role: [str(network) for network in networks] for role, networks in policy.clients.items()},
        "encryption": list(policy.encryption),
        "limits": {**policy.limits.to_result(), "num_conn": policy.max_connections},
        "hello_timeout": policy.hello_timeout,
        "hello_timeout_max": policy.hello_timeout_max,
        "status_address": policy.status_address,
        "network": host_network.describe([*listen, *filter(None, policy.egress.values())]),
        "versions": {"collection": VERSION, "python": sys.version.split()[0]},
    }
    # The default of a faulty key may allow more than its value, so it is not shown.
    return {key: None if _POLICY_KEYS.get(key, key) in policy.faulty else value for key, value in shown.items()}
