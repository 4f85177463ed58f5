#!/usr/bin/python
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxy_container
short_description: Run a data server in a container without a control server
version_added: 0.1.0
description:
  - Starts, updates, stops and removes a proxy in a Docker container, with the lifecycle of ProxyContainer.
  - It does not use a control server. For streams between gateways, use M(scistream.gateway.s2cs_request).
  - >-
    It can forward to any address. If the host that runs the module has a policy (C(/etc/scistream/s2cs.json)), users
    who became root and are not its administrators are restricted as described for M(scistream.gateway.s2ds).
  - New targets and clients apply to new connections. Established connections are kept.
  - >-
    To manage a gateway without Python, delegate the task to C(localhost) and set O(engine) to C(ssh://user@gateway).
    The state of the data server is then stored on that engine.
author: SciStream gateway developers (@scistream)
requirements:
  - Python 3.8 or newer
  - Docker SDK for Python, as installed by the role P(scistream.gateway.docker#role)
  - paramiko for an C(ssh://) engine
  - Jinja2 for all proxies except V(s2ds)
notes:
  - >-
    Connections to an C(ssh://) engine use the user's C(~/.ssh/config) and keys. The host key of the gateway must be in
    C(~/.ssh/known_hosts).
  - Anyone who can use a Docker engine is root on its host. Connections to a C(tcp://) engine are not protected.
  - >-
    Concurrent tasks on one host that share a O(state_dir) are serialized by a lock. If the engine stores the state, as
    with an C(ssh://) engine, there is no such lock. Do not manage the same data server from two tasks at once.
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
      - V(stopped) removes its container and keeps its configuration for the next start.
      - V(absent) stops it and removes all its files.
    type: str
    choices: [started, stopped, absent]
    default: started
  proxy:
    description: Proxy that forwards.
    type: str
    choices: [haproxy, nginx, s2ds, stunnel]
    default: haproxy
  runtime:
    description:
      - V(docker) mounts a directory of this host into the container, so the engine must run on this host.
      - >-
        V(dockersock) sends the configuration through the engine, from a container with access to the engine's socket or
        from another host.
      - If omitted, V(docker) is used for a C(unix://) engine and V(dockersock) for others.
    type: str
    choices: [docker, dockersock]
  engine:
    description: Address of the engine, as C(unix:///path), C(tcp://host:port) or C(ssh://user@host).
    type: str
    default: unix:///var/run/docker.sock
  image:
    description:
      - The image, with a tag or a digest. It must contain a shell, and the proxy in its search path.
      - If omitted, the official image of the proxy is used, if there is one.
    type: str
  helper_image:
    description:
      - Image with Python for the helper that O(runtime=dockersock) uses to observe the proxy.
      - If omitted, the image of the proxy V(s2ds) is used.
    type: str
  pull:
    description: Whether the engine may pull a missing image.
    type: str
    choices: [never, missing]
    default: never
  listeners:
    description:
      - Addresses on which it listens, as V(address:port) or V([IPv6 address]:port), on the host of the engine.
      - With port 0, the proxy V(s2ds) chooses a free port, within O(port_range) if specified, and keeps it.
      - Required for O(state=started).
    type: list
    elements: str
  targets:
    description:
      - Addresses to which it forwards. They are assigned to the listeners in turn, so there can be at most as many.
      - All proxies except V(s2ds) require at least one target to start.
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
    description: Limit in each direction for all connections together, in bits per second. Refused for V(stunnel).
    type: str
  port_range:
    description: First and last port of the range from which free ports are chosen.
    type: list
    elements: int
  transport:
    description: Transport protocol that is forwarded. V(udp) and V(both) require the proxy V(nginx).
    type: str
    choices: [tcp, udp, both]
    default: tcp
  settings:
    description:
      - Settings of the proxy and of its container, as in the policy.
      - >-
        Settings of the container are C(memory) in MiB, C(pids), C(nofile), C(run_size) in MiB, C(log_size) in MiB,
        C(log_files), and C(container_user), the numeric ID of its user and group.
    type: dict
    default: {}
  state_dir:
    description:
      - Directory of the data server's files.
      - If omitted, C(/var/lib/scistream) for O(runtime=docker). For O(runtime=dockersock), the engine stores them.
      - For root, it and all directories in its path must be owned by root and not be writable by others.
    type: path
  template:
    description:
      - Text of the template of the proxy's configuration.
      - If omitted, the template of this collection is used.
    type: str
seealso:
  - module: scistream.gateway.s2ds
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

- name: Forward a port of a gateway to an instrument with HAProxy in a container
  scistream.gateway.proxy_container:
    name: camera
    listeners: ["192.0.2.1:5300"]
    targets: ["10.1.0.5:7000"]
    clients: [198.51.100.0/24]
    role: producer
    certificate: "{{ lookup('ansible.builtin.file', 'producer.crt') }}"
    key: "{{ lookup('ansible.builtin.file', 'producer.key') }}"
    peer_certificate: "{{ lookup('ansible.builtin.file', 'consumer.crt') }}"
  delegate_to: gw-aps

- name: Remove the data server
  scistream.gateway.proxy_container:
    name: camera
    state: absent
  delegate_to: gw-aps

- name: Forward without encryption on a gateway that has no Python
  scistream.gateway.proxy_container:
    name: detector
    engine: ssh://ops@gw-aps.example.org
    listeners: ["192.0.2.1:5301"]
    targets: ["10.1.0.5:7001"]
    encryption: none
  delegate_to: localhost

- name: Remove the data server on that gateway
  scistream.gateway.proxy_container:
    name: detector
    engine: ssh://ops@gw-aps.example.org
    state: absent
  delegate_to: localhost
"""

RETURN = r"""
proxy_container:
  description: The data server after the call.
  returned: success
  type: dict
  contains:
    name:
      description: Name of the data server.
      returned: always
      type: str
      sample: proxy-camera
    container:
      description: Name of its container.
      returned: always
      type: str
      sample: scistream-proxy-camera-1c9a5f0e
    proxy:
      description: Proxy that forwards.
      returned: always
      type: str
      sample: haproxy
    runtime:
      description: Runtime of the container, V(docker) or V(dockersock).
      returned: always
      type: str
      sample: docker
    engine:
      description: Address of the engine.
      returned: always
      type: str
      sample: unix:///var/run/docker.sock
    image:
      description: The image.
      returned: always
      type: str
      sample: haproxy:2.6-bookworm
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
      sample: ["[ALERT] (1) : Binding [haproxy.cfg:20] for frontend listener0: cannot bind socket [192.0.2.1:5100]"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES, RUNTIMES
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import TRANSPORTS
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import host_policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.options import SPEC_OPTIONS, read_spec
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.standalone import STATES
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.standalone_container import StandaloneContainer

_IN_IMAGES = sorted(name for name, proxy in PROXIES.items() if proxy.image)


def main() -> None:
    """Ensure the state of one data server."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": list(STATES), "default": "started"},
            "proxy": {
                "type": "str",
                "choices": _IN_IMAGES,
                "default": "haproxy",
            },
            "runtime": {"type": "str", "choices": [name for name in RUNTIMES if RUNTIMES[name].engine]},
            "engine": {"type": "str", "default": "unix:///var/run/docker.sock"},
            "image": {"type": "str"},
            "helper_image": {"type": "str"},
            "pull": {"type": "str", "choices": ["never", "missing"], "default": "never"},
            "listeners": {"type": "list", "elements": "str"},
            **SPEC_OPTIONS,
            "transport": {"type": "str", "choices": list(TRANSPORTS), "default": "tcp"},
            "settings": {"type": "dict", "default": {}},
            "state_dir": {"type": "path"},
            "template": {"type": "str"},
        },
        required_if=[("state", "started", ["listeners"])],
        supports_check_mode=True,
    )
    params = module.params
    try:
        if params["state"] == "started":
            host_policy.check_spec(read_spec("proxy", params))
        with StandaloneContainer(params, module.check_mode, module.tmpdir) as standalone:
            before = standalone.describe()
            changed = standalone.ensure()
            after = standalone.predict() if module.check_mode and changed else standalone.describe()
    except ScistreamError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"the files of the data server cannot be used: {error}")
    module.exit_json(changed=changed, proxy_container=after, diff={"before": before, "after": after})


if __name__ == "__main__":
    main()
