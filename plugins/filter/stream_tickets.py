# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: stream_tickets
short_description: Create tickets and replies for the other facility
version_added: "0.1.0"
author: SciStream gateway developers (@scistream)
description:
  - Returns the files that two facilities exchange if each opens its own side of a stream.
  - The other facility needs the ticket to open the consumer side with C(stream_outbound).
  - C(stream_inbound) needs the reply to admit that side. Only encrypted streams have a reply.
  - The files contain no secrets, but anyone who can modify them can redirect a stream.
positional: _input, results
extends_documentation_fragment:
  - scistream.gateway._streams
  - scistream.gateway._streams.results
options:
  purpose:
    description: Side of the streams that was opened.
    type: str
    choices:
      inbound: The producer side, which creates tickets.
      outbound: The consumer side, which creates replies.
      open: Both sides, which requires no files.
    default: inbound
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
      {{ streams | scistream.gateway.stream_sessions('hello', 'gw-aps', purpose='inbound', results=answers) }}
  vars:
    answers: {gw-aps: "{{ reserved }}"}
  delegate_to: gw-aps
  register: announced
  no_log: true

- name: Show the ticket
  ansible.builtin.debug:
    msg: "{{ streams | scistream.gateway.stream_tickets([{'gw-aps': announced}]) }}"

- name: Release the producer side
  scistream.gateway.s2cs_release:
    sessions: "{{ streams | scistream.gateway.stream_sessions('release', item) }}"
  delegate_to: "{{ item }}"
  loop: [gw-aps]
  no_log: true
"""

RETURN = r"""
_value:
  description: One file for each stream whose side is open.
  type: list
  elements: dict
  contains:
    name:
      description: Name of the stream.
      type: str
      sample: tomography
    file:
      description: Name of the file.
      type: str
      sample: tomography.ticket.yml
    text:
      description: Contents of the file.
      type: str
    fingerprint:
      description: Fingerprint of its contents, for comparison by both facilities.
      type: str
      sample: 91c2-6f0b-52aa-7de1-0c4f-88b3
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.facts import files
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_reader import read_streams


def stream_tickets(
    streams: Any, results: Sequence[Mapping[str, Any]], purpose: str = "inbound", gateways: Sequence[str] | None = None
) -> list[dict[str, str]]:
    if purpose not in ("inbound", "outbound", "open"):
        raise AnsibleFilterError(f"stream_tickets: {purpose!r} is none of inbound, outbound, open")
    if purpose == "open":
        return []
    try:
        return files(read_streams(streams, purpose, gateways), results, purpose)
    except ScistreamError as error:
        raise AnsibleFilterError(f"stream_tickets: {error}") from None


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"stream_tickets": stream_tickets}
