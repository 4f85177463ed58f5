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
  - Starts, updates, stops and removes a native S2DS forwarder, with the lifecycle of the S2DS class.
  - It does not use a control server. For streams between gateways, use M(scistream.gateway.s2cs_request).
  - >-
    It can forward to any address, including loopback, link-local and metadata addresses. If this host has a policy
    (C(/etc/scistream/s2cs.json)), users who became root and are not its administrators cannot listen on ports that the
    policy reserves for sessions, or forward to targets that the policy refuses.
  - New targets and clients apply to new connections. Established connections are kept.
author: SciStream gateway developers (@scistream)
requirements:
  - Python 3.8 or newer
  - The role P(scistream.gateway.s2ds#role)
extends_documentation_fragment:
  - scistream.gateway._attributes
  - scistream.gateway._attributes.s2ds
  - scistream.gateway._s2ds
options:
  name:
    description: Name of the data server, 1 to 40 lower-case letters, digits and dashes.
    type: str
    required: true
  state:
    description:
      - V(started) runs it as described, and changes a running one if necessary.
      - V(stopped) stops it and keeps its ports and its configuration for the next start.
      - V(absent) stops it and removes all its files.
    type: str
    choices: [started, stopped, absent]
    default: started
  listeners:
    description:
      - Addresses on which it listens, as V(address:port) or V([IPv6 address]:port).
      - With port 0, a free port is chosen, within O(port_range) if specified, and kept until O(state=absent).
      - Required for O(state=started).
    type: list
    elements: str
  targets:
    description:
      - Addresses to which it forwards. They are assigned to the listeners in turn, so there can be at most as many.
      - Without targets, it listens and refuses all connections.
    type: list
    elements: str
    default: []
  clients:
    description: Addresses or networks that may connect. If empty, anyone may connect.
    type: list
    elements: str
    default: []
  egress:
    description: Source address of connections to the targets. If omitted, the kernel selects it.
    type: str
  rate:
    description: Limit in each direction for all connections together, in bits per second, such as V(10Gbit).
    type: str
  port_range:
    description: First and last port of the range from which free ports are chosen.
    type: list
    elements: int
  settings:
    description:
      - Settings of the forwarder, such as C(pipe_size) in bytes, C(workers) or C(max_connections).
    type: dict
    default: {}
  state_dir:
    description:
      - Directory of the data server's files.
      - Systemd units only support the default. Other directories require O(supervisor=process).
      - For root, it and all directories in its path must be owned by root and not be writable by others.
    type: path
    default: /var/lib/scistream
  program_dir:
    description:
      - Directory in which the roles installed the programs.
      - For root, they and all directories in their path must be owned by root and not be writable by others.
    type: path
    default: /usr/local/lib/scistream
  supervisor:
    description:
      - What keeps it running.
      - V(auto) uses systemd when running as root on a systemd host, otherwise the collection's
        own supervisor.
    type: str
    choices: [auto, systemd, process]
    default: auto
  dedicated_user:
    description:
      - Whether it runs as a separate unprivileged user if this module runs as root.
      - Systemd units always do. V(false) requires O(supervisor=process).
    type: bool
    default: true
seealso:
  - module: scistream.gateway.s2cs_request
"""

EXAMPLES = r"""
- name: Create a key and a certificate for each of the two gateways
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

- name: Forward a port of a gateway to an instrument, for the other gateway only
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

- name: Remove the data server
  scistream.gateway.s2ds:
    name: camera
    state: absent
  delegate_to: gw-aps
"""

RETURN = r"""
s2ds:
  description: The data server after the call.
  returned: success
  type: dict
  contains:
    name:
      description: Name of the data server.
      returned: always
      type: str
      sample: s2ds-camera
    state:
      description: One of V(started), V(stopped) and V(absent).
      returned: always
      type: str
      sample: started
    running:
      description: Whether it is running and responding.
      returned: always
      type: bool
      sample: true
    listeners:
      description: Addresses on which it listens, with the ports that were chosen.
      returned: if O(state) is not V(absent)
      type: list
      elements: str
      sample: ["192.0.2.1:5100"]
    targets:
      description: Addresses to which it forwards.
      returned: if O(state) is not V(absent)
      type: list
      elements: str
      sample: ["10.1.0.5:7000"]
    clients:
      description: Networks that may connect.
      returned: if O(state) is not V(absent)
      type: list
      elements: str
      sample: ["198.51.100.0/24"]
    egress:
      description: Source address of connections to the targets, or null.
      returned: if O(state) is not V(absent)
      type: str
      sample: 10.1.0.1
    rate:
      description: Limit in bits per second, or null.
      returned: if O(state) is not V(absent)
      type: int
      sample: 10000000000
    encryption:
      description: Protection of the connection between the gateways.
      returned: if O(state) is not V(absent)
      type: str
      sample: tls
    certificate:
      description: Certificate of this side, or null.
      returned: if O(state) is not V(absent)
      type: str
      sample: "-----BEGIN CERTIFICATE-----..."
    peer_certificate:
      description: The only certificate that is accepted from the other side, or null.
      returned: if O(state) is not V(absent)
      type: str
      sample: "-----BEGIN CERTIFICATE-----..."
    counters:
      description:
        - Its counters, including when it is not running. Null if nothing is known.
        - See M(scistream.gateway.s2cs_info) for their contents.
      returned: if O(state) is not V(absent)
      type: dict
      sample:
        since: 1769860800.0
        restarts: 0
        connections: {open: 1, total: 1, refused: 0, failed: 0}
        bytes: {to_consumer: 0, to_producer: 0}
        last_byte: 1769864400.5
        exact: true
    tls:
      description:
        - Whether the kernel of the gateway or the data server itself encrypts, as in M(scistream.gateway.s2cs_info).
          Null if the data server is not encrypted or does not say.
      returned: if O(state) is not V(absent)
      type: dict
      version_added: 0.2.0
      sample:
        sending: kernel
        receiving: user space
        suite: TLS_AES_256_GCM_SHA384
        reason: kernel_tls is true
        with_one_key: 1048576
    multipath:
      description:
        - The paths of the latest connection, as in M(scistream.gateway.s2cs_info). Null if the data server does not use
          Multipath TCP or does not say.
      returned: if O(state) is not V(absent)
      type: dict
      version_added: 0.2.0
      sample: {paths: 2}
    path:
      description:
        - The legs of the latest connection, as in M(scistream.gateway.s2cs_info). Null if the data server does not say.
      returned: if O(state) is not V(absent)
      type: dict
      version_added: 0.2.0
      sample:
        client: {rtt: 0.125, congestion: cubic}
        target: {rtt: 100.25, congestion: bbr}
    health:
      description: V(ok), V(down), V(silent) or V(unknown), as in M(scistream.gateway.s2cs_info).
      returned: if O(state) is not V(absent)
      type: str
      sample: ok
    reason:
      description: Explanation of a problem. Empty if there is none.
      returned: if O(state) is not V(absent)
      type: str
      sample: ""
    log:
      description: Last lines of its log, if it should be running but is not.
      returned: if O(state) is not V(absent)
      type: list
      elements: str
      sample: ["2026-01-31T12:00:00.125Z s2ds 0.1.0 listens on 192.0.2.1:5100", "2026-01-31T12:04:10.530Z s2ds stopped"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_path
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import host_policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import trusted_paths
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.factory import data_server
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import SUPERVISORS, Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.options import SPEC_OPTIONS, read_spec
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.standalone import STATES, Standalone


def main() -> None:
    """Ensure the state of one data server."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": list(STATES), "default": "started"},
            "listeners": {"type": "list", "elements": "str"},
            **SPEC_OPTIONS,
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
        wanted = read_spec("s2ds", params)
        if params["state"] == "started" and not wanted.listeners:
            raise ValueRefused("listeners", params["listeners"], "must contain at least one")
        if params["state"] == "started":
            host_policy.check_spec(wanted)
        layout = Layout(
            check_path("state_dir", params["state_dir"]),
            check_path("program_dir", params["program_dir"]),
            supervisor=params["supervisor"],
            dedicated_users=params["dedicated_user"],
        )
        trusted_paths.check_layout(layout)
        server = data_server(layout, "s2ds", "process", params["settings"], wanted)
        standalone = Standalone(server, module.check_mode)
        before = standalone.describe()
        changed = standalone.ensure(params["state"])
        after = standalone.predict(params["state"]) if module.check_mode and changed else standalone.describe()
    except ScistreamError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"the files of the data server cannot be used: {error}")
    module.exit_json(changed=changed, s2ds=after, diff={"before": before, "after": after})


if __name__ == "__main__":
    main()
