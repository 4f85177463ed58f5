# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: connection_map
short_description: Map the listeners of a stream to their targets
version_added: "0.1.0"
author: SciStream gateway developers (@scistream)
description:
  - Returns the connection map of a stream, with one row for each listener.
  - The listeners of the two gateways are paired in order.
  - The listeners of the producer application are assigned round robin.
positional: _input, consumer
options:
  _input:
    description: The session of the producer's gateway, as returned in RV(scistream.gateway.s2cs_hello#module:session).
    type: dict
    required: true
  consumer:
    description:
      - The session of the consumer's gateway.
      - If omitted, the rows have no RV(ignore:consumer_listener).
    type: dict
"""

EXAMPLES = r"""
- name: Show the connection map of a stream
  ansible.builtin.debug:
    msg: "{{ producer | scistream.gateway.connection_map(consumer) }}"
  vars:
    # What s2cs_hello returned on each gateway as its session; these are the keys that matter.
    producer:
      listeners: ["192.0.2.1:5100", "192.0.2.1:5101"]
      producer_listeners: ["10.1.0.5:7000"]
    consumer:
      listeners: ["10.2.0.1:5100", "10.2.0.1:5101"]

- name: Show it where the producer's gateway connects to the consumer's
  ansible.builtin.debug:
    msg: "{{ producer | scistream.gateway.connection_map(consumer) }}"
  vars:
    producer:
      dial: producer
      num_conn: 1
      listeners: []
      producer_listeners: ["10.1.0.5:7000"]
    consumer:
      dial: producer
      listeners: ["10.2.0.1:5100"]
      peer_listeners: ["198.51.100.1:5101"]
"""

RETURN = r"""
_value:
  description: Rows of the map, in the order of the listeners.
  type: list
  elements: dict
  contains:
    connection:
      description: Number of the connection, from 1.
      type: int
      sample: 1
    consumer_listener:
      description: Address that the consumer application connects to.
      type: str
      sample: "10.2.0.1:5100"
    peer_listener:
      description:
        - Address that the producer's gateway connects to, a listener of the consumer's gateway.
        - Null before the UPDATE if O(consumer) is omitted.
      returned: if the session was requested with C(dial=producer)
      type: str
      version_added: 0.2.0
      sample: "198.51.100.1:5101"
    producer_listener:
      description: Address that the consumer's gateway connects to. Null if the producer's gateway connects to it.
      type: str
      sample: "192.0.2.1:5100"
    target:
      description:
        - Address that the producer's gateway connects to, a listener of the producer application.
        - Null before its HELLO.
      type: str
      sample: "10.1.0.5:7000"
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, show
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import pairing


def connection_map(producer: Any, consumer: Any = None) -> list[dict[str, Any]]:
    for session in (producer, consumer):
        if (not isinstance(session, Mapping) and session is not None) or producer is None:
            raise AnsibleFilterError(f"connection_map: {show(session)} is not a session")
    try:
        return pairing.connection_map(producer, consumer)
    except ScistreamError as error:
        raise AnsibleFilterError(f"connection_map: {error}") from None


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"connection_map": connection_map}
