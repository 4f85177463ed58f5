# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: unknown_variables
short_description: Find misspelled role variables
version_added: "0.1.0"
author: SciStream gateway developers (@scistream)
description:
  - Compares variable names with the variables of the roles of this collection.
  - >-
    Reports unknown names with the prefix C(s2cs_) or C(s2ds_), and names that closely resemble one of the roles'
    variables.
options:
  _input:
    description: Variable names.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Refuse misspelled variables
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join('; ') }}"
  vars:
    problems: "{{ query('ansible.builtin.varnames', '.+') | scistream.gateway.unknown_variables }}"

- name: Show the message for one of them
  ansible.builtin.debug:
    msg: "{{ ['s2cs_target'] | scistream.gateway.unknown_variables }}"
"""

RETURN = r"""
_value:
  description: One sentence for each misspelled name.
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
