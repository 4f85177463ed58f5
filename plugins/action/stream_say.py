# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Displays lines as they are, or fails with them."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import (
    fail_with,
    show_lines,
    unsupported,
)

_ARGUMENTS = frozenset(("lines", "error", "headline"))


class ActionModule(ActionBase):  # type: ignore[misc]
    """Shows lines on the control node."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Show the lines."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        options = self._task.args
        if set(options) - _ARGUMENTS:
            raise AnsibleError(unsupported(set(options) - _ARGUMENTS, _ARGUMENTS))
        given = options.get("lines")
        texts = [given] if isinstance(given, str) else list(given or [])
        result["changed"] = False
        if options.get("error"):
            result["msg"] = []
            return fail_with(texts, result, options.get("headline"))
        result["msg"] = show_lines(texts)
        return result
