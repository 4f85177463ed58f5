# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: stream_problems
short_description: Find mistakes in stream descriptions
version_added: "0.1.0"
author: SciStream gateway developers (@scistream)
description:
  - Validates stream descriptions on the control node, before any gateway is contacted.
  - The playbooks of this collection do the same with M(scistream.gateway.stream_plan).
positional: _input, purpose
extends_documentation_fragment:
  - scistream.gateway._streams
  - scistream.gateway._streams.replies
options:
  purpose:
    description: What the streams are validated for.
    type: str
    choices:
      open: Opening both sides.
      inbound: Opening the producer side.
      outbound: Opening the consumer side.
      identify: Identifying streams.
      release: As V(identify), and at least one of the two gateways must be in O(gateways).
    default: open
  key:
    description: The user's key, instead of O(key_file).
    type: str
  key_file:
    description:
      - Path of the user's key. It is validated, and created if it does not exist. If empty, the default path is used.
      - If omitted, no key is validated or created.
    type: path
  create_key:
    description: Whether to create the key file if it does not exist.
    type: bool
    default: true
  results:
    description:
      - Answers of the gateways to HELLO, as a dictionary of module results by gateway.
      - If specified, the consistency of these answers and of the replies is checked too.
    type: dict
"""

EXAMPLES = r"""
- name: Describe a stream
  ansible.builtin.set_fact:
    streams:
      - name: tomography
        producer: {gateway: gw-aps, listeners: ["10.1.0.5:7000"]}
        consumer: {gateway: gw-alcf}

- name: Check the description
  ansible.builtin.assert:
    that: problems is falsy
    fail_msg: "{{ problems }}"
  vars:
    problems: "{{ streams | scistream.gateway.stream_problems(gateways=groups.gateways) }}"

- name: Show the mistake in another description
  ansible.builtin.debug:
    msg: "{{ [streams[0] | combine({'num_conn': 0})] | scistream.gateway.stream_problems }}"
"""

RETURN = r"""
_value:
  description: One sentence for each mistake, with the stream, the key, the value and what is allowed.
  type: list
  elements: str
  sample:
    - 'stream "tomography": num_conn: 0 is not allowed: give an integer from 1 to 10000'
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.utils.display import Display

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import KeyFileError, check_key
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.pairing import misfits
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import PURPOSES, DescriptionError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_reader import read_streams


def stream_problems(
    streams: Any,
    purpose: str = "open",
    gateways: Sequence[str] | None = None,
    replies: Sequence[Any] = (),
    results: Mapping[str, Any] | None = None,
    key: str | None = None,
    key_file: str | None = None,
    create_key: bool = True,
) -> list[str]:
    if purpose not in PURPOSES:
        raise AnsibleFilterError(f"stream_problems: {purpose!r} is none of {', '.join(PURPOSES)}")
    try:
        found = read_streams(streams, purpose, gateways, replies)
    except DescriptionError as error:
        return error.problems
    if key_file is not None:
        try:
            check_key(key_file, key, create_key and bool(PURPOSES[purpose]), _tell)
        except KeyFileError as error:
            if purpose != "release":
                return [str(error)]
            Display().warning(f"Sessions are released without the secrets of their streams: {error}.")
    return [] if results is None else misfits(found, purpose, results)


def _tell(text: str) -> None:
    if text.startswith("A new key"):
        Display().display(text)
    else:
        Display().warning(text)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"stream_problems": stream_problems}
