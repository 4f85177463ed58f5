# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: stream_facts
short_description: Describe opened streams as data
version_added: "0.1.0"
author: SciStream gateway developers (@scistream)
description:
  - Converts the answers of the gateways to data for the next task or job, by stream name.
  - The playbooks that open streams store it in the fact and the stat C(scistream_result). It contains no secrets.
positional: _input, results
extends_documentation_fragment:
  - scistream.gateway._streams
  - scistream.gateway._streams.replies
  - scistream.gateway._streams.results
options:
  purpose:
    description: Which sides of the streams were opened.
    type: str
    choices: [open, inbound, outbound]
    default: open
  ticket_dir:
    description: Directory of the tickets and replies of the streams.
    type: path
"""

EXAMPLES = r"""
- name: Describe a stream
  ansible.builtin.set_fact:
    streams:
      - name: tomography
        producer: {gateway: gw-aps, listeners: ["10.1.0.5:7000"]}
        consumer: {gateway: gw-alcf}

- name: Reserve a listener on the producer's gateway
  scistream.gateway.s2cs_request:
    sessions: "{{ streams | scistream.gateway.stream_sessions('request', 'gw-aps', purpose='inbound') }}"
  delegate_to: gw-aps
  register: reserved
  no_log: true

- name: Announce the producer application
  scistream.gateway.s2cs_hello:
    sessions: >-
      {{ streams | scistream.gateway.stream_sessions('hello', 'gw-aps', purpose='inbound',
         results={'gw-aps': reserved}) }}
  delegate_to: gw-aps
  register: announced
  no_log: true

- name: Show the result
  ansible.builtin.debug:
    msg: "{{ streams | scistream.gateway.stream_facts([{'gw-aps': announced}], purpose='inbound') }}"

- name: Release the producer side
  scistream.gateway.s2cs_release:
    sessions: "{{ streams | scistream.gateway.stream_sessions('release', 'gw-aps') }}"
  delegate_to: gw-aps
  no_log: true
"""

RETURN = r"""
_value:
  description: Opened streams, one dictionary for each, by stream name.
  type: dict
  sample:
    tomography:
      uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
      state: streaming
      encryption: tls
      connect_to: ["10.2.0.1:5100"]
      gateways: {producer: gw-aps, consumer: gw-alcf}
      listeners: {producer: ["192.0.2.1:5100"], consumer: ["10.2.0.1:5100"]}
      fingerprints: {producer: 91c2-6f0b-52aa-7de1-0c4f-88b3, consumer: 07fe-11d4-9a3c-c265-e0b8-4d92}
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.facts import facts
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_reader import read_streams


def stream_facts(
    streams: Any,
    results: Sequence[Mapping[str, Any]],
    purpose: str = "open",
    gateways: Sequence[str] | None = None,
    replies: Sequence[Any] = (),
    ticket_dir: str | None = None,
) -> dict[str, Any]:
    if purpose not in ("open", "inbound", "outbound"):
        raise AnsibleFilterError(f"stream_facts: {purpose!r} is none of open, inbound, outbound")
    try:
        return facts(read_streams(streams, purpose, gateways, replies), results, purpose, ticket_dir)
    except ScistreamError as error:
        raise AnsibleFilterError(f"stream_facts: {error}") from None


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"stream_facts": stream_facts}
