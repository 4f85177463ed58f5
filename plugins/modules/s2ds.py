#!/usr/bin/python
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: s2ds
short_description: Run a native data server without a control server
version_added: 0.1.0
description:
  - Starts, points, stops and removes one instance of the native S2DS forwarder, with the lifecycle of the S2DS class.
  - No control server takes part. For streams between gateways use M(scistream.gateway.s2cs_request).
  - >-
    It forwards to any address, also to loopback, link-local and metadata addresses. Where this host has a policy,
    C(/etc/scistream/s2cs.json), users who became root and are no administrators of it may not listen at the ports that
    the policy keeps for sessions, and not forward to targets that it refuses.
  - New targets and clients apply to new connections, established connections go on.
author: SciStream gateway developers (@scistream)
requirements:
  - Python 3.8 or newer
  - The role P(scistream.gateway.s2ds#role)
extends_documentation_fragment:
  - scistream.gateway._s2ds
options:
  name:
    description: Name of the instance, 1 to 40 lower-case letters, digits and dashes.
    type: str
    required: true
  state:
    description:
      - V(started) runs it as it is described, and changes what runs if need be.
      - V(stopped) ends it and keeps its ports and its configuration for the next start.
      - V(absent) ends it and removes everything that it had.
    type: str
    choices: [started, stopped, absent]
    default: started
  listeners:
    description:
      - Where it listens, as V(address:port) or V([IPv6 address]:port).
      - With port 0 a free port is chosen, within O(port_range) if that is given, and kept until O(state=absent).
      - Needed for O(state=started).
    type: list
    elements: str
  targets:
    description:
      - Where it forwards to; the listeners are dealt out to the targets in turn, so there are at most as many.
      - Without targets it listens and refuses every connection.
    type: list
    elements: str
    default: []
  clients:
    description: Addresses or networks that may connect. Empty for anyone.
    type: list
    elements: str
    default: []
  egress:
    description: Source address of the connections to the targets. Left out, the kernel chooses.
    type: str
  rate:
    description: Limit for the whole instance in each direction in bits per second, such as V(10Gbit).
    type: str
  port_range:
    description: First and last port of those that may be chosen.
    type: list
    elements: int
  settings:
    description:
      - Settings of the forwarder, such as C(pipe_size) in bytes, C(workers) or C(max_connections).
    type: dict
    default: {}
  state_dir:
    description:
      - Directory in which the instance keeps its files.
      - Units of systemd know one such directory only; another one takes O(supervisor=process).
      - For root, it and the directories on its path must belong to root, and nobody else may write them.
    type: path
    default: /var/lib/scistream
  program_dir:
    description:
      - Directory in which the roles installed the programs.
      - For root, they and the directories on their path must belong to root, and nobody else may write them.
    type: path
    default: /usr/local/lib/scistream
  supervisor:
    description:
      - What keeps it running. V(auto) uses systemd when running as root on a systemd host, otherwise the collection's
        own supervisor.
    type: str
    choices: [auto, systemd, process]
    default: auto
  dedicated_user:
    description:
      - Whether it runs as an unprivileged user of its own, where this module runs as root.
      - Units of systemd always do; V(false) takes O(supervisor=process).
    type: bool
    default: true
seealso:
  - module: scistream.gateway.s2cs_request
"""

EXAMPLES = r"""
- name: Make a key and a certificate for each of the two gateways
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
      - -subj=/CN={{ item }}.example.org
      - -addext=subjectAltName=DNS:{{ item }}.example.org
      - -addext=basicConstraints=critical,CA:FALSE
      - -addext=extendedKeyUsage=serverAuth,clientAuth
      - -keyout={{ item }}.key
      - -out={{ item }}.crt
    creates: "{{ item }}.crt"
  loop: [producer, consumer]
  delegate_to: localhost

- name: Forward a port of a gateway to an instrument, for the other gateway alone
  scistream.gateway.s2ds:
    name: camera
    listeners: ["192.0.2.1:0"]
    port_range: [5300, 5400]
    targets: ["10.1.0.5:7000"]
    clients: [198.51.100.0/24]
    role: producer
    certificate: "{{ lookup('ansible.builtin.file', 'producer.crt') }}"
    key: "{{ lookup('ansible.builtin.file', 'producer.key') }}"
    peer_certificate: "{{ lookup('ansible.builtin.file', 'consumer.crt') }}"
  delegate_to: gw-aps
  register: camera

- name: Show the port that was chosen
  ansible.builtin.debug:
    msg: "{{ camera.s2ds.listeners }}"

- name: Remove it again
  scistream.gateway.s2ds:
    name: camera
    state: absent
  delegate_to: gw-aps
"""

RETURN = r"""
s2ds:
  description: The instance after the call.
  returned: success
  type: dict
  contains:
    name:
      description: Name of the instance.
      returned: always
      type: str
      sample: s2ds-camera
    state:
      description: One of V(started), V(stopped) and V(absent).
      returned: always
      type: str
      sample: started
    running:
      description: Whether it answers.
      returned: always
      type: bool
      sample: true
    listeners:
      description: Where it listens, with the ports that were chosen.
      returned: if it is not absent
      type: list
      elements: str
      sample: ["192.0.2.1:5100"]
    targets:
      description: Where it forwards to.
      returned: if it is not absent
      type: list
      elements: str
      sample: ["10.1.0.5:7000"]
    clients:
      description: Networks that may connect.
      returned: if it is not absent
      type: list
      elements: str
      sample: ["198.51.100.0/24"]
    egress:
      description: Source address of its connections, or null.
      returned: if it is not absent
      type: str
      sample: 10.1.0.1
    rate:
      description: Limit in bits per second, or null.
      returned: if it is not absent
      type: int
      sample: 10000000000
    encryption:
      description: How the connection between the gateways is protected.
      returned: if it is not absent
      type: str
      sample: tls
    certificate:
      description: Its own certificate, or null.
      returned: if it is not absent
      type: str
      sample: "-----BEGIN CERTIFICATE-----..."
    peer_certificate:
      description: The one certificate that is accepted from the other side, or null.
      returned: if it is not absent
      type: str
      sample: "-----BEGIN CERTIFICATE-----..."
    counters:
      description:
        - Its counters, as M(scistream.gateway.s2cs_info) describes them, also if it does not run;
          null if nothing is known.
      returned: if it is not absent
      type: dict
      sample:
        since: 1769860800.0
        restarts: 0
        connections: {open: 1, total: 1, refused: 0, failed: 0}
        bytes: {to_consumer: 0, to_producer: 0}
        last_byte: 1769864400.5
        exact: true
    health:
      description: V(ok), V(down), V(silent) or V(unknown), as in M(scistream.gateway.s2cs_info).
      returned: if it is not absent
      type: str
      sample: ok
    reason:
      description: Why it is not well; empty if it is.
      returned: if it is not absent
      type: str
      sample: ""
    log:
      description: Last lines of its log, if it should run and does not.
      returned: if it is not absent
      type: list
      elements: str
      sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_path
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import host_policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import places
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import SUPERVISORS, Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.options import INSTANCE_OPTIONS, read_instance
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.registry import data_server
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.standalone import STATES, Standalone


def main() -> None:
    """Bring one instance to the wanted state."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": list(STATES), "default": "started"},
            "listeners": {"type": "list", "elements": "str"},
            **INSTANCE_OPTIONS,
            "settings": {"type": "dict", "default": {}},
            "state_dir": {"type": "path", "default": "/var/lib/scistream"},
            "program_dir": {"type": "path", "default": "/usr/local/lib/scistream"},
            "supervisor": {"type": "str", "choices": list(SUPERVISORS), "default": "auto"},
            "dedicated_user": {"type": "bool", "default": True},
        },
        required_if=[("state", "started", ["listeners"])],
        supports_check_mode=True,
    )
    params = module.params
    try:
        wanted = read_instance("s2ds", params)
        if params["state"] == "started" and not wanted.listeners:
            raise ValueRefused("listeners", params["listeners"], "name at least one")
        if params["state"] == "started":
            host_policy.check_instance(wanted)
        site = Layout(
            check_path("state_dir", params["state_dir"]),
            check_path("program_dir", params["program_dir"]),
            supervisor=params["supervisor"],
            dedicated_users=params["dedicated_user"],
        )
        places.check(site)
        server = data_server(site, "s2ds", "process", params["settings"], wanted)
        instance = Standalone(server, module.check_mode)
        before = instance.look()
        changed = instance.ensure(params["state"])
        after = instance.expect(params["state"]) if module.check_mode and changed else instance.look()
    except ScistreamError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"the files of the data server cannot be used: {error}")
    module.exit_json(changed=changed, s2ds=after, diff={"before": before, "after": after})


if __name__ == "__main__":
    main()
