# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: stream_sessions
short_description: Prepare the sessions of a message to a gateway
version_added: "0.1.0"
author: SciStream gateway developers (@scistream)
description:
  - Converts stream descriptions to the option O(ignore:sessions) of an C(s2cs_*) module for one gateway.
  - The list is empty if the gateway is not involved, so the module does not have to be called.
positional: _input, message, gateway
extends_documentation_fragment:
  - scistream.gateway._streams
  - scistream.gateway._streams.replies
options:
  message:
    description: The control message.
    type: str
    choices: [request, hello, update, release]
    required: true
  gateway:
    description: Name of the gateway in the inventory.
    type: str
    required: true
  purpose:
    description: Sides of the streams that this run opens.
    type: str
    choices:
      open: Both sides.
      inbound: The producer's.
      outbound: The consumer's.
    default: open
  results:
    description:
      - Answers of the gateways to the previous message, as a dictionary of module results by gateway.
      - For O(message=hello) and O(message=update).
    type: dict
    default: {}
  uids:
    description: Uids of further sessions to release, in any role. For O(message=release).
    type: list
    elements: str
  without:
    description:
      - Sessions to exclude, each with its C(uid) and C(role).
      - In check mode, those that the previous request did not actually create.
    type: list
    elements: dict
    default: []
  predict:
    description:
      - Whether this is check mode, in which no HELLO has announced the listeners of the producer application.
      - For O(message=update).
    type: bool
    default: false
  key:
    description: The user's key, instead of O(key_file). If empty, it is ignored.
    type: str
  key_file:
    description:
      - Path of the user's key on the control node, from which secrets are derived. If empty, the default is used.
      - Optional for O(message=release).
    type: path
    default: ~/.config/scistream/key
  create_key:
    description: Whether to create the key file if it does not exist.
    type: bool
    default: true
notes:
  - The result contains secrets, and for O(message=hello) private keys that are newly generated each time.
  - Use it directly in a task with C(no_log), and do not store it in a fact.
"""

EXAMPLES = r"""
- name: Describe a stream
  ansible.builtin.set_fact:
    streams:
      - name: tomography
        producer: {gateway: gw-aps, listeners: ["10.1.0.5:7000"]}
        consumer: {gateway: gw-alcf}

- name: Reserve listeners on both gateways
  scistream.gateway.s2cs_request:
    sessions: "{{ streams | scistream.gateway.stream_sessions('request', item) }}"
  delegate_to: "{{ item }}"
  loop: [gw-aps, gw-alcf]
  register: reserved
  no_log: true

- name: Release the listeners
  scistream.gateway.s2cs_release:
    sessions: "{{ streams | scistream.gateway.stream_sessions('release', item) }}"
  delegate_to: "{{ item }}"
  loop: [gw-aps, gw-alcf]
  no_log: true
"""

RETURN = r"""
_value:
  description: Sessions, in the format of the module of the message.
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import check_uid
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import messages
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import (
    DEFAULT_KEY_FILE,
    key_if_any,
    load_key,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_reader import read_streams


def stream_sessions(
    streams: Any,
    message: str,
    gateway: str,
    purpose: str = "open",
    results: Mapping[str, Any] | None = None,
    gateways: Sequence[str] | None = None,
    replies: Sequence[Any] = (),
    uids: Sequence[str] = (),
    without: Sequence[Mapping[str, Any]] = (),
    key: str | None = None,
    key_file: str = DEFAULT_KEY_FILE,
    create_key: bool = True,
    predict: bool = False,
) -> list[dict[str, Any]]:
    if message not in ("request", "hello", "update", "release"):
        raise AnsibleFilterError(f"stream_sessions: {message!r} is none of request, hello, update, release")
    try:
        if message == "release":
            found = read_streams(streams, "identify", gateways) if streams else []
            return messages.releases(found, gateway, [check_uid(uid) for uid in uids], key_if_any(key_file, key))
        sides = messages.sides_at(read_streams(streams, purpose, gateways, replies), gateway, purpose, without)
        if not sides:
            return []
        secret = load_key(key_file, create_key, key)
        if message == "request":
            return messages.requests(sides, secret)
        if message == "hello":
            return messages.hellos(sides, secret, purpose, results or {})
        return messages.updates(sides, secret, purpose, results or {}, predict)
    except ScistreamError as error:
        raise AnsibleFilterError(f"stream_sessions: {error}") from None


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"stream_sessions": stream_sessions}
