#!/usr/bin/python
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: s2cs_info
short_description: Show the sessions of this gateway and what it offers
version_added: 0.1.0
description:
  - Shows each session with what is really seen of its data server, and the policy in force with the ports in use.
  - Sessions that expired are listed until the next action releases what they held.
  - With a policy in which something is wrong it still shows all sessions; see RV(policy_problems).
  - One data server that does not answer holds up no other; all together are waited for no longer than ten seconds.
author: SciStream gateway developers (@scistream)
extends_documentation_fragment:
  - scistream.gateway._s2cs
options:
  uid:
    description: UUID of a stream. If omitted, all sessions are shown.
    type: str
  role:
    description: Side of the streams to show. If omitted, both sides are shown.
    type: str
    choices: [producer, consumer]
  secret:
    description:
      - Not needed, and not used.
      - It is accepted so that C(module_defaults) of the group C(scistream.gateway.s2cs) may hold it for other modules.
    type: str
attributes:
  check_mode:
    support: full
    description: Nothing is ever changed.
  diff_mode:
    support: N/A
    description: Nothing is ever changed.
  idempotent:
    support: full
    description: Nothing is ever changed.
seealso:
  - module: scistream.gateway.s2cs_request
"""

EXAMPLES = r"""
- name: Look at all sessions of a gateway
  scistream.gateway.s2cs_info:
  delegate_to: gw-aps
  register: info

- name: Complain about data servers that do not run
  ansible.builtin.assert:
    that: item.running
    fail_msg: "{{ item.uid }} ({{ item.role }}): {{ item.log | join('; ') }}"
  loop: "{{ info.sessions | selectattr('state', 'eq', 'streaming') }}"
  loop_control:
    label: "{{ item.uid }} ({{ item.role }})"
"""

RETURN = r"""
sessions:
  description: The sessions, each as M(scistream.gateway.s2cs_request) describes it, with what is seen of it now.
  returned: success
  type: list
  elements: dict
  contains:
    running:
      description: Whether the data server runs and answers. One that is stopped (C(SIGSTOP)) or frozen does not.
      returned: always
      type: bool
      sample: true
    health:
      description:
        - V(ok) if it streams and its data server answers, V(waiting) if it waits for its HELLO or UPDATE.
        - V(down) if its data server should run and does not, V(silent) if that runs and does not answer, for example
          because it was stopped or paused, V(unknown) if it cannot be looked at or does not answer in time.
        - V(expired), V(busy) while an action is under way on it, V(unfinished) if an action was killed in the middle.
      returned: always
      type: str
      sample: ok
    reason:
      description:
        - Why it is not well, and what happens next; empty if it is.
        - If another program has taken one of its listeners, that program.
      returned: always
      type: str
      sample: ""
    counters:
      description:
        - What the data server has counted for this session, in connections and bytes. The counters go on through every
          update, and through every restart of the data server and of the gateway.
        - C(to_consumer) is towards the side that connected, C(to_producer) towards the target.
        - Of a data server that does not run or does not answer, what is known of its totals.
      returned: always, null if nothing is known
      type: dict
      contains:
        since:
          description: When the session's data server was started for the first time, in seconds since the epoch.
          returned: always
          type: float
          sample: 1769860800.0
        restarts:
          description: How often it was started again since, after a crash or a reboot for example. A reload is none.
          returned: always
          type: int
          sample: 0
        connections:
          description:
            - C(open) now, C(total) so far, C(refused) because the client is not allowed or did not show the right
              certificate, and C(failed) because the target could not be reached.
            - C(open) is null if the data server does not answer and may have connections all the same.
          returned: always
          type: dict
          sample: {open: 1, total: 3, refused: 0, failed: 0}
        bytes:
          description: Bytes that passed in each direction, without what TLS adds.
          returned: always
          type: dict
          sample: {to_consumer: 1073741824, to_producer: 96}
        last_byte:
          description:
            - When a byte last moved in either direction, in seconds since the epoch; null if none ever did.
            - With connections open and no byte for long, one end may be gone or stuck.
            - It is null for UDP as long as the peer is connected, and under Janus.
          returned: always
          type: float
          sample: 1769864400.5
        exact:
          description:
            - Whether C(connections) and C(bytes) are exact. If V(false), they are a lower bound, because a data server
              ended while connections may have been open, does not answer, or because its log was full or damaged.
          returned: always
          type: bool
          sample: true
    log:
      description: Why a data server that should run does not, or does not answer; the last lines of its log else.
      returned: always
      type: list
      elements: str
      sample: []
policy_problems:
  description:
    - What is wrong with the policy. As long as there is something, no stream can be opened or changed on this gateway.
    - Looking and releasing work all the same.
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
      description: What is wrong with the row.
      returned: always
      type: str
      sample: it is no JSON
orphans:
  description:
    - What has a directory on this gateway and no session in the store, because the store was lost or replaced.
    - M(scistream.gateway.s2cs_release) with its RV(ignore:uid) ends and removes it, if an administrator asks for it.
  returned: success, or if the store is damaged, of another version or cannot be used for another reason
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
      description: Whether processes work in its directory.
      returned: always
      type: bool
      sample: true
    pids:
      description: Those processes.
      returned: always
      type: list
      elements: int
      sample: [812, 813]
gateway:
  description:
    - The policy in force, with what is in use of it.
    - A key in which RV(policy_problems) finds a fault is null.
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
      description: Where the sessions are kept.
      returned: always
      type: str
      sample: /var/lib/scistream
    supervisor:
      description: What runs data servers that are no containers, V(systemd) or V(process).
      returned: always
      type: str
      sample: systemd
    listen:
      description: Addresses of the listeners, by role.
      returned: always
      type: dict
      sample: {producer: 192.0.2.1, consumer: 10.1.0.1}
    egress:
      description: Source addresses of the connections to targets, by role. If a role is not named, the kernel chooses.
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
        - The C(total) number of ports at all addresses, how many of them are C(used) by sessions and C(free), and which
          are C(in_use), by address.
        - A port that is free may be held by another program.
      returned: always
      type: dict
      sample: {total: 101, used: 1, free: 100, in_use: {192.0.2.1: [5100]}}
    proxies:
      description: Proxies on offer, each with its C(runtimes), C(encryptions) and C(transports).
      returned: always
      type: dict
      sample: {s2ds: {runtimes: [process], encryptions: [tls, none], transports: [tcp]}}
    default_proxy:
      description: Proxy of sessions that ask for none.
      returned: always
      type: str
      sample: s2ds
    default_runtime:
      description: Runtime of sessions that ask for none.
      returned: always
      type: str
      sample: process
    targets:
      description: Networks and ports that listeners may lead to, by role. A role that is not named has no limits.
      returned: always
      type: dict
      sample: {producer: [10.1.0.0/16]}
    clients:
      description: Networks that may connect to listeners, by role. For a role that is not named anyone may.
      returned: always
      type: dict
      sample: {producer: [198.51.100.1/32]}
    encryption:
      description: What sessions may ask for.
      returned: always
      type: list
      elements: str
      sample: [tls, none]
    limits:
      description: Maximum numbers, for all sessions and for those of one owner. Null is no limit.
      returned: always
      type: dict
      sample: {num_conn: 64, sessions: 256, lifetime: 604800, owner: {sessions: 128, num_conn: 64}}
    hello_timeout:
      description: Seconds after which a session without HELLO expires, by default.
      returned: always
      type: int
      sample: 180
    hello_timeout_max:
      description: Maximum of what a request may ask for instead.
      returned: always
      type: int
      sample: 3600
    versions:
      description: Versions of the C(collection) and of the C(python) that S2CS runs with.
      returned: always
      type: dict
      sample: {collection: 0.1.0, python: 3.11.2}
"""

from contextlib import closing
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, reason
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import check_uid
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import info, orphans
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.action_module import CONFIG, ROLE, SECRET, UID
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RowError, StoreUnusable
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy_file import load_policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.store import Store


def main() -> None:
    """Show sessions and the gateway."""
    module = AnsibleModule(argument_spec={**CONFIG, **UID, **ROLE, **SECRET}, supports_check_mode=True)
    uid, role = module.params["uid"], module.params["role"]
    lost: list[Any] = []
    try:
        uid = None if uid is None else check_uid(uid)
        policy = load_policy(module.params["config"], lenient=True)
        # Before the store is read, so that no directory of a session is taken for one that nobody has.
        directories = orphans.names(policy)
        lost = orphans.found(policy, directories, ())
        with closing(Store(policy.site.state_dir, read_only=True)) as store:
            found = info.sessions(policy, store, uid, role)
            unreadable = [asdict(row) for row in store.unreadable]
            lost = orphans.found(policy, directories, store.keys())
            gateway = info.gateway(policy, store)
    except StoreUnusable as error:
        lost = [item for item in lost if (item["uid"], item["role"]) not in error.known]
        module.fail_json(msg=str(error), orphans=lost)
    except (ScistreamError, OSError) as error:
        module.fail_json(msg=reason(error))
    for problem in policy.problems:
        module.warn(f"the policy {policy.config} cannot be used for new streams: {problem}")
    for row in unreadable:
        module.warn(str(RowError(row["uid"], row["role"], row["why"])))
    for item in lost:
        module.warn(
            f"{item['role']} of {item['uid']} has a directory on this gateway and no session: release it (s2cs_release)"
        )
    module.exit_json(
        changed=False,
        sessions=found,
        unreadable=unreadable,
        orphans=lost,
        gateway=gateway,
        policy_problems=list(policy.problems),
    )


if __name__ == "__main__":
    main()
