# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows lines as they are, which Ansible's debug quotes; and fails with them once, which Ansible's fail says twice."""

from __future__ import annotations

from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import journal
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import readable

_ARGUMENTS = frozenset(("lines", "error", "headline", "last"))
_LONGEST = 2000
#: The lines are right above what Ansible says of the failure.
_HEADLINE = 80


class _Told(AnsibleActionFail):  # type: ignore[misc]
    """A failure that has been shown already: ansible-core 2.19 and later would show it again, with its place."""

    @property
    def omit_exception_key(self) -> bool:
        return True


class ActionModule(ActionBase):  # type: ignore[misc]
    """Shows lines on the control node."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Show the lines."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        options = self._task.args
        if set(options) - _ARGUMENTS:
            raise AnsibleError(f"stream_say takes {', '.join(sorted(_ARGUMENTS))}")
        given = options.get("lines")
        texts = [given] if isinstance(given, str) else list(given or [])
        lines = [readable(line, _LONGEST) for text in texts for line in str(text).splitlines()]
        error = bool(options.get("error")) and bool(lines)
        for line in lines:
            Display().display(line, color=_color(line, error))
        if options.get("last"):
            journal.settle()
        result["changed"] = False
        if not error:
            result["msg"] = lines
            return result
        headline = readable(str(options.get("headline") or lines[0]).splitlines()[0])
        headline = headline if len(headline) <= _HEADLINE else f"{headline[: _HEADLINE - 4]} ..."
        result["msg"] = headline
        if hasattr(AnsibleActionFail, "omit_exception_key"):
            raise _Told(headline, result=result)
        return {**result, "failed": True}


def _color(line: str, error: bool) -> str | None:
    if error:
        return str(C.COLOR_ERROR)
    return str(C.COLOR_WARN) if line.lstrip().startswith("WARNING") else None
