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
  - The application announces itself, or S2UC does it for the application.
  - The secret proves that it belongs to the stream.
  - A producer says where it listens. A consumer learns where it has to connect to.
  - After it the session waits for its UPDATE, for O(update_timeout) seconds, and expires if none comes.
  - For a session that is encrypted it gives this gateway its certificate and key.
  - Said again with other listeners, it replaces those announced before; an UPDATE then points the stream at them.
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
  secret: &secret
    description:
      - Secret of the stream, 32 to 512 printable ASCII characters. It must be the one of the request.
      - It is stored as a salted hash only, and never shown.
    type: str
  producer_listeners: &producer_listeners
    description:
      - Where the producer application listens, as V(address:port), V([IPv6 address]:port) or V(name:port).
      - At most O(scistream.gateway.s2cs_request#module:num_conn) of them.
      - The listeners of the gateway are dealt out to them in turn.
      - Only for O(role=producer), and needed there.
    type: list
    elements: str
  certificate: &certificate
    description:
      - Certificate of this gateway for this session, as one block of PEM; for O(key), and for nothing else.
      - It is signed by its own key, is no authority's, and is valid for as long as the session is to live.
      - It is public. The other gateway gets it as O(scistream.gateway.s2cs_update#module:peer_certificate).
      - Left out, the session has none, or the one that it has. While it streams, there can be no other.
    type: str
  key: &key
    description:
      - Private key of O(certificate), as one block of PEM, not encrypted.
      - It is kept in one file of the session, which the user of the data server and root can read, and never shown.
    type: str
  update_timeout: &update_timeout
    description:
      - Seconds within which the UPDATE must come, where the session does not stream yet. The end of its lifetime comes
        first in any case.
      - If omitted, O(scistream.gateway.s2cs_request#module:hello_timeout) of its request. Where people have to hand
        something on before the UPDATE, such as a ticket, give as many seconds as they may need.
    type: int
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
      secret:
        <<: *secret
        required: true
      producer_listeners: *producer_listeners
      certificate: *certificate
      key: *key
      update_timeout: *update_timeout
seealso:
  - module: scistream.gateway.s2cs_request
  - module: scistream.gateway.s2cs_update
"""

EXAMPLES = r"""
- name: Choose the UUID of a stream, and a secret that stays on the control node
  ansible.builtin.set_fact:
    stream_uid: 7b7f0a51-3c7c-4b1e-9a55-4f8f6b1f6f02
    stream_secret: "{{ lookup('ansible.builtin.password', 'imaging.secret', length=32) }}"

- name: Make a key and a certificate for each gateway
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

- name: Announce the producer application, and give its gateway a certificate
  scistream.gateway.s2cs_hello:
    uid: "{{ stream_uid }}"
    role: producer
    secret: "{{ stream_secret }}"
    producer_listeners: ["10.1.0.5:7000"]
    certificate: "{{ lookup('ansible.builtin.file', 'producer.crt') }}"
    key: "{{ lookup('ansible.builtin.file', 'producer.key') }}"
  delegate_to: gw-aps
  register: producer

- name: Announce the consumer application, and learn where it connects to
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
    - The session after the call, where one was given by its options.
    - M(scistream.gateway.s2cs_request) describes it.
  returned: success, if O(sessions) was not used
  type: dict
  sample:
    uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
    role: producer
    state: announced
    listeners: ["192.0.2.1:5100"]
    targets: []
sessions:
  description: All sessions of the call after it, in the order of the call.
  returned: success
  type: list
  elements: dict
  sample: []
failed_sessions:
  description:
    - The sessions for which the call failed, as M(scistream.gateway.s2cs_request) describes them.
    - If one fails that does not stream yet, the whole call is undone. A streaming one concerns itself alone.
  returned: failure, unless nothing was tried
  type: list
  elements: dict
  sample: []
changed_sessions:
  description: The sessions that this very call changed, each with its RV(ignore:uid) and RV(ignore:role).
  returned: success
  type: list
  elements: dict
  sample: [{uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427, role: producer}]
"""

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import action_module
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.hello import HelloAction
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.messages import read_hello

OPTIONS = {
    **action_module.UID,
    **action_module.ROLE,
    **action_module.SECRET,
    "producer_listeners": {"type": "list", "elements": "str"},
    "certificate": {"type": "str"},
    "key": {"type": "str", "no_log": True},
    "update_timeout": {"type": "int"},
}


def main() -> None:
    """Announce applications."""
    action_module.run(OPTIONS, ("uid", "role", "secret"), read_hello, HelloAction)


if __name__ == "__main__":
    main()
