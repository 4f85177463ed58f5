# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Passes the collection's template of a proxy to the module, which may run where no role has installed it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

_ROLES = Path(__file__).resolve().parents[2] / "roles"


class ActionModule(ActionBase):  # type: ignore[misc]
    """Adds the option ``template`` if it is omitted."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module with the template."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        options = dict(self._task.args)
        if options.get("template") is None:
            options["template"] = _template(str(options.get("proxy") or "haproxy"))
        result.update(self._execute_module(module_args=options, task_vars=task_vars))
        return result


def _template(proxy: str) -> str | None:
    """Return the template of a proxy, or None if it has none or does not exist, which the module reports."""
    found = sorted(_ROLES.glob(f"{proxy}/files/*.j2")) if proxy.isalnum() else []
    try:
        return found[0].read_text(encoding="utf-8") if found else None
    except OSError as error:
        raise AnsibleActionFail(f"the template {found[0]} of the collection cannot be read: {error}") from None
