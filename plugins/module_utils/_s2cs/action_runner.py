# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carrying out an action on sessions, with the result of its module, for modules and the service."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, reason, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import (
    MAX_CALL_SESSIONS,
    ROLES,
    check_length,
    check_uid,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.action_type import ActionType
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.admission import RefusedMessage
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.base import (
    Action,
    ActionFailed,
    Change,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.caller import Caller
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError, RowError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.host_network import session_carries
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy_file import load_policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session_manager import SessionManager
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.store import UnusableStore


def perform(
    action_type: ActionType,
    config: str,
    options: Mapping[str, Any],
    check_mode: bool = False,
    caller: Caller | None = None,
) -> dict[str, Any]:
    """Carry out an action, and return the result of the module, with ``failed`` and ``msg`` after a failure.

    Args:
        action_type: The type of action.
        config: Path of the policy.
        options: The options: ``sessions``, or those of a single session.
        check_mode: Whether to decide as usual, but change nothing.
        caller: The user who requests the action. By default, the user on whose behalf this process runs.
    """
    given = options.get("sessions")
    items = [options] if given is None else given
    warnings: list[str] = []
    try:
        check_length("sessions", given, MAX_CALL_SESSIONS, "call it once for each part")
        policy = load_policy(config, action_type.lenient)
        wanted = [
            _read(action_type, item, policy, None if given is None else index) for index, item in enumerate(items)
        ]
        manager = SessionManager(policy, check_mode, action_type.lenient, caller)
        if isinstance(manager.store, UnusableStore):
            warnings.append(str(manager.store.error))
        try:
            changes = action_type.action(manager).run(wanted)
        finally:
            warnings += [str(RowError(row.uid, row.role, row.why)) for row in manager.store.unreadable]
            manager.store.close()
    except ActionFailed as error:
        failed = [{"uid": item.uid, "role": item.role, "msg": item.message} for item in error.failures]
        result = {"failed_sessions": failed, **_results(error.changes, False, action_type.action)}
        return {"failed": True, "msg": str(error), **result, **_warned(warnings)}
    except (ScistreamError, OSError) as error:
        return {"failed": True, "msg": reason(error), **_warned(warnings)}
    return {**_results(changes, given is None, action_type.action), **_warned(warnings)}


def _warned(warnings: Sequence[str]) -> dict[str, Any]:
    return {"warnings": list(warnings)} if warnings else {}


def _read(action_type: ActionType, item: Any, policy: Policy, index: int | None) -> Any:
    """Return the message for one session, or a RefusedMessage if the policy does not allow it.

    Args:
        action_type: The type of action.
        item: The options.
        policy: The policy.
        index: Index of the session in ``sessions``, or None for the single form, in which every error is raised.

    Raises:
        ScistreamError: An option is invalid under any policy.
    """
    try:
        return action_type.read(item, policy)
    except ScistreamError as error:
        if index is None:
            raise
        located = ScistreamError(f"sessions[{index}] ({show(item.get('uid'))}): {error}")
        if isinstance(error, RefusedError) and item.get("role") in ROLES:
            return RefusedMessage(check_uid(item.get("uid")), item["role"], located)
        raise located from None


def _results(changes: Sequence[Change], single: bool, action: type[Action[Any]]) -> dict[str, Any]:
    """Return the results of a module that changes sessions.

    Args:
        changes: The change of each session.
        single: Whether the call was for a single session.
        action: The action.
    """
    result: dict[str, Any] = {
        "changed": any(change.changed for change in changes),
        "diff": {
            "before": {f"{item.role} {item.uid}": item.before for item in changes if item.changed},
            "after": {f"{item.role} {item.uid}": item.after for item in changes if item.changed},
        },
    }
    if action.releases:
        released = [item for item in changes if item.after is None and item.changed]
        return {**result, "released": [_released(item) for item in released]}
    result["sessions"] = [
        {**item.after, "carries": session_carries(item.after)} for item in changes if item.after is not None
    ]
    result["changed_sessions"] = [{"uid": item.uid, "role": item.role} for item in changes if item.changed]
    if action.reserves:
        result["new_sessions"] = [{"uid": item.uid, "role": item.role} for item in changes if item.before is None]
    if single and result["sessions"]:
        result["session"] = result["sessions"][0]
    return result


def _released(item: Change) -> dict[str, Any]:
    listeners = item.before["listeners"] if item.before else []
    return {"uid": item.uid, "role": item.role, "listeners": listeners, "counters": item.counters}
