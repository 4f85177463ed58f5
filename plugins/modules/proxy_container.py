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
  - Starts, points, stops and removes one proxy in a container of a Docker engine, with the lifecycle of ProxyContainer.
  - No control server takes part. For streams between gateways use M(scistream.gateway.s2cs_request).
  - >-
    It forwards to any address. Where the host that this runs on has a policy, C(/etc/scistream/s2cs.json), users who
    became root and are no administrators of it are held to its ports and targets, as by M(scistream.gateway.s2ds).
  - New targets and clients apply to new connections, established connections go on.
  - >-
    A gateway on which Python cannot run is reached from the control node. Delegate the task to C(localhost) and give an
    engine C(ssh://user@gateway); everything that is known of the instance is then kept on that engine.
author: SciStream gateway developers (@scistream)
requirements:
  - Python 3.8 or newer
  - Docker SDK for Python, which the role P(scistream.gateway.docker#role) installs
  - paramiko for an engine C(ssh://)
  - Jinja2 for any proxy but V(s2ds)
notes:
  - >-
    An engine C(ssh://) is reached with the settings of the user's C(~/.ssh/config) and keys. The gateway's key must
    be in C(~/.ssh/known_hosts).
  - Who may use a Docker engine is root on its host. An engine C(tcp://) is not protected at all by this module.
  - >-
    Tasks on one host that share a O(state_dir) are kept apart by a lock. Where the engine keeps what is known of an
    instance, as for an engine C(ssh://), there is no such lock. Do not manage the same instance from two tasks at once.
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
      - V(stopped) removes its container and keeps its configuration for the next start.
      - V(absent) ends it and removes everything that it had.
    type: str
    choices: [started, stopped, absent]
    default: started
  proxy:
    description: What forwards.
    type: str
    choices: [haproxy, nginx, s2ds, stunnel]
    default: haproxy
  runtime:
    description:
      - V(docker) mounts the instance's directory of this host into the container, so the engine must be this host's.
      - >-
        V(dockersock) sends the configuration through the engine, from inside of a container with the engine's socket or
        from another host.
      - Left out, it is V(docker) for an engine C(unix://) and V(dockersock) for others.
    type: str
    choices: [docker, dockersock]
  engine:
    description: Address of the engine, as C(unix:///path), C(tcp://host:port) or C(ssh://user@host).
    type: str
    default: unix:///var/run/docker.sock
  image:
    description:
      - The image, with a tag or a digest. It needs the proxy in its search path, and a shell.
      - Left out, it is the proxy's official image where there is one.
    type: str
  helper_image:
    description:
      - Image with Python of the helper by which O(runtime=dockersock) looks at the proxy.
      - Left out, it is the image of the data server V(s2ds).
    type: str
  pull:
    description: Whether the engine may pull an image that it does not have.
    type: str
    choices: [never, missing]
    default: never
  listeners:
    description:
      - Where it listens, as V(address:port) or V([IPv6 address]:port), on the host of the engine.
      - With port 0 the proxy V(s2ds) chooses a free port, within O(port_range) if that is given, and keeps it.
      - Needed for O(state=started).
    type: list
    elements: str
  targets:
    description:
      - Where it forwards to; the listeners are dealt out to the targets in turn, so there are at most as many.
      - Any proxy but V(s2ds) needs at least one to be started.
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
    description: Limit for the whole instance in each direction in bits per second, for the proxy V(s2ds).
    type: str
  port_range:
    description: First and last port of those that may be chosen.
    type: list
    elements: int
  transport:
    description: What it forwards; datagrams by the proxy V(nginx).
    type: str
    choices: [tcp, udp, both]
    default: tcp
  settings:
    description:
      - Settings of the proxy and of its container, as the policy has them for each proxy.
      - >-
        Those of the container are C(memory) in MiB, C(pids), C(nofile), C(run_size) in MiB, C(log_size) in MiB,
        C(log_files), and C(container_user), the number of the user and the group that it runs as.
    type: dict
    default: {}
  state_dir:
    description:
      - Directory in which the instance keeps its files.
      - Left out, it is C(/var/lib/scistream) for O(runtime=docker), and for V(dockersock) the engine keeps them.
      - For root, it and the directories on its path must belong to root, and nobody else may write them.
    type: path
  template:
    description:
      - Text of the template of the proxy's configuration.
      - Left out, it is the one that this collection has.
    type: str
seealso:
  - module: scistream.gateway.s2ds
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

- name: Remove it again
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

- name: Remove that as well
  scistream.gateway.proxy_container:
    name: detector
    engine: ssh://ops@gw-aps.example.org
    state: absent
  delegate_to: localhost
"""

RETURN = r"""
proxy_container:
  description: The instance after the call.
  returned: success
  type: dict
  contains:
    name:
      description: Name of the instance.
      returned: always
      type: str
      sample: proxy-camera
    container:
      description: Name of its container.
      returned: always
      type: str
      sample: scistream-proxy-camera-1c9a5f0e
    proxy:
      description: What forwards.
      returned: always
      type: str
      sample: haproxy
    runtime:
      description: How the container is made.
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

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES, RUNTIMES
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import host_policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.options import INSTANCE_OPTIONS, read_instance
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.standalone import STATES
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.standalone_container import StandaloneContainer

_IN_IMAGES = sorted(name for name, proxy in PROXIES.items() if proxy.image)


def main() -> None:
    """Bring one instance to the wanted state."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": list(STATES), "default": "started"},
            "proxy": {
                "type": "str",
                "choices": sorted(name for name in PROXIES if PROXIES[name].image),
                "default": "haproxy",
            },
            "runtime": {"type": "str", "choices": [name for name in RUNTIMES if RUNTIMES[name].engine]},
            "engine": {"type": "str", "default": "unix:///var/run/docker.sock"},
            "image": {"type": "str"},
            "helper_image": {"type": "str"},
            "pull": {"type": "str", "choices": ["never", "missing"], "default": "never"},
            "listeners": {"type": "list", "elements": "str"},
            **INSTANCE_OPTIONS,
            "transport": {"type": "str", "choices": ["tcp", "udp", "both"], "default": "tcp"},
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
            host_policy.check_instance(read_instance("proxy", params))
        with StandaloneContainer(params, module.check_mode, module.tmpdir) as instance:
            before = instance.look()
            changed = instance.ensure()
            after = instance.expect() if module.check_mode and changed else instance.look()
    except ScistreamError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"the files of the data server cannot be used: {error}")
    module.exit_json(changed=changed, proxy_container=after, diff={"before": before, "after": after})


if __name__ == "__main__":
    main()
