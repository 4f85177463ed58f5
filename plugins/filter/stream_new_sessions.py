# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: stream_new_sessions
short_description: The sessions that a request made
version_added: "0.1.0"
author:
  - SciStream gateway developers
description:
  - Returns the sessions that were not there before a call of M(scistream.gateway.s2cs_request).
  - These are what has to be released if a later step fails.
  - A session that the call found and repaired is not one of them.
options:
  _input:
    description: What the module returned. Nothing is fine too.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Reserve a listener
  scistream.gateway.s2cs_request:
    uid: 2f6a0a3e-6f6b-4e0f-9a52-0c4c0a8f6b7d
    role: producer
    secret: "{{ lookup('ansible.builtin.password', 'new.secret', length=32) }}"
  delegate_to: gw-aps
  register: reserved

- name: Show what a failure later on has to undo
  ansible.builtin.debug:
    msg: "{{ reserved | scistream.gateway.stream_new_sessions }}"

- name: Release what the request took
  scistream.gateway.s2cs_release:
    sessions: "{{ reserved | scistream.gateway.stream_new_sessions }}"
  delegate_to: gw-aps
"""

RETURN = r"""
_value:
  description: The sessions.
  type: list
  elements: dict
  contains:
    uid:
      description: UUID of the stream.
      type: str
    role:
      description: Role of the session.
      type: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import new_sessions


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"stream_new_sessions": new_sessions}
