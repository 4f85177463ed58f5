# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: stream_tickets
short_description: The tickets of streams whose producer side is open
version_added: "0.1.0"
author:
  - SciStream gateway developers
description:
  - Returns what a colleague at another facility needs to open the consumer side of each stream with C(stream_outbound).
  - There is no secret in a ticket.
positional: _input, results
options:
  _input:
    description: The streams, see the README of this collection.
    type: list
    elements: dict
    required: true
  results:
    description: What the gateways answered, the modules' results by the gateways' names.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what a ticket looks like
  ansible.builtin.debug:
    msg: "{{ streams | scistream.gateway.stream_tickets({'gw-aps': hello}) }}"
"""

RETURN = r"""
_value:
  description: One ticket for each stream whose producer side is open.
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._plan import session_of
from ansible_collections.scistream.gateway.plugins.plugin_utils._streams import read_streams
from ansible_collections.scistream.gateway.plugins.plugin_utils._ticket import make_ticket


def stream_tickets(streams: Any, results: Mapping[str, Any]) -> list[dict[str, Any]]:
    tickets = []
    try:
        for stream in read_streams(streams, "inbound"):
            session = session_of(results, stream.gateways["producer"], stream.uid, "producer")
            if session is not None and session.get("listeners"):
                tickets.append(make_ticket(stream.name, stream.gateways, session))
    except ScistreamError as error:
        raise AnsibleFilterError(f"stream_tickets: {error}") from None
    return tickets


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"stream_tickets": stream_tickets}
