#!/usr/bin/python
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: s2cs_update
short_description: Point the listeners of a stream at their targets (UPDATE)
version_added: 0.1.0
description:
  - Sets the targets of the listeners and starts forwarding. The session must have been announced by a HELLO.
  - If the session is already streaming, new targets apply to new connections. Established connections are kept if the
    proxy can reload.
  - A session is owned by the user who requested it. Other users need its secret, or must be administrators.
  - Idempotent, except that a data server that has stopped is restarted.
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
  remote_listeners: &remote_listeners
    description:
      - The targets.
      - For O(role=consumer), the listeners of the producer's gateway.
      - For O(role=producer), the listeners of the producer application. If omitted, those that it announced are used.
      - Host names are resolved on this gateway at the time of the call.
      - Required for O(role=consumer), unless the producer's gateway connects to it.
    type: list
    elements: str
  clients: &clients
    description:
      - Addresses or networks that may connect to the listeners. The policy must allow them.
      - For O(role=producer), this is the consumer's gateway.
      - If omitted, all clients that the policy allows may connect.
      - Maximum number of items is 256.
    type: list
    elements: str
  peer_listeners: &peer_listeners
    description:
      - Where the consumer's gateway waits for this gateway, one address for each connection, as
        RV(scistream.gateway.s2cs_request#module:session.peer_listeners) shows them there.
      - The policy must allow them as targets of the role V(consumer), as it does for all connections to other gateways.
      - Only for O(role=producer), if the session was requested with C(dial=producer). If omitted, the current addresses
        are kept.
    type: list
    elements: str
    version_added: 0.2.0
  peer_clients: &peer_clients
    description:
      - Addresses or networks from which the producer's gateway may connect to this gateway. The policy must allow them
        as clients of the role V(producer), as it does for all connections of other gateways.
      - If omitted, all clients that the policy allows for the role V(producer) may connect.
      - Only for O(role=consumer), if the session was requested with C(dial=producer).
      - Maximum number of items is 256.
    type: list
    elements: str
    version_added: 0.2.0
  peer_certificate: &peer_certificate
    description:
      - Certificate of the other gateway for this stream, in PEM format. No other certificate is accepted from it.
      - It is public, but anyone who can replace it in transit can impersonate the other gateway.
      - If omitted, the current certificate is kept. An encrypted session requires it, and its own certificate by HELLO.
    type: str
  secret: &secret
    description:
      - Secret of the stream, as specified in the request.
      - Required for users who did not request the session and are not administrators of this gateway.
    type: str
  probe_targets: &probe_targets
    description:
      - Whether to connect once to each target and close the connection immediately, without sending data. Targets to
        which the session has already had connections are not probed, because an application may count its connections.
      - Targets that do not accept the connection within 3 seconds are listed as C(unreachable_targets) of the session.
        This is not a failure. The session forwards as soon as they accept connections.
      - UDP targets are not probed, nor those of the runtime V(janus), to which another host connects.
    type: bool
    default: false
  probe: &probe
    description:
      - Whether the session is for M(scistream.gateway.s2cs_probe) and not for applications.
      - For O(role=producer), the session forwards to a temporary endpoint on this gateway instead of targets. Only
        processes of the gateway can reach the endpoint, and it ends with the session. O(remote_listeners) must be
        omitted.
      - For O(role=consumer), only the gateway itself can connect to the listeners, unless the proxy cannot restrict
        clients. O(clients) is ignored.
      - The session must have been requested with a lifetime of at most 900 seconds.
    type: bool
    default: false
    version_added: 0.2.0
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
      remote_listeners: *remote_listeners
      clients: *clients
      peer_listeners: *peer_listeners
      peer_clients: *peer_clients
      peer_certificate: *peer_certificate
      secret: *secret
      probe_targets: *probe_targets
      probe: *probe
seealso:
  - module: scistream.gateway.s2cs_request
  - module: scistream.gateway.s2cs_hello
  - module: scistream.gateway.s2cs_release
"""

EXAMPLES = r"""
- name: Set the UUID of a stream, and a secret that stays on the control node
  ansible.builtin.set_fact:
    stream_uid: c3b2f1de-7a55-4c06-8d5c-0f3f5f2a9e11
    stream_secret: "{{ lookup('ansible.builtin.password', 'scattering.secret', length=32) }}"

- name: Create a key and a certificate for each gateway
  ansible.builtin.command:
    argv:
      - openssl
      - req
      - -x509
      - -nodes
      - -sha256
      - -newkey=ec
      - -pkeyopt=ec_paramgen_curve:P-256
      - -days=30
      - -subj=/CN={{ item }}.{{ stream_uid }}
      - -addext=subjectAltName=DNS:{{ item }}.{{ stream_uid }}
      - -addext=basicConstraints=critical,CA:FALSE
      - -addext=extendedKeyUsage=serverAuth,clientAuth
      - -keyout={{ item }}.key
      - -out={{ item }}.crt
    creates: "{{ item }}.crt"
  loop: [producer, consumer]
  delegate_to: localhost

- name: Reserve a listener on the producer's gateway
  scistream.gateway.s2cs_request:
    uid: "{{ stream_uid }}"
    role: producer
    secret: "{{ stream_secret }}"
  delegate_to: gw-aps

- name: Reserve a listener on the consumer's gateway
  scistream.gateway.s2cs_request:
    uid: "{{ stream_uid }}"
    role: consumer
    secret: "{{ stream_secret }}"
  delegate_to: gw-alcf

- name: Announce the producer application
  scistream.gateway.s2cs_hello:
    uid: "{{ stream_uid }}"
    role: producer
    secret: "{{ stream_secret }}"
    producer_listeners: ["10.1.0.5:7000"]
    certificate: "{{ lookup('ansible.builtin.file', 'producer.crt') }}"
    key: "{{ lookup('ansible.builtin.file', 'producer.key') }}"
  delegate_to: gw-aps
  register: producer

- name: Announce the consumer application
  scistream.gateway.s2cs_hello:
    uid: "{{ stream_uid }}"
    role: consumer
    secret: "{{ stream_secret }}"
    certificate: "{{ lookup('ansible.builtin.file', 'consumer.crt') }}"
    key: "{{ lookup('ansible.builtin.file', 'consumer.key') }}"
  delegate_to: gw-alcf
  register: consumer

- name: Forward to the producer application, and only allow the consumer's gateway to connect
  scistream.gateway.s2cs_update:
    uid: "{{ stream_uid }}"
    role: producer
    clients: [198.51.100.1]
    peer_certificate: "{{ consumer.session.certificate }}"
  delegate_to: gw-aps

- name: Forward to the producer's gateway
  scistream.gateway.s2cs_update:
    uid: "{{ stream_uid }}"
    role: consumer
    remote_listeners: "{{ producer.session.listeners }}"
    peer_certificate: "{{ producer.session.certificate }}"
  delegate_to: gw-alcf

- name: Forward to another port of the producer application, and keep established connections
  scistream.gateway.s2cs_update:
    uid: "{{ stream_uid }}"
    role: producer
    remote_listeners: ["10.1.0.5:7001"]
    clients: [198.51.100.1]
  delegate_to: gw-aps
"""

RETURN = r"""
session:
  description:
    - The session after the call, if one was specified by its options.
    - See M(scistream.gateway.s2cs_request) for its contents.
    - With O(probe_targets), C(unreachable_targets) lists the targets that did not answer, each with its C(target) and
      the reason as C(msg).
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
    - All sessions of the call after it, in the same order. After a failure, those for which the call succeeded.
    - See M(scistream.gateway.s2cs_request) for their contents.
  returned: always, unless the arguments were invalid
  type: list
  elements: dict
  sample:
    - uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
      role: consumer
      state: streaming
      listeners: ["10.2.0.1:5100"]
      targets: ["192.0.2.1:5100"]
failed_sessions:
  description:
    - Sessions for which the call failed. See M(scistream.gateway.s2cs_request) for their contents.
    - If a session that is not streaming yet fails, the whole call is rolled back. A failure of a streaming session does
      not affect the others.
  returned: failure, unless the arguments were invalid
  type: list
  elements: dict
  sample:
    - uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
      role: consumer
      msg: >-
        certificate: session 1b4e28ba-2fa1-41d2-883f-0016d3cca427 (consumer) is encrypted and has no certificate of
        this gateway yet: provide certificate and key in a HELLO first (s2cs_hello)
changed_sessions:
  description: Sessions that this call changed, each with its RV(ignore:uid) and RV(ignore:role).
  returned: always, unless the arguments were invalid
  type: list
  elements: dict
  sample: [{uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427, role: consumer}]
"""

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import action_module
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.update import UPDATE


def main() -> None:
    """Set the targets of listeners."""
    action_module.run(UPDATE)


if __name__ == "__main__":
    main()
