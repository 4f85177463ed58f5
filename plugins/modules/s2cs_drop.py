#!/usr/bin/python
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: s2cs_drop
short_description: Close the connections of a stream on this gateway without releasing it
version_added: 0.2.0
description:
  - Closes all established connections of a session by restarting its data server. Its listeners, targets, certificates
    and counters are kept, and applications can connect again at once.
  - Use it for applications that accept only one client at a time, if that client hangs.
  - A session is owned by the user who requested it. Other users need its secret, or must be administrators.
  - The session must be streaming. If the connections of one session cannot be closed, the others are not affected.
author: SciStream gateway developers (@scistream)
extends_documentation_fragment:
  - scistream.gateway._attributes
  - scistream.gateway._attributes.s2cs
  - scistream.gateway._s2cs
  - scistream.gateway._s2cs.actions
options:
  uid: &uid
    description: UUID of the stream, the same on both gateways. It is an identifier, not a secret.
    type: str
  role: &role
    description: Side of the stream. If omitted, the connections of each side that this gateway has are closed.
    type: str
    choices: [producer, consumer]
  secret: &secret
    description:
      - Secret of the stream, as specified in the request.
      - Required for users who did not request the session and are not administrators of this gateway.
    type: str
  sessions:
    description: List of sessions, to manage more than one session with a single call.
    type: list
    elements: dict
    suboptions:
      uid:
        <<: *uid
        required: true
      role: *role
      secret: *secret
attributes:
  idempotent:
    support: none
    description: Each call closes the connections that are established by then.
seealso:
  - module: scistream.gateway.s2cs_release
  - module: scistream.gateway.s2cs_info
"""

EXAMPLES = r"""
- name: Set the UUID of a stream, and a secret that stays on the control node
  ansible.builtin.set_fact:
    stream_uid: 3f0d6d0e-0b1d-4a52-9d0c-5a4f0c3c9b17
    stream_secret: "{{ lookup('ansible.builtin.password', 'readout.secret', length=32) }}"

- name: Reserve a listener
  scistream.gateway.s2cs_request:
    uid: "{{ stream_uid }}"
    role: producer
    encryption: none
    secret: "{{ stream_secret }}"
  delegate_to: gw-aps

- name: Announce the application
  scistream.gateway.s2cs_hello:
    uid: "{{ stream_uid }}"
    role: producer
    secret: "{{ stream_secret }}"
    producer_listeners: ["10.1.0.5:7000"]
  delegate_to: gw-aps

- name: Forward to the application
  scistream.gateway.s2cs_update:
    uid: "{{ stream_uid }}"
    role: producer
  delegate_to: gw-aps

- name: Close the connections of a client that hangs
  scistream.gateway.s2cs_drop:
    uid: "{{ stream_uid }}"
  delegate_to: gw-aps
"""

RETURN = r"""
session:
  description:
    - The session, if one was specified by its options.
    - See M(scistream.gateway.s2cs_request) for its contents.
  returned: success, if O(sessions) was not used
  type: dict
  sample:
    uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
    role: consumer
    state: streaming
    listeners: ["10.2.0.1:5100"]
    targets: ["192.0.2.1:5100"]
sessions:
  description:
    - All sessions of the call, in the same order. After a failure, those whose connections were closed.
    - See M(scistream.gateway.s2cs_request) for their contents.
  returned: always, unless the arguments were invalid
  type: list
  elements: dict
  sample:
    - uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
      role: consumer
      state: streaming
      listeners: ["10.2.0.1:5100"]
changed_sessions:
  description: Sessions whose connections were closed, each with its RV(ignore:uid) and RV(ignore:role).
  returned: always, unless the arguments were invalid
  type: list
  elements: dict
  sample: [{uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427, role: consumer}]
failed_sessions:
  description:
    - Sessions whose connections could not be closed. See M(scistream.gateway.s2cs_request) for their contents.
    - All other sessions are not affected.
  returned: failure, unless the arguments were invalid
  type: list
  elements: dict
  sample:
    - uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
      role: consumer
      msg: >-
        uid: session 1b4e28ba-2fa1-41d2-883f-0016d3cca427 (consumer) is reserved but must be streaming: send HELLO
        first (s2cs_hello)
"""

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import action_module
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.drop import DROP


def main() -> None:
    """Close connections."""
    action_module.run(DROP)


if __name__ == "__main__":
    main()
