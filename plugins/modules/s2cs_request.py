#!/usr/bin/python
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: s2cs_request
short_description: Reserve the listeners of a stream on this gateway (REQ)
version_added: 0.1.0
description:
  - Reserves listeners for one role of a stream, and starts the data server that holds them where the proxy can.
  - The same request again returns the same listeners.
  - A request for an existing session changes its O(rate), O(hello_timeout), O(lifetime) and O(labels), without cutting
    a connection. Anything else that is different is an error that names the differences.
  - The same request again starts a data server that died, and lets the time for the next message begin anew.
  - The session belongs to the user who requests it. Others need its secret to update or release it.
  - A session to which no HELLO or UPDATE comes in time expires, and so does one at the end of its lifetime.
  - The next action on this gateway, whatever it is about, releases what an expired session held.
author: SciStream gateway developers (@scistream)
extends_documentation_fragment:
  - scistream.gateway._s2cs
  - scistream.gateway._s2cs.actions
options:
  uid: &uid
    description: UUID of the stream, the same on both gateways. It is an identifier and no secret.
    type: str
  role: &role
    description: Side of the stream that this gateway serves.
    type: str
    choices: [producer, consumer]
  num_conn: &num_conn
    description: Number of listeners, one for each connection of the stream. The policy of the gateway limits it.
    type: int
    default: 1
  rate: &rate
    description:
      - Limit for the whole session in each direction, in bits per second, such as V(10Gbit) or V(500Mbit).
      - A proxy that cannot keep to a rate refuses it.
    type: str
  proxy: &proxy
    description: What forwards. The policy says what is on offer and what is the default.
    type: str
  runtime: &runtime
    description: Where it runs. The policy says what is on offer and what is the default.
    type: str
  encryption: &encryption
    description:
      - How the connection between the two gateways is protected. The policy says what is allowed.
      - V(tls) is TLS 1.3, in which each gateway accepts one certificate of the other, and nothing else.
      - The HELLO gives the gateway its certificate and key, and the UPDATE the certificate of the other gateway.
      - V(none) means that everyone on the path can read and change the data.
      - A proxy, a runtime or an O(transport) that cannot do what is asked for refuses it.
    type: str
    choices: [tls, none]
    default: tls
  transport: &transport
    description:
      - What the listeners accept and forward. With V(both), TCP and UDP on the same port.
      - A proxy that forwards TCP only refuses the others.
    type: str
    choices: [tcp, udp, both]
    default: tcp
  secret: &secret
    description:
      - Secret of the stream, 32 to 512 printable ASCII characters. Whoever says HELLO must know it.
      - It is stored as a salted hash only, and never shown.
    type: str
  hello_timeout: &hello_timeout
    description: Seconds within which the HELLO must come. The policy gives the default and the largest value.
    type: int
  lifetime: &lifetime
    description:
      - Seconds that the session may live from its first request on, whatever its state.
      - The policy gives the largest value, which is the default too. Where it gives none, the life has no end.
    type: int
  labels: &labels
    description: Names and texts to find the session by, such as a job id, an experiment id or an owner.
    type: dict
  sessions:
    description: Sessions, where one call is to serve more than one.
    type: list
    elements: dict
    suboptions:
      uid:
        <<: *uid
        required: true
      role:
        <<: *role
        required: true
      num_conn: *num_conn
      rate: *rate
      proxy: *proxy
      runtime: *runtime
      encryption: *encryption
      transport: *transport
      secret:
        <<: *secret
        required: true
      hello_timeout: *hello_timeout
      lifetime: *lifetime
      labels: *labels
seealso:
  - module: scistream.gateway.s2cs_hello
  - module: scistream.gateway.s2cs_update
  - module: scistream.gateway.s2cs_release
  - module: scistream.gateway.s2cs_info
"""

EXAMPLES = r"""
- name: Reserve one listener on the producer's gateway
  scistream.gateway.s2cs_request:
    uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
    role: producer
    secret: "{{ lookup('ansible.builtin.password', 'tomography.secret', length=32) }}"
    lifetime: 86400
    labels:
      experiment: tomography-42
  delegate_to: gw-aps
  register: reserved

- name: Show where it listens
  ansible.builtin.debug:
    msg: "{{ reserved.session.listeners }}"

- name: Reserve the listeners of two streams with one call, those of the second without encryption
  scistream.gateway.s2cs_request:
    sessions:
      - uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
        role: consumer
        secret: "{{ lookup('ansible.builtin.password', 'tomography.secret', length=32) }}"
      - uid: 5d0f1c36-8f3c-4f55-9b60-5a1d27f4a5c1
        role: consumer
        num_conn: 4
        rate: 10Gbit
        encryption: none
        secret: "{{ lookup('ansible.builtin.password', 'detector.secret', length=32) }}"
  delegate_to: gw-alcf
"""

RETURN = r"""
session:
  description: The session after the call, where one was given by its options.
  returned: success, if O(sessions) was not used and the session exists
  type: dict
  contains: &session
    uid:
      description: UUID of the stream, the same on both gateways.
      returned: always
      type: str
      sample: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
    role:
      description: Side of the stream that this gateway serves, V(producer) or V(consumer).
      returned: always
      type: str
      sample: producer
    state:
      description: One of V(reserved), V(announced), V(streaming) and V(expired).
      returned: always
      type: str
      sample: reserved
    proxy:
      description: What forwards.
      returned: always
      type: str
      sample: s2ds
    runtime:
      description: Where it runs.
      returned: always
      type: str
      sample: process
    encryption:
      description: How the connection between the two gateways is protected.
      returned: always
      type: str
      sample: tls
    transport:
      description: What the listeners accept and forward, V(tcp), V(udp) or V(both).
      returned: always
      type: str
      sample: tcp
    num_conn:
      description: Number of listeners.
      returned: always
      type: int
      sample: 1
    rate:
      description: Limit for each direction in bits per second, or null.
      returned: always
      type: int
      sample: 10000000000
    listeners:
      description: Where this gateway accepts the connections of the stream.
      returned: always
      type: list
      elements: str
      sample: ["192.0.2.1:5100"]
    producer_listeners:
      description: Where the producer application listens, as it announced by HELLO.
      returned: always
      type: list
      elements: str
      sample: ["10.1.0.5:7000"]
    targets:
      description: Where the listeners lead to, dealt out to them in turn, as it was asked for.
      returned: always
      type: list
      elements: str
      sample: ["app.example.org:7000"]
    resolved:
      description:
        - The address of each of RV(session.targets), in the same order.
        - Of a name it is the first address that the policy allows and that can be reached from the egress address.
      returned: always
      type: list
      elements: str
      sample: ["10.1.0.5:7000"]
    clients:
      description: Networks that may connect to the listeners. Empty if anyone may.
      returned: always
      type: list
      elements: str
      sample: ["198.51.100.7/32"]
    half_close:
      description:
        - Whether one direction of a connection goes on after the other has ended.
        - It was a setting of the proxy in the policy when the session was requested.
      returned: always
      type: bool
      sample: true
    egress:
      description: Source address of the connections to the targets, or null if the kernel chooses.
      returned: always
      type: str
      sample: 192.0.2.1
    certificate:
      description: Certificate of this gateway for this session, in PEM. Null before the HELLO.
      returned: always
      type: str
      sample: |
        -----BEGIN CERTIFICATE-----
        ...
        -----END CERTIFICATE-----
    peer_certificate:
      description: The only certificate that is accepted from the other gateway, in PEM. Null before the UPDATE.
      returned: always
      type: str
      sample: |
        -----BEGIN CERTIFICATE-----
        ...
        -----END CERTIFICATE-----
    labels:
      description: Labels of the request.
      returned: always
      type: dict
      sample: {experiment: tomography-42}
    owner:
      description: User who requested the session.
      returned: always
      type: str
      sample: beamline
    created:
      description: When it was requested, ISO 8601 in UTC.
      returned: always
      type: str
      sample: "2026-01-31T12:00:00Z"
    lifetime:
      description: Its longest life in seconds, as asked for or limited by the policy; null without a limit.
      returned: always
      type: int
      sample: 86400
    expires:
      description:
        - When it expires, ISO 8601 in UTC.
        - Before the HELLO and the UPDATE, the time at which these must have arrived, but not after RV(ignore:ends).
        - After the UPDATE it is RV(ignore:ends), and null if there is none.
      returned: always
      type: str
      sample: "2026-01-31T12:03:00Z"
    ends:
      description: End of its lifetime, ISO 8601 in UTC, or null if there is none.
      returned: always
      type: str
      sample: "2026-02-07T12:00:00Z"
    pending:
      description: Action that is under way on the session, or that was killed in the middle; empty if there is none.
      returned: always
      type: str
      sample: ""
sessions:
  description: All sessions of the call after it, in the order of the call; after a failure those that it left well.
  returned: always, unless nothing was tried
  type: list
  elements: dict
  contains: *session
failed_sessions:
  description:
    - The sessions for which the call failed.
    - If a new session fails, all new ones of the call are undone. A session that existed before concerns itself alone.
  returned: failure, unless nothing was tried
  type: list
  elements: dict
  contains:
    uid:
      description: UUID of the stream.
      returned: always
      type: str
      sample: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
    role:
      description: Role of the session.
      returned: always
      type: str
      sample: producer
    msg:
      description: Why it failed.
      returned: always
      type: str
      sample: "address already in use: 192.0.2.1:5100, taken by PID 812 sshd"
changed_sessions:
  description: The sessions that this very call changed.
  returned: always, unless nothing was tried
  type: list
  elements: dict
  contains: &identity
    uid:
      description: UUID of the stream.
      returned: always
      type: str
      sample: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
    role:
      description: Role of the session.
      returned: always
      type: str
      sample: producer
new_sessions:
  description:
    - The sessions that did not exist before this call. Pass them to M(scistream.gateway.s2cs_release) if a later step
      fails.
    - A session that existed and was repaired or changed is not among them.
  returned: always, unless nothing was tried
  type: list
  elements: dict
  contains: *identity
"""

from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ENCRYPTIONS, TRANSPORTS
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import action_module
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.request import RequestAction
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.messages import read_request

OPTIONS = {
    **action_module.UID,
    **action_module.ROLE,
    "num_conn": {"type": "int", "default": 1},
    "rate": {"type": "str"},
    "proxy": {"type": "str"},
    "runtime": {"type": "str"},
    "encryption": {"type": "str", "choices": list(ENCRYPTIONS), "default": "tls"},
    "transport": {"type": "str", "choices": list(TRANSPORTS), "default": "tcp"},
    **action_module.SECRET,
    "hello_timeout": {"type": "int"},
    "lifetime": {"type": "int"},
    "labels": {"type": "dict"},
}


def main() -> None:
    """Reserve listeners."""
    action_module.run(OPTIONS, ("uid", "role", "secret"), read_request, RequestAction)


if __name__ == "__main__":
    main()
