# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: unknown_variables
short_description: Names of variables that are meant for a role and are none of its variables
version_added: "0.1.0"
author:
  - SciStream gateway developers
description:
  - Compares names of variables with those that the roles of this collection have.
  - >-
    A name that begins with C(s2cs_) or C(s2ds_) and is unknown is wrong, and so is one that is almost the name of
    one of these.
options:
  _input:
    description: Names of variables.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Refuse misspelt variables
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join('; ') }}"
  vars:
    problems: "{{ query('ansible.builtin.varnames', '.+') | scistream.gateway.unknown_variables }}"

- name: Show what is said about one of them
  ansible.builtin.debug:
    msg: "{{ ['s2cs_target'] | scistream.gateway.unknown_variables }}"
"""

RETURN = r"""
_value:
  description: A sentence for each name that is wrong.
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.variables import unknown_variables


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"unknown_variables": unknown_variables}
