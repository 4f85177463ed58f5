# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules as Ansible calls them, but in this process: thousands of calls in seconds."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
from typing import Any
from unittest import mock

from ansible.module_utils import basic

MODULES = (
    *("s2cs_request", "s2cs_hello", "s2cs_update", "s2cs_release", "s2cs_drop", "s2cs_probe", "s2cs_info"),
    *("s2cs_policy", "s2ds", "proxy_container"),
)
_PACKAGE = "ansible_collections.scistream.gateway.plugins.modules"


class _Captured(Exception):
    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self.spec = spec


def options_of(module: str) -> dict[str, dict[str, Any]]:
    """Return the options of a module, as it gives them to Ansible."""

    def capture(_self: Any, argument_spec: dict[str, Any], **_more: Any) -> None:
        raise _Captured(argument_spec)

    with mock.patch.object(basic.AnsibleModule, "__init__", capture):
        try:
            importlib.import_module(f"{_PACKAGE}.{module}").main()
        except _Captured as captured:
            return captured.spec
    raise AssertionError(f"{module} has no options")


def run(module: str, options: dict[str, Any], check: bool = False) -> tuple[dict[str, Any], str]:
    """Run a module; returns its result, and all that it printed."""
    output = io.StringIO()
    arguments = json.dumps(
        {"ANSIBLE_MODULE_ARGS": {**options, "_ansible_diff": True, "_ansible_check_mode": check}}
    ).encode()
    with (
        mock.patch.object(basic, "_ANSIBLE_ARGS", arguments),
        mock.patch.object(basic, "_ANSIBLE_PROFILE", "legacy", create=True),
        contextlib.redirect_stdout(output),
    ):
        try:
            importlib.import_module(f"{_PACKAGE}.{module}").main()
        except SystemExit:
            pass
        except OverflowError as error:
            # Ansible's own conversion to a whole number does not expect "infinity".
            return {"failed": True, "msg": f"unable to convert: {error}"}, ""
    text = output.getvalue()
    result: dict[str, Any] = json.loads(text)
    return result, text
