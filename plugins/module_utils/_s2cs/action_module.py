# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Code shared by the modules of the control server: options, errors, results."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.action_runner import perform
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.action_type import ActionType
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy_file import DEFAULT_CONFIG
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_module import call_service

CONFIG: dict[str, Any] = {"config": {"type": "path", "default": DEFAULT_CONFIG}}


class _Module(AnsibleModule):  # type: ignore[misc]
    """A module that does not write the values of its options to the system log.

    Ansible masks secrets there only in their original form. It would not find them in a list of sessions, where line
    breaks, quotes and backslashes are escaped.
    """

    def log(self, msg: str, log_args: Any = None) -> None:
        """Write to the system log, with only the names of the options."""
        super().log(msg if log_args is None else f"Invoked with {', '.join(sorted(log_args))}")


def run(action_type: ActionType) -> None:
    """Run an action as a module, and exit.

    Args:
        action_type: The type of action.
    """
    options, required = action_type.options.session, action_type.options.required
    # These let Ansible itself report missing options, in the single form as well.
    module = _Module(
        argument_spec={
            **CONFIG,
            **options,
            "sessions": {"type": "list", "elements": "dict", "options": action_type.options.item},
        },
        mutually_exclusive=[("sessions", name) for name in options],
        required_one_of=[("sessions", required[0])],
        required_by={required[0]: list(required[1:])} if required[1:] else {},
        supports_check_mode=True,
    )
    result = call_service(action_type.name, module.params, options, module.check_mode)
    finish(module, result or perform(action_type, module.params["config"], module.params, module.check_mode))


def finish(module: AnsibleModule, result: dict[str, Any]) -> None:
    """Exit with a result, or with its failure."""
    for warning in result.pop("warnings", ()):
        module.warn(warning)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)
