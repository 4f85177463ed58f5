# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Housekeeping between actions: releasing expired sessions, restarting data servers, and trimming logs."""

from __future__ import annotations

import os
import time
from contextlib import closing, suppress
from typing import Any, Container

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, reason
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import restarts
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.concurrent_tasks import Steps, run_all
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy_file import load_policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.output import report
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session_manager import SessionManager
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.processes import working_directories

# Interval of maintenance in seconds.
INTERVAL = 10.0


def release_expired(config: str) -> dict[str, Any]:
    """Release expired sessions.

    Args:
        config: Path of the policy.

    Returns:
        ``state_dir`` and ``store``, the state directory and the version of the store in it; ``sessions``, the number of
        sessions; ``next``, when the next session expires; ``overdue``, the number of sessions that could not be
        released; and ``problems``.
    """
    policy = load_policy(config, lenient=True)
    version = store_version(policy.layout.state_dir)
    sessions = overdue = 0
    expirations: list[float] = []
    # The first action creates the store.
    if version:
        manager = SessionManager(policy, lenient=True)
        with closing(manager.store):
            # Users do not see why a session is gone, so that the log of the service has to tell.
            for session in manager.release_expired():
                report(f"{session.role} of {session.uid} had expired and was released")
            # Determined before the sessions are read, so that later changes are noticed.
            version = store_version(policy.layout.state_dir)
            sessions = len(manager.store.keys())
            now = time.time()
            expirations = [when for when in manager.store.expirations().values() if when >= now]
            overdue = len(manager.store.expired())
    problems = [f"{overdue} expired sessions could not be released yet; s2cs info shows them"] if overdue else []
    return {
        "state_dir": policy.layout.state_dir,
        "store": version,
        "sessions": sessions,
        "next": min(expirations, default=None),
        "overdue": overdue,
        "problems": problems,
    }


def maintain(config: str) -> dict[str, Any]:
    """Restart data servers that nothing else restarts, complete interrupted actions, and trim logs.

    Args:
        config: Path of the policy.

    Returns:
        ``problems``.
    """
    policy = load_policy(config, lenient=True)
    if not store_version(policy.layout.state_dir):
        return {"problems": []}
    manager = SessionManager(policy, lenient=True)
    with closing(manager.store):
        problems = _restart_all(manager)
        manager.trim_logs()
    return {"problems": problems}


def store_version(state_dir: str) -> list[int]:
    """Return a value that differs after each change of the store, and is empty if there is none."""
    try:
        about = os.stat(os.path.join(state_dir, "s2cs.db"))
    except OSError:
        return []
    return [about.st_ino, about.st_mtime_ns, about.st_size]


def _restart_all(manager: SessionManager) -> list[str]:
    """Restart data servers that nothing else restarts, with increasing pauses.

    Returns:
        The problems.
    """
    directory = manager.policy.layout.state_dir
    known = restarts.read(directory)
    now = time.time()
    remaining: dict[str, restarts.Attempts] = {}
    # Querying each data server takes much longer than looking at all processes once.
    occupied = working_directories()
    problems = []
    for session in manager.store.all():
        if session.is_expired:
            continue
        before = known.get(session.name)
        if not _needs_repair(manager, session, occupied, now):
            if before is not None and now - before.last < restarts.PROBATION_SECONDS:
                remaining[session.name] = before
            continue
        if before is not None and (before.given_up or now < before.due):
            remaining[session.name] = before
            continue
        with manager.store.locks.hold([(session.uid, session.role)], wait=False) as locked:
            if not locked:
                continue
            outcome = run_all([_repair(manager, session)])[0]
        remaining[session.name] = (before or restarts.Attempts()).add(now)
        if outcome.error is not None:
            if not isinstance(outcome.error, (ScistreamError, OSError)):
                raise outcome.error
            problems.append(f"{session.role} of {session.uid} could not be restarted: {reason(outcome.error)}")
    if remaining != known:
        restarts.write(directory, remaining)
    return problems


def _needs_repair(manager: SessionManager, session: Session, occupied: Container[Any], now: float) -> bool:
    if session.pending:
        return not manager.store.locks.is_locked(session.uid, session.role)
    if session.runtime != "process":
        # Their engines restart containers. Querying them once a minute is enough.
        if now % 60 >= INTERVAL:
            return False
    else:
        with suppress(OSError):
            info = os.stat(manager.policy.layout.directory(session.name))
            if (info.st_dev, info.st_ino) in occupied:
                return False
    with suppress(ScistreamError, OSError):
        return manager.data_server(session, lenient=True).is_abandoned()
    return False


def _repair(manager: SessionManager, session: Session) -> Steps[None]:
    """Repair a session that is locked now, and may have changed before."""
    current = yield from manager.find(session.uid, session.role)
    if current is not None and not current.is_expired:
        yield from manager.repair(current)
