#!/usr/bin/python
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: s2cs_release
short_description: Release all resources of a stream on this gateway (REL)
version_added: 0.1.0
description:
  - Stops the data server of a session, and releases its listeners, processes, files and keys.
  - A session is owned by the user who requested it. Other users need its secret, or must be administrators.
  - If a session does not exist, nothing is changed. Unfinished sessions, whose last action was killed, can be released.
  - It works on a full disk, with an invalid policy, and for rows of the session store that cannot be read.
    Administrators can also release orphans, which M(scistream.gateway.s2cs_info) lists.
  - If a session cannot be released, it is kept, and the other sessions are released.
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
    description: Side of the stream to release. If omitted, both sides are released.
    type: str
    choices: [producer, consumer]
  secret: &secret
    description:
      - Secret of the stream, as specified in the request.
      - Required for users who did not request the session and are not administrators of this gateway.
    type: str
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

- name: Release both sides of a stream on this gateway
  scistream.gateway.s2cs_release:
    uid: 9e1a4b0c-55f7-4a0e-8f0b-6f2d1b7c8d90
  delegate_to: gw-aps

- name: Release the producer side of a stream that another user requested
  scistream.gateway.s2cs_release:
    uid: 9e1a4b0c-55f7-4a0e-8f0b-6f2d1b7c8d90
    role: producer
    secret: "{{ lookup('ansible.builtin.password', 'streak.secret', length=32) }}"
  delegate_to: gw-aps
"""

RETURN = r"""
released:
  description: Sessions that were released, including when others could not be released.
  returned: always, unless the arguments were invalid
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
      description: Listeners that were released.
      returned: always
      type: list
      elements: str
      sample: ["192.0.2.1:5100"]
    counters:
      description:
        - Totals of its data server. See M(scistream.gateway.s2cs_info) for their contents.
        - If it was not running or not responding, the last known totals. Null if nothing is known.
      returned: always
      type: dict
      sample:
        since: 1769860800.0
        connections: {open: 0, total: 3, refused: 0, failed: 0}
        bytes: {to_consumer: 1073741824, to_producer: 96}
failed_sessions:
  description:
    - Sessions that could not be released. See M(scistream.gateway.s2cs_request) for their contents.
    - All other sessions are released.
  returned: failure, unless the arguments were invalid
  type: list
  elements: dict
  sample:
    - uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
      role: producer
      msg: >-
        uid: session 1b4e28ba-2fa1-41d2-883f-0016d3cca427 (producer) belongs to beamline, and operator may not release
        it: specify the secret of the stream (option secret; for s2cs, --secret-file), or have beamline or an
        administrator release it
"""

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import action_module
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.release import RELEASE


def main() -> None:
    """Release sessions."""
    action_module.run(RELEASE)


if __name__ == "__main__":
    main()
