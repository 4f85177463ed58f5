#!/usr/bin/python
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: s2cs_info
short_description: Gather information about the sessions and the policy of this gateway
version_added: 0.1.0
description:
  - Returns each session with the observed state of its data server, and the current policy with the ports in use.
  - Expired sessions are listed until the service, the timer or the next action on the gateway releases them.
  - With an invalid policy, all sessions are still returned. See RV(policy_problems).
  - A data server that does not respond does not delay the others. The timeout for all together is ten seconds.
author: SciStream gateway developers (@scistream)
extends_documentation_fragment:
  - scistream.gateway._attributes
  - scistream.gateway._attributes.s2cs
  - scistream.gateway._s2cs
options:
  uid:
    description: UUID of a stream. If omitted, all sessions are returned.
    type: str
  role:
    description: Side of the streams. If omitted, both sides are returned.
    type: str
    choices: [producer, consumer]
  samples:
    description:
      - Number of further samples of the counters of sessions with open connections, for the calculation of rates. See
        RV(sessions[].samples). At most 100, and the call must not take longer than 10 seconds.
      - If no session has open connections, the module does not wait.
    type: int
    default: 0
    version_added: 0.2.0
  interval:
    description: Number of seconds between two samples, from 0.1 to 10.
    type: float
    default: 1.0
    version_added: 0.2.0
  secret:
    description:
      - Ignored.
      - It is accepted so that C(module_defaults) of the group C(scistream.gateway.s2cs) can set it for other modules.
    type: str
attributes:
  check_mode:
    support: full
    description: This module does not modify state.
  diff_mode:
    support: N/A
    description: This module does not modify state.
  idempotent:
    support: full
    description: This module does not modify state.
seealso:
  - module: scistream.gateway.s2cs_request
"""

EXAMPLES = r"""
- name: Get all sessions of a gateway
  scistream.gateway.s2cs_info:
  delegate_to: gw-aps
  register: info

- name: Fail if a data server is not running
  ansible.builtin.assert:
    that: item.running
    fail_msg: "{{ item.uid }} ({{ item.role }}): {{ item.log | join('; ') }}"
  loop: "{{ info.sessions | selectattr('state', 'eq', 'streaming') }}"
  loop_control:
    label: "{{ item.uid }} ({{ item.role }})"

- name: Get all sessions with their counters, and two seconds later once more
  scistream.gateway.s2cs_info:
    samples: 1
    interval: 2
  delegate_to: gw-aps
  register: measured

- name: Show the bytes that each session transfers to its consumer per second
  ansible.builtin.debug:
    msg: "{{ (item.samples[-1].to_consumer - item.samples[0].to_consumer) // 2 }}"
  loop: "{{ measured.sessions | selectattr('samples') }}"
  loop_control:
    label: "{{ item.uid }} ({{ item.role }})"
"""

RETURN = r"""
sessions:
  description: Sessions with their current state. See M(scistream.gateway.s2cs_request) for their other contents.
  returned: success
  type: list
  elements: dict
  contains:
    running:
      description: Whether the data server is running and responding. It is not if it is stopped (C(SIGSTOP)) or frozen.
      returned: always
      type: bool
      sample: true
    health:
      description:
        - V(ok) if it is streaming and its data server responds, V(waiting) if it waits for its HELLO or UPDATE.
        - V(down) if its data server should be running but is not, V(silent) if it is running but not responding, for
          example because it was stopped or paused, V(unknown) if its state cannot be determined in time.
        - V(expired), V(busy) while an action is in progress, V(unfinished) if an action was killed before it finished.
      returned: always
      type: str
      sample: ok
    reason:
      description:
        - Explanation of a problem, and what happens next. Empty if there is none.
        - If another program uses the port of one of its listeners, this includes that program.
      returned: always
      type: str
      sample: ""
    counters:
      description:
        - Connections and bytes of this session. The counters continue across updates, restarts of the data server, and
          reboots of the gateway. Null if nothing is known.
        - C(to_consumer) is towards the side that connected, C(to_producer) towards the target.
        - If the data server is not running or not responding, the last known totals.
      returned: always
      type: dict
      contains:
        since:
          description: Time of the first start of the session's data server, in seconds since the epoch.
          returned: always
          type: float
          sample: 1769860800.0
        restarts:
          description: Number of restarts since then, for example after a crash or a reboot. Reloads do not count.
          returned: always
          type: int
          sample: 0
        connections:
          description:
            - Number of connections that are C(open), C(total) connections, C(refused) because the client is not allowed
              or did not present the right certificate, and C(failed) because the target could not be reached.
            - C(open) is null if the data server does not respond but may have connections.
          returned: always
          type: dict
          sample: {open: 1, total: 3, refused: 0, failed: 0}
        bytes:
          description: Bytes transferred in each direction, without the overhead of TLS.
          returned: always
          type: dict
          sample: {to_consumer: 1073741824, to_producer: 96}
        last_byte:
          description:
            - Time of the last transfer in either direction, in seconds since the epoch. Null if there was none.
            - If connections are open but nothing is transferred for a long time, one end may be gone or stuck.
            - Null for UDP while the peer is connected, and under Janus.
          returned: always
          type: float
          sample: 1769864400.5
        exact:
          description:
            - Whether C(connections) and C(bytes) are exact. If V(false), they are lower bounds, because a data server
              stopped while connections may have been open or does not respond, or its log was full or damaged.
          returned: always
          type: bool
          sample: true
    tls:
      description:
        - How the connections between the gateways are encrypted. Null if the session is not encrypted, or this is not
          known.
      returned: always
      type: dict
      version_added: 0.2.0
      contains:
        sending:
          description:
            - V(kernel) or V(user space), for the latest connection. Null if there has not been any, and with proxies
              other than C(s2ds).
          returned: always
          type: str
          sample: kernel
        receiving:
          description:
            - The same for what is received from the other gateway. Null in the same cases.
          returned: always
          type: str
          sample: user space
        suite:
          description:
            - Cipher suite of the latest connection. Null if there has not been any. With proxies other than C(s2ds),
              the one that their setting C(cipher) selects, or null.
          returned: always
          type: str
          sample: TLS_AES_256_GCM_SHA384
        reason:
          description:
            - Why. With the setting C(kernel_tls=auto) of C(s2ds), what is used in each direction and the costs that
              were measured, or why there are none.
          returned: always
          type: str
          sample: >-
            sending in the kernel (0.41 in the kernel, 0.86 in user space), receiving in user space (0.90 in the kernel,
            0.88 in user space), as measured on this host in CPU seconds for each GB
        with_one_key:
          description:
            - How many bytes of the busier direction of a connection one key has encrypted. The largest of all open
              connections, 0 for those whose keys are changed in time. With AES-GCM, TLS allows 389 GB.
          returned: always
          type: int
          sample: 1048576
    multipath:
      description:
        - The paths between the gateways. Null if the session does not use Multipath TCP, or its data server does not
          say.
      returned: always
      type: dict
      version_added: 0.2.0
      contains:
        paths:
          description:
            - Number of paths of the latest connection. V(0) if it is ordinary TCP, because the other gateway or the
              network does not have Multipath TCP. Null if there has not been any connection.
          returned: always
          type: int
          sample: 2
    path:
      description:
        - The two legs of the latest connection. Null before it, and if the data server does not say.
      returned: always
      type: dict
      version_added: 0.2.0
      contains:
        client:
          description: The leg from the client, which connects to this gateway. Null before the first connection.
          returned: always
          type: dict
          contains:
            rtt:
              description: Smallest round trip in milliseconds when it was opened. Null if it is not known.
              returned: always
              type: float
              sample: 0.125
            congestion:
              description: Congestion control of what this gateway sends to it.
              returned: always
              type: str
              sample: cubic
        target:
          description: The same for the leg to the target. Null before the first connection.
          returned: always
          type: dict
          contains:
            rtt:
              description: Smallest round trip in milliseconds when it was opened. Null if it is not known.
              returned: always
              type: float
              sample: 100.25
            congestion:
              description: Congestion control of what this gateway sends to it.
              returned: always
              type: str
              sample: bbr
    dialled:
      description:
        - The connections between the gateways that wait for applications. Null unless the session was requested with
          C(dial=producer), and if its data server does not say.
      returned: always
      type: dict
      version_added: 0.2.0
      contains:
        role:
          description: What this gateway does, V(waits) or V(dials).
          returned: always
          type: str
          sample: waits
        waiting:
          description: Number of connections that wait.
          returned: always
          type: int
          sample: 2
        without:
          description: Listeners of the consumer's gateway for which none waits, at most 16.
          returned: always
          type: list
          elements: str
          sample: []
        since:
          description:
            - When RV(ignore:without) became empty or not empty, in seconds since the epoch. Null if it has not yet.
          returned: always
          type: float
          sample: 1769864400.5
        error:
          description: Last error, or null.
          returned: always
          type: str
          sample:
    samples:
      description:
        - The bytes that were transferred at several times, in seconds since the epoch. The last one is part of
          RV(sessions[].counters).
        - There is only one if the session has no open connections, and none if it has no counters.
      returned: if O(samples) is not 0
      type: list
      elements: dict
      version_added: 0.2.0
      sample:
        - {time: 1769864400.5, to_consumer: 1073741824, to_producer: 96}
        - {time: 1769864401.5, to_consumer: 2147483648, to_producer: 96}
    log:
      description: Why a data server is not running or not responding. Otherwise the last lines of its log.
      returned: always
      type: list
      elements: str
      sample: ["2026-01-31T12:00:00.125Z s2ds 0.1.0 listens on 192.0.2.1:5100"]
policy_problems:
  description:
    - Errors in the policy. Until they are corrected, streams on this gateway cannot be opened or changed.
    - Sessions can still be listed and released.
  returned: success
  type: list
  elements: str
  sample: ["proxies.haproxy.settings: there is no \"thread\": did you mean threads?"]
unreadable:
  description: Rows of the session store that this version of the collection cannot read. They can be released.
  returned: success
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
    why:
      description: Error in the row.
      returned: always
      type: str
      sample: it is not JSON
orphans:
  description:
    - Data servers that have a directory but no session in the store, because the store was lost or replaced.
    - Administrators can remove them with M(scistream.gateway.s2cs_release) and the RV(ignore:uid).
  returned: success, or if the store is damaged, has another version, or cannot be used for another reason
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
    directory:
      description: Its directory.
      returned: always
      type: str
      sample: /var/lib/scistream/sessions/producer-1b4e28ba-2fa1-41d2-883f-0016d3cca427
    running:
      description: Whether processes are running in its directory.
      returned: always
      type: bool
      sample: true
    pids:
      description: IDs of these processes.
      returned: always
      type: list
      elements: int
      sample: [812, 813]
gateway:
  description:
    - Current policy and its usage.
    - A key with errors, as listed in RV(policy_problems), is null.
  returned: success
  type: dict
  contains:
    name:
      description: Name of the gateway.
      returned: always
      type: str
      sample: gw-aps
    config:
      description: Path of the policy.
      returned: always
      type: str
      sample: /etc/scistream/s2cs.json
    state_dir:
      description: Directory of the sessions.
      returned: always
      type: str
      sample: /var/lib/scistream
    supervisor:
      description: What runs data servers outside of containers, V(systemd) or V(process).
      returned: always
      type: str
      sample: systemd
    listen:
      description: Addresses of the listeners, by role.
      returned: always
      type: dict
      sample: {producer: 192.0.2.1, consumer: 10.1.0.1}
    egress:
      description: Source addresses of connections to targets, by role. The kernel selects those of other roles.
      returned: always
      type: dict
      sample: {consumer: 192.0.2.1}
    port_range:
      description: First and last port of the listeners.
      returned: always
      type: list
      elements: int
      sample: [5100, 5200]
    ports:
      description:
        - The C(total) number of ports on all addresses, how many are C(used) by sessions and C(free), and which are
          C(in_use), by address.
        - Other programs may use ports that are listed as free.
      returned: always
      type: dict
      sample: {total: 101, used: 1, free: 100, in_use: {192.0.2.1: [5100]}}
    proxies:
      description: Available proxies, each with its C(runtimes), C(encryptions) and C(transports).
      returned: always
      type: dict
      sample: {s2ds: {runtimes: [process], encryptions: [tls, none], transports: [tcp]}}
    default_proxy:
      description: Default proxy.
      returned: always
      type: str
      sample: s2ds
    default_runtime:
      description: Default runtime.
      returned: always
      type: str
      sample: process
    targets:
      description: Networks and ports that are allowed as targets, by role. Other roles are not restricted.
      returned: always
      type: dict
      sample: {producer: [10.1.0.0/16]}
    clients:
      description: Networks that may connect to listeners, by role. Other roles are not restricted.
      returned: always
      type: dict
      sample: {producer: [198.51.100.1/32]}
    encryption:
      description: Allowed encryptions.
      returned: always
      type: list
      elements: str
      sample: [tls, none]
    limits:
      description: Limits, in total and for each owner. Null means no limit.
      returned: always
      type: dict
      sample: {num_conn: 64, sessions: 256, lifetime: 604800, owner: {sessions: 128, num_conn: 64}}
    hello_timeout:
      description: Default number of seconds after which a session without HELLO expires.
      returned: always
      type: int
      sample: 180
    hello_timeout_max:
      description: Maximum value that a request can specify instead.
      returned: always
      type: int
      sample: 3600
    status_address:
      description: Address and port of the status page and the metrics. Null means none.
      returned: always
      type: str
      sample: 10.1.0.1:9464
      version_added: 0.2.0
    network:
      description: What the kernel of this gateway does for connections over long paths.
      returned: always
      type: dict
      version_added: 0.2.0
      contains:
        receive_buffer:
          description: Largest receive buffer of a connection in bytes (C(net.ipv4.tcp_rmem)). Null if it is not known.
          returned: always
          type: int
          sample: 33554432
        send_buffer:
          description: Largest send buffer of a connection in bytes (C(net.ipv4.tcp_wmem)). Null if it is not known.
          returned: always
          type: int
          sample: 4194304
        congestion:
          description: Default congestion control. Null if it is not known.
          returned: always
          type: str
          sample: cubic
        congestion_allowed:
          description: Congestion controls that programs without privileges may select.
          returned: always
          type: list
          elements: str
          sample: [reno, cubic]
        qdisc:
          description: Default queueing discipline. Null if it is not known, as in a network namespace.
          returned: always
          type: str
          sample: fq
        slow_start_after_idle:
          description: Whether a connection that was idle starts slowly again. Null if it is not known.
          returned: always
          type: bool
          sample: true
        links:
          description: Speeds of the links of the gateway by address, in bits per second, as far as they are known.
          returned: always
          type: dict
          sample: {192.0.2.1: 10000000000}
        carries:
          description:
            - About what one connection carries at round trips of 10, 50, 100 and 200 ms. The keys are those of
              RV(scistream.gateway.s2cs_request#module:session.carries), except for C(link).
          returned: always
          type: list
          elements: dict
          sample:
            - rtt: 100.0
              sending: 223696213
              sending_limit: net.ipv4.tcp_wmem
              receiving: 1342177280
              receiving_limit: net.ipv4.tcp_rmem
    versions:
      description: Versions of the C(collection) and of the C(python) that S2CS runs with.
      returned: always
      type: dict
      sample: {collection: 0.2.0-dev0, python: 3.11.2}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import options
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.action_module import CONFIG, finish
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.info_result import gather
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_module import call_service


def main() -> None:
    """Gather information about sessions and the gateway."""
    module = AnsibleModule(argument_spec={**CONFIG, **options.INFO.session}, supports_check_mode=True)
    result = call_service("info", module.params, options.INFO.session, check=False)
    finish(module, result or gather(module.params["config"], module.params))


if __name__ == "__main__":
    main()
