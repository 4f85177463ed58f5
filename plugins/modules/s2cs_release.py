#!/usr/bin/python
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: s2cs_release
short_description: Release everything that a stream has on this gateway (REL)
version_added: 0.1.0
description:
  - Ends the data server of a session and releases its listeners, processes, files and keys.
  - A session belongs to the user who requested it. Others release it with its secret, or as administrators.
  - What is not there is released already. A session whose last action was killed in the middle is released as well.
  - It works on a full disk, with a policy that has faults, and for a row of the session store that cannot be
    read. An administrator can also release what has a directory and no row, as M(scistream.gateway.s2cs_info) lists it.
  - A session that cannot be released keeps none of the others, and stands as it was.
author: SciStream gateway developers (@scistream)
extends_documentation_fragment:
  - scistream.gateway._s2cs
  - scistream.gateway._s2cs.actions
options:
  uid: &uid
    description: UUID of the stream, the same on both gateways. It is an identifier and no secret.
    type: str
  role: &role
    description: Side of the stream that is to be released. Left out, both sides are.
    type: str
    choices: [producer, consumer]
  secret: &secret
    description:
      - Secret of the stream, the one of the request.
      - Only whoever did not request the session needs it, unless that is an administrator of this gateway.
    type: str
  sessions:
    description: Sessions, where one call is to serve more than one.
    type: list
    elements: dict
    suboptions:
      uid:
        <<: *uid
        required: true
      role: *role
      secret: *secret
seealso:
  - module: scistream.gateway.s2cs_request
  - module: scistream.gateway.s2cs_info
"""

EXAMPLES = r"""
- name: Reserve a listener
  scistream.gateway.s2cs_request:
    uid: 9e1a4b0c-55f7-4a0e-8f0b-6f2d1b7c8d90
    role: producer
    secret: "{{ lookup('ansible.builtin.password', 'streak.secret', length=32) }}"
  delegate_to: gw-aps

- name: Release whatever this gateway has of a stream
  scistream.gateway.s2cs_release:
    uid: 9e1a4b0c-55f7-4a0e-8f0b-6f2d1b7c8d90
  delegate_to: gw-aps

- name: Release the producer's side of a stream that somebody else requested
  scistream.gateway.s2cs_release:
    uid: 9e1a4b0c-55f7-4a0e-8f0b-6f2d1b7c8d90
    role: producer
    secret: "{{ lookup('ansible.builtin.password', 'streak.secret', length=32) }}"
  delegate_to: gw-aps
"""

RETURN = r"""
released:
  description: What was released, also if others could not be.
  returned: always, unless nothing was tried
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
    listeners:
      description: The listeners that are free again.
      returned: always
      type: list
      elements: str
      sample: ["192.0.2.1:5100"]
    counters:
      description:
        - What its data server counted in all, as M(scistream.gateway.s2cs_info) shows it.
        - If it did not run or did not answer, what is known of its totals. Null if nothing is known.
      returned: always
      type: dict
      sample:
        since: 1769860800.0
        connections: {open: 0, total: 3, refused: 0, failed: 0}
        bytes: {to_consumer: 1073741824, to_producer: 96}
failed_sessions:
  description:
    - The sessions for which the call failed, as M(scistream.gateway.s2cs_request) describes them.
    - All others are released.
  returned: failure, unless nothing was tried
  type: list
  elements: dict
  sample: []
"""

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import action_module
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.release import ReleaseAction
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.messages import read_release

OPTIONS = {**action_module.UID, **action_module.ROLE, **action_module.SECRET}


def main() -> None:
    """Release sessions."""
    action_module.run(OPTIONS, ("uid",), read_release, ReleaseAction, lenient=True)


if __name__ == "__main__":
    main()
