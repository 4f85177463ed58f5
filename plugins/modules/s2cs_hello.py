#!/usr/bin/python
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: s2cs_hello
short_description: Announce an application to its stream (HELLO)
version_added: 0.1.0
description:
  - An application announces itself, or S2UC announces it. The secret proves that it belongs to the stream.
  - A producer specifies where it listens. A consumer receives the listeners that it connects to.
  - Afterwards the session waits for its UPDATE, and expires if none is received within O(update_timeout) seconds.
  - For an encrypted session, it provides the certificate and the key of this gateway.
  - Another HELLO with other listeners replaces those announced before. They take effect with the next UPDATE.
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
      - Only a salted hash of it is stored, and it is never shown.
    type: str
  producer_listeners: &producer_listeners
    description:
      - Addresses on which the producer application listens, as V(address:port), V([IPv6 address]:port) or
        V(name:port).
      - The maximum number is O(scistream.gateway.s2cs_request#module:num_conn).
      - They are assigned to the listeners of the gateway in turn.
      - Required for O(role=producer) if O(announce=true), and not allowed otherwise.
    type: list
    elements: str
  certificate: &certificate
    description:
      - Certificate of this gateway for this session, in PEM format.
      - It must be self-signed, must not be a CA certificate, and should be valid for the lifetime of the session.
      - It is public. Pass it to the other gateway as O(scistream.gateway.s2cs_update#module:peer_certificate).
      - If omitted, the current certificate (if any) is kept. It cannot be replaced while the session is streaming.
    type: str
  key: &key
    description:
      - Unencrypted private key of O(certificate), in PEM format.
      - It is stored in a file that only the user of the data server and root can read, and is never shown.
    type: str
  update_timeout: &update_timeout
    description:
      - Number of seconds within which the UPDATE must be received if the session is not streaming yet. The lifetime of
        the session is not extended.
      - If omitted, O(scistream.gateway.s2cs_request#module:hello_timeout) of the request is used. If people must
        exchange something before the UPDATE, such as a ticket, allow enough time for it.
    type: int
  announce: &announce
    description:
      - Whether the application announces itself.
      - With V(false), only certificate and key are provided. The session keeps its state and its listeners. If it is
        reserved, it still waits for the HELLO of its application.
    type: bool
    default: true
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
      secret:
        <<: *secret
        required: true
      producer_listeners: *producer_listeners
      certificate: *certificate
      key: *key
      update_timeout: *update_timeout
      announce: *announce
seealso:
  - module: scistream.gateway.s2cs_request
  - module: scistream.gateway.s2cs_update
"""

EXAMPLES = r"""
- name: Set the UUID of a stream, and a secret that stays on the control node
  ansible.builtin.set_fact:
    stream_uid: 7b7f0a51-3c7c-4b1e-9a55-4f8f6b1f6f02
    stream_secret: "{{ lookup('ansible.builtin.password', 'imaging.secret', length=32) }}"

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

- name: Announce the producer application, and provide the certificate of its gateway
  scistream.gateway.s2cs_hello:
    uid: "{{ stream_uid }}"
    role: producer
    secret: "{{ stream_secret }}"
    producer_listeners: ["10.1.0.5:7000"]
    certificate: "{{ lookup('ansible.builtin.file', 'producer.crt') }}"
    key: "{{ lookup('ansible.builtin.file', 'producer.key') }}"
  delegate_to: gw-aps
  register: producer

- name: Announce the consumer application, and get the listeners that it connects to
  scistream.gateway.s2cs_hello:
    uid: "{{ stream_uid }}"
    role: consumer
    secret: "{{ stream_secret }}"
    certificate: "{{ lookup('ansible.builtin.file', 'consumer.crt') }}"
    key: "{{ lookup('ansible.builtin.file', 'consumer.key') }}"
  delegate_to: gw-alcf
  register: consumer

- name: Show where the consumer application connects to
  ansible.builtin.debug:
    msg: "{{ consumer.session.listeners }}"
"""

RETURN = r"""
session:
  description:
    - The session after the call, if one was specified by its options.
    - See M(scistream.gateway.s2cs_request) for its contents.
  returned: success, if O(sessions) was not used
  type: dict
  sample:
    uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
    role: producer
    state: announced
    listeners: ["192.0.2.1:5100"]
    targets: []
sessions:
  description:
    - All sessions of the call after it, in the same order. After a failure, those for which the call succeeded.
    - See M(scistream.gateway.s2cs_request) for their contents.
  returned: always, unless the arguments were invalid
  type: list
  elements: dict
  sample:
    - uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
      role: producer
      state: announced
      listeners: ["192.0.2.1:5100"]
      targets: []
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
      role: producer
      msg: >-
        uid: gateway gw-aps has no session 1b4e28ba-2fa1-41d2-883f-0016d3cca427 with the role producer; request it first
        (s2cs_request)
changed_sessions:
  description: Sessions that this call changed, each with its RV(ignore:uid) and RV(ignore:role).
  returned: always, unless the arguments were invalid
  type: list
  elements: dict
  sample: [{uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427, role: producer}]
"""

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import action_module
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.hello import HELLO


def main() -> None:
    """Announce applications."""
    action_module.run(HELLO)


if __name__ == "__main__":
    main()
