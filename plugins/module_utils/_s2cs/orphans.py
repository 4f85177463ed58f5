# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Orphans: data servers whose sessions are not in the store, because it was lost, damaged or replaced."""

from __future__ import annotations

import os
import re
from typing import Any, Collection

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES, UID
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import session_name
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.data_server import S2DS
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.factory import data_server
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.processes import working_in
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec

_NAME = re.compile(f"({'|'.join(ROLES)})-({UID})")


def find_directories(policy: Policy) -> set[tuple[str, str]]:
    """Return uid and role of all sessions with a directory."""
    try:
        entries = os.listdir(policy.layout.sessions_dir)
    except OSError:
        return set()
    return {(match.group(2), match.group(1)) for match in map(_NAME.fullmatch, entries) if match}


def find_orphans(
    policy: Policy, candidates: Collection[tuple[str, str]], known: Collection[tuple[str, str]]
) -> list[Any]:
    """Return the orphans, each with its directory and processes.

    Args:
        policy: The policy, which specifies the state directory.
        candidates: Sessions that had a directory before the store was read, so that new sessions are not included.
        known: Sessions in the store.
    """
    orphans = []
    for uid, role in sorted(candidates):
        if (uid, role) in known or not exists(policy, uid, role):
            continue
        directory = policy.layout.directory(session_name(uid, role))
        pids = sorted(working_in(directory))
        orphans.append({"uid": uid, "role": role, "directory": directory, "running": bool(pids), "pids": pids})
    return orphans


def exists(policy: Policy, uid: str, role: str) -> bool:
    """Tell whether a session has a directory."""
    return os.path.isdir(policy.layout.directory(session_name(uid, role)))


def remove(policy: Policy, uid: str, role: str) -> None:
    """Stop all processes in the directory of a session, and remove the directory.

    Raises:
        ScistreamError: A process or a container cannot be stopped. The directory is kept.
    """
    servers = _possible_servers(policy, DataServerSpec(session_name(uid, role), ()))
    failed: ScistreamError | None = None
    for server in servers:
        try:
            server.remove_from_runtime()
        except ScistreamError as error:
            failed = failed or error
    if failed is not None:
        raise failed
    # All of them share one directory.
    servers[0].release()


def _possible_servers(policy: Policy, spec: DataServerSpec) -> list[S2DS]:
    """Return a data server for each proxy and runtime that it may have."""
    kinds: dict[tuple[str, str], Any] = {(proxy, "process"): {} for proxy in PROXIES}
    for proxy, item in policy.proxies.items():
        kinds.update({(proxy, runtime): policy.settings(proxy) for runtime in item.get("runtimes", ())})
    return [
        data_server(policy.layout, proxy, runtime, settings, spec, lenient=True)
        for (proxy, runtime), settings in kinds.items()
        if proxy in PROXIES
    ]
