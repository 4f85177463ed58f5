# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Code shared by the modules of the control server: options, errors, results."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Sequence

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, reason, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES, check_uid
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.base import (
    Action,
    ActionFailed,
    Change,
    RefusedMessage,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError, RowError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy_file import DEFAULT_CONFIG, load_policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session_manager import SessionManager
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.store import UnusableStore

CONFIG: dict[str, Any] = {"config": {"type": "path", "default": DEFAULT_CONFIG}}
UID: dict[str, Any] = {"uid": {"type": "str"}}
ROLE: dict[str, Any] = {"role": {"type": "str", "choices": list(ROLES)}}
SECRET: dict[str, Any] = {"secret": {"type": "str", "no_log": True}}


class _Module(AnsibleModule):  # type: ignore[misc]
    """A module that does not write the values of its options to the system log.

    Ansible masks secrets there only in their original form. It would not find them in a list of sessions, where line
    breaks, quotes and backslashes are escaped.
    """

    def log(self, msg: str, log_args: Any = None) -> None:
        """Write to the system log, with only the names of the options."""
        super().log(msg if log_args is None else f"Invoked with {', '.join(sorted(log_args))}")


def run(
    session_options: Mapping[str, Any],
    required: Sequence[str],
    read: Callable[[Mapping[str, Any], Policy], Any],
    action: type[Action[Any]],
    lenient: bool = False,
) -> None:
    """Run an action as a module, and exit.

    Args:
        session_options: Argument spec of one session, used for the single form and for the items of ``sessions``.
        required: Names of the required options.
        read: Checks the options of one session and returns its message.
        action: The action for all sessions.
        lenient: Whether the action works with an invalid policy and with an unusable store.
    """
    item_options = {name: {**spec, "required": name in required} for name, spec in session_options.items()}
    # These let Ansible itself report missing options, in the single form as well.
    module = _Module(
        argument_spec={
            **CONFIG,
            **session_options,
            "sessions": {"type": "list", "elements": "dict", "options": item_options},
        },
        mutually_exclusive=[("sessions", name) for name in session_options],
        required_one_of=[("sessions", required[0])],
        required_by={required[0]: list(required[1:])} if required[1:] else {},
        supports_check_mode=True,
    )
    given = module.params["sessions"]
    items = [module.params] if given is None else given
    try:
        policy = load_policy(module.params["config"], lenient)
        wanted = [_read(read, item, policy, None if given is None else index) for index, item in enumerate(items)]
        manager = SessionManager(policy, check_mode=module.check_mode, lenient=lenient)
        if isinstance(manager.store, UnusableStore):
            module.warn(str(manager.store.error))
        try:
            changes = action(manager).run(wanted)
        finally:
            for row in manager.store.unreadable:
                module.warn(str(RowError(row.uid, row.role, row.why)))
            manager.store.close()
    except ActionFailed as error:
        failed = [{"uid": item.uid, "role": item.role, "msg": item.message} for item in error.failures]
        module.fail_json(msg=str(error), failed_sessions=failed, **results(error.changes, False, action))
    except (ScistreamError, OSError) as error:
        module.fail_json(msg=reason(error))
    module.exit_json(**results(changes, given is None, action))


def _read(read: Callable[[Mapping[str, Any], Policy], Any], item: Any, policy: Policy, index: int | None) -> Any:
    """Return the message for one session, or a RefusedMessage if the policy does not allow it.

    Args:
        read: Checks the options of one session.
        item: The options.
        policy: The policy.
        index: Index of the session in ``sessions``, or None for the single form, in which every error is raised.

    Raises:
        ScistreamError: An option is invalid under any policy.
    """
    try:
        return read(item, policy)
    except ScistreamError as error:
        if index is None:
            raise
        located = ScistreamError(f"sessions[{index}] ({show(item.get('uid'))}): {error}")
        if isinstance(error, RefusedError) and item.get("role") in ROLES:
            return RefusedMessage(check_uid(item.get("uid")), item["role"], located)
        raise located from None


def results(changes: Sequence[Change], single: bool, action: type[Action[Any]]) -> dict[str, Any]:
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
    result["sessions"] = [item.after for item in changes if item.after is not None]
    result["changed_sessions"] = [{"uid": item.uid, "role": item.role} for item in changes if item.changed]
    if action.reserves:
        result["new_sessions"] = [{"uid": item.uid, "role": item.role} for item in changes if item.before is None]
    if single and result["sessions"]:
        result["session"] = result["sessions"][0]
    return result


def _released(item: Change) -> dict[str, Any]:
    listeners = item.before["listeners"] if item.before else []
    return {"uid": item.uid, "role": item.role, "listeners": listeners, "counters": item.counters}
