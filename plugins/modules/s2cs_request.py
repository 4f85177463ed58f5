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
  - Reserves listeners for one role of a stream, and starts a data server that binds them if the proxy supports this.
  - Repeating the request returns the same listeners. A session that is requested anew within 30 days of its release
    gets the ports that it had, as far as they are free.
  - A request for an existing session can change its O(rate), O(rtt), O(hello_timeout), O(lifetime) and O(labels)
    without interrupting connections. Any other difference is an error, and the message lists the differences.
  - Repeating the request also restarts a data server that died, and restarts the timeout for the next message.
  - The session is owned by the user who requests it. Other users need its secret to update or release it.
  - A session expires if no HELLO or UPDATE is received in time, or at the end of its lifetime. The service of the
    gateway releases expired sessions within seconds. Without it, the next action on this gateway does, regardless of
    which session that action is for.
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
  num_conn: &num_conn
    description: Number of listeners. The policy of the gateway sets the maximum.
    type: int
    default: 1
  ports: &ports
    description:
      - Ports of the listeners, one for each, in the order of RV(session.listeners). For one listener, a single port.
      - They must be in the port range of the policy. If one of them is in use, the request fails, and the message says
        by whom.
      - If omitted, the ports that the session had before its last release are used if they are free, otherwise the next
        free ports of the range.
      - The ports of an existing session cannot be changed. If omitted, they are kept.
      - Must be omitted for O(role=producer) with O(dial=producer).
    type: list
    elements: int
    version_added: 0.2.0
  rate: &rate
    description:
      - Limit for the whole session in each direction, in bits per second, such as V(10Gbit) or V(500Mbit).
      - >-
        V(s2ds), V(haproxy) from version 2.7 and V(nginx) can limit it. V(nginx) divides it by O(num_conn), and then
        accepts at most that many connections. Refused for other proxies, and unless O(transport=tcp).
      - >-
        If it is changed, V(s2ds) applies the new rate to all connections. With V(haproxy) and V(nginx), open
        connections keep the rate that they were opened with.
    type: str
  rtt: &rtt
    description:
      - Round trip between the two gateways with its unit, such as V(100ms), from V(10us) to V(10s).
      - The result then says in RV(session.carries) what a connection of this gateway carries over such a path, and what
        limits it.
      - If omitted, an existing session keeps the one of its last request.
    type: str
    version_added: 0.2.0
  proxy: &proxy
    description: Proxy that forwards. The policy determines the available values and the default.
    type: str
  runtime: &runtime
    description: Where the proxy runs. The policy determines the available values and the default.
    type: str
  encryption: &encryption
    description:
      - Protection of the connection between the two gateways. The policy determines which values are allowed.
      - V(tls) uses TLS 1.3, and each gateway accepts only the certificate of the other. HELLO provides the certificate
        and the key of this gateway, UPDATE the certificate of the other gateway.
      - V(none) allows anyone on the path to read and modify the data.
      - Refused if the proxy, the runtime or the O(transport) does not support it.
    type: str
    choices: [tls, none]
    default: tls
  transport: &transport
    description:
      - Transport protocol that is accepted and forwarded. V(both) is TCP and UDP on the same port.
      - Refused if the proxy does not support it.
    type: str
    choices: [tcp, udp, both]
    default: tcp
  dial: &dial
    description:
      - Role of the gateway that connects to the other one.
      - >-
        With V(producer), the producer's gateway has no listeners, so that its network needs no inbound port. The
        consumer's gateway waits for it at O(num_conn) more ports, see RV(session.peer_listeners). They are at the
        address of the policy for the role V(producer), to which other gateways connect in any case.
      - With V(producer), refused for other proxies than V(s2ds), for the runtime V(janus), unless O(transport=tcp), and
        with the setting C(kernel_tls=true). Must be the same on both gateways.
    type: str
    choices: [producer, consumer]
    default: consumer
    version_added: 0.2.0
  secret: &secret
    description:
      - Secret of the stream, 32 to 512 printable ASCII characters. Every HELLO must present it.
      - Only a salted hash of it is stored, and it is never shown.
    type: str
  hello_timeout: &hello_timeout
    description: Number of seconds within which the HELLO must be received. The policy sets default and maximum.
    type: int
  lifetime: &lifetime
    description:
      - Maximum lifetime of the session in seconds, from its first request.
      - The policy sets the maximum, which is also the default. If the policy sets none, the session has no limit.
    type: int
  labels: &labels
    description: Names and texts that describe the session, such as a job ID, an experiment ID or a contact.
    type: dict
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
      num_conn: *num_conn
      ports: *ports
      rate: *rate
      rtt: *rtt
      proxy: *proxy
      runtime: *runtime
      encryption: *encryption
      transport: *transport
      dial: *dial
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

- name: Reserve two listeners on ports that the firewall allows
  scistream.gateway.s2cs_request:
    uid: 0c5d7c1e-64b5-4d6a-8a1b-0f3f4f0f8f11
    role: producer
    num_conn: 2
    ports: [5150, 5151]
    secret: "{{ lookup('ansible.builtin.password', 'detector.secret', length=32) }}"
  delegate_to: gw-aps

- name: Reserve a listener on the consumer's gateway, and one for the producer's gateway, which connects to it
  scistream.gateway.s2cs_request:
    uid: 7c9e6679-7425-40de-944b-e07fc1f90ae7
    role: consumer
    dial: producer
    secret: "{{ lookup('ansible.builtin.password', 'instrument.secret', length=32) }}"
  delegate_to: gw-alcf

- name: Reserve the listeners of two streams with one call, the second stream without encryption
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
  description: The session after the call, if one was specified by its options.
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
      description: Proxy that forwards.
      returned: always
      type: str
      sample: s2ds
    runtime:
      description: Where the proxy runs.
      returned: always
      type: str
      sample: process
    encryption:
      description: Protection of the connection between the two gateways, V(tls) or V(none).
      returned: always
      type: str
      sample: tls
    transport:
      description: Transport protocol, V(tcp), V(udp) or V(both).
      returned: always
      type: str
      sample: tcp
    num_conn:
      description: Number of listeners.
      returned: always
      type: int
      sample: 1
    rate:
      description: Limit in each direction in bits per second, or null.
      returned: always
      type: int
      sample: 10000000000
    rtt:
      description: Round trip between the gateways in milliseconds, as requested. Null if the request did not say.
      returned: always
      type: float
      sample: 100.0
      version_added: 0.2.0
    carries:
      description:
        - About what one connection of this gateway carries at RV(session.rtt), which follows from the largest buffers
          that the kernel gives it. Null without RV(session.rtt), or if the buffers are not known.
      returned: always
      type: dict
      version_added: 0.2.0
      contains:
        rtt:
          description: The round trip in milliseconds.
          returned: always
          type: float
          sample: 100.0
        sending:
          description: What it sends, in bits per second.
          returned: always
          type: int
          sample: 223696213
        sending_limit:
          description: What limits that, which is a kernel parameter or the largest window of TCP.
          returned: always
          type: str
          sample: net.ipv4.tcp_wmem
        receiving:
          description: What it receives, in bits per second.
          returned: always
          type: int
          sample: 1342177280
        receiving_limit:
          description: What limits that.
          returned: always
          type: str
          sample: net.ipv4.tcp_rmem
        link:
          description: Speed of the slowest link of the addresses of the session, in bits per second. Null if not known.
          returned: always
          type: int
          sample: 10000000000
    dial:
      description: Role of the gateway that connects to the other one, V(producer) or V(consumer).
      returned: always
      type: str
      version_added: 0.2.0
      sample: consumer
    listeners:
      description:
        - Addresses on which this gateway accepts connections of the stream.
        - Empty for the role V(producer) with O(dial=producer).
      returned: always
      type: list
      elements: str
      sample: ["192.0.2.1:5100"]
    producer_listeners:
      description: Addresses on which the producer application listens, as announced by HELLO.
      returned: always
      type: list
      elements: str
      sample: ["10.1.0.5:7000"]
    targets:
      description: Addresses to which the listeners forward, as requested. They are assigned to the listeners in turn.
      returned: always
      type: list
      elements: str
      sample: ["app.example.org:7000"]
    resolved:
      description:
        - Resolved address of each of RV(session.targets), in the same order.
        - For a name, the first address that the policy allows and that the egress address can reach.
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
    peer_listeners:
      description:
        - With O(dial=producer), where the consumer's gateway waits for connections of the producer's gateway, one for
          each of its listeners. Otherwise empty.
        - For the role V(producer), empty before the UPDATE.
      returned: always
      type: list
      elements: str
      version_added: 0.2.0
      sample: []
    peer_clients:
      description: Networks that may connect to RV(session.peer_listeners) of this gateway. Empty if anyone may.
      returned: always
      type: list
      elements: str
      version_added: 0.2.0
      sample: []
    peer_egress:
      description:
        - Source address of connections to RV(session.peer_listeners) of the other gateway, or null if the kernel
          selects it.
        - This is the egress address of the policy for the role V(consumer), whose gateways usually connect to others.
      returned: always
      type: str
      version_added: 0.2.0
      sample:
    half_close:
      description:
        - Whether one direction of a connection stays open after the other has ended.
        - This is the setting of the proxy in the policy at the time of the request.
      returned: always
      type: bool
      sample: true
    egress:
      description: Source address of connections to the targets, or null if the kernel selects it.
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
      description: Time of the request, ISO 8601 in UTC.
      returned: always
      type: str
      sample: "2026-01-31T12:00:00Z"
    lifetime:
      description: Maximum lifetime in seconds, as requested or limited by the policy. Null if there is no limit.
      returned: always
      type: int
      sample: 86400
    expires:
      description:
        - Time at which the session expires, ISO 8601 in UTC.
        - Before HELLO and UPDATE, the time by which these must be received, at most RV(ignore:ends).
        - After UPDATE, the same as RV(ignore:ends), or null if there is none.
      returned: always
      type: str
      sample: "2026-01-31T12:03:00Z"
    ends:
      description: End of the lifetime, ISO 8601 in UTC. Null if there is no limit.
      returned: always
      type: str
      sample: "2026-02-07T12:00:00Z"
    pending:
      description: Action that is in progress on the session, or that was killed before it finished. Otherwise empty.
      returned: always
      type: str
      sample: ""
sessions:
  description: All sessions of the call, in the same order. After a failure, those for which the call succeeded.
  returned: always, unless the arguments were invalid
  type: list
  elements: dict
  contains: *session
failed_sessions:
  description:
    - Sessions for which the call failed.
    - If a new session fails, all new sessions of the call are rolled back. A failure of an existing session does not
      affect the others.
  returned: failure, unless the arguments were invalid
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
      description: Reason of the failure.
      returned: always
      type: str
      sample: "address already in use: 192.0.2.1:5100, taken by PID 812 sshd"
changed_sessions:
  description: Sessions that this call changed.
  returned: always, unless the arguments were invalid
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
    - Sessions that this call created. Pass them to M(scistream.gateway.s2cs_release) if a later step
      fails.
    - Existing sessions that were repaired or changed are not included.
  returned: always, unless the arguments were invalid
  type: list
  elements: dict
  contains: *identity
"""

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import action_module
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.request import REQUEST


def main() -> None:
    """Reserve listeners."""
    action_module.run(REQUEST)


if __name__ == "__main__":
    main()
