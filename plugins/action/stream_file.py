# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes a ticket or a reply on the control node, to a file that only the user can access."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.exchange_file import put_file
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import warn_replaced


class ActionModule(ActionBase):  # type: ignore[misc]
    """Replaces the file if its contents change, regardless of what existed before."""

    _supports_check_mode = True
    _supports_diff = False
    _VALID_ARGS = frozenset(("path", "content"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write the file where it is not there with this content already."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validated, options = self.validate_argument_spec(
            argument_spec={"path": {"type": "path", "required": True}, "content": {"type": "str", "required": True}}
        )
        result.update(put_file(options["path"], options["content"], self._task.check_mode))
        if result["replaced"] and not self._task.check_mode:
            warn_replaced(result["path"])
        return result
