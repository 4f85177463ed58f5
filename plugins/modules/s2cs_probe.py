#!/usr/bin/python
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: s2cs_probe
short_description: Find out whether a stream works, as seen from this gateway
version_added: 0.2.0
description:
  - Contacts the targets of a session without disturbing what flows through it, and checks its certificates against the
    clock of the gateway.
  - The consumer's gateway has the listeners of the producer's gateway present their certificates, and then closes the
    connection before the handshake is complete, so that the application is not contacted. The data server of the
    producer's gateway counts this as a refused connection, unless it is C(s2ds).
  - Other targets, which are applications and unencrypted listeners that lead to them, get one connection without data.
    They are not contacted while connections of the session are open, or if this is unknown, because the application may
    accept only one client at a time.
  - With O(pattern), the module is a client of a session that was opened for this purpose. It sends a pattern through
    both gateways to a temporary endpoint, which returns it, and measures the path.
  - The playbook C(scistream.gateway.stream_probe) does all this for whole streams.
  - A session is owned by the user who requested it. Other users need its secret, or must be administrators.
  - The session must be streaming. If one session cannot be probed, the others are not affected.
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
    description: Side of the stream that this gateway serves.
    type: str
    choices: [producer, consumer]
  secret: &secret
    description:
      - Secret of the stream, as specified in the request.
      - Required for users who did not request the session and are not administrators of this gateway.
    type: str
  pattern: &pattern
    description:
      - Whether to send a pattern of 1 MiB through the session, and up to 200 messages of 64 bytes. If the rate of the
        session is so low that this would take longer than 10 seconds in each direction, the pattern is smaller.
      - Both sides of the stream must have been updated with the option O(scistream.gateway.s2cs_update#module:probe).
      - Only for O(role=consumer).
    type: bool
    default: false
  seconds: &seconds
    description:
      - Duration of the measurement of the throughput in each direction, in seconds. V(0) does not measure it.
      - It uses the same network as the streams of the gateways. Maximum is 60.
      - Only with O(pattern).
    type: int
    default: 0
  sessions:
    description:
      - List of sessions, to manage more than one session with a single call.
      - Maximum number of sessions is 1024.
    type: list
    elements: dict
    suboptions:
      uid:
        <<: *uid
        required: true
      role:
        <<: *role
        required: true
      secret: *secret
      pattern: *pattern
      seconds: *seconds
attributes:
  check_mode:
    support: full
    description: Contacts nothing.
  diff_mode:
    support: N/A
    description: This module does not modify state.
  idempotent:
    support: full
    description: This module does not modify state.
seealso:
  - module: scistream.gateway.s2cs_info
  - module: scistream.gateway.s2cs_update
"""

EXAMPLES = r"""
- name: Set the UUID of a stream, and a secret that stays on the control node
  ansible.builtin.set_fact:
    stream_uid: 7c0a2f0e-31a4-4b6f-9c56-6d0a3f5e2b17
    stream_secret: "{{ lookup('ansible.builtin.password', 'calibration.secret', length=32) }}"

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

- name: Find out whether the gateway reaches the application
  scistream.gateway.s2cs_probe:
    uid: "{{ stream_uid }}"
    role: producer
  delegate_to: gw-aps
  register: probed

- name: Show what is wrong
  ansible.builtin.debug:
    msg: "{{ item.target }}: {{ item.msg }}"
  loop: "{{ probed.session.probe.contacts | selectattr('problem') }}"
"""

RETURN = r"""
session:
  description: The session, if one was specified by its options. See M(scistream.gateway.s2cs_request) for its contents.
  returned: success, if O(sessions) was not used
  type: dict
  contains:
    probe: &probe
      description:
        - The outcome, or null in check mode. C(time) is the clock of the gateway in seconds since the epoch.
        - C(contacts) lists the targets that were contacted, at most 8, each with the C(source) address, the C(seconds)
          of a round trip, and if it failed, a C(msg) and the kind of the C(problem), which is C(timeout), C(refused),
          C(unreachable), C(closed), C(silent), C(no_tls) or C(certificate).
        - C(not_contacted) is the reason why targets were not contacted, or null. C(certificate_problems) lists why the
          certificates are not valid now.
        - With O(pattern), C(arrived) tells whether the pattern arrived unchanged, and C(msg) why not. In that case,
          C(log) has the last lines of the log of the data server.
        - The other values are sizes, times in seconds and rates in bits per second. C(network_round_trip) is the median
          round trip to the producer's gateway. C(limited_by) is what the kernel of the consumer's gateway counted for
          its connection to the producer's gateway during the measurement to the producer, and the C(leg) that follows
          from it, C(consumer_gateway), C(network) or C(producer_gateway).
      returned: success
      type: dict
      sample:
        time: 1796000000.0
        arrived: true
        pattern_bytes: 1048576
        round_trips: 128
        round_trip_median: 0.0314
        round_trip_p99: 0.0330
        network_round_trip: 0.0309
        to_producer: 4120000000.0
        to_consumer: 4270000000.0
        limited_by: {leg: network, busy: 0.99, window_limited: 0.02, retransmitted: 12}
        contacts: []
  sample:
    uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
    role: consumer
    state: streaming
    probe:
      time: 1796000000.0
      certificate_problems: []
      contacts:
        - target: "192.0.2.1:5100"
          source: 198.51.100.1
          seconds: 0.0309
          problem: null
          msg: null
      not_contacted: null
sessions:
  description:
    - All sessions of the call, in the same order. After a failure, those that could be probed.
    - See M(scistream.gateway.s2cs_request) for their contents.
  returned: always, unless the arguments were invalid
  type: list
  elements: dict
  contains:
    probe: *probe
  sample:
    - uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
      role: producer
      state: streaming
      probe:
        time: 1796000000.0
        certificate_problems: []
        contacts: []
        not_contacted: 2 connections are open
changed_sessions:
  description: Always empty, unless a session had to be repaired first.
  returned: always, unless the arguments were invalid
  type: list
  elements: dict
  sample: []
failed_sessions:
  description:
    - Sessions that could not be probed. See M(scistream.gateway.s2cs_request) for their contents.
    - A session whose targets do not answer is not among them, because the probe itself succeeded.
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
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.probe import PROBE


def main() -> None:
    """Probe sessions."""
    action_module.run(PROBE)


if __name__ == "__main__":
    main()
