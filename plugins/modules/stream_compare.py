#!/usr/bin/python
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Documentation of an action plugin. It runs on the control node only.

from __future__ import annotations

DOCUMENTATION = r"""
module: stream_compare
short_description: Compare streams with their description
version_added: 0.2.0
description:
  - Compares the description of streams with the sessions of the gateways, and returns what has to be done for them to
    match, for M(scistream.gateway.stream_message). The first comparison of a run shows the plan, with one line for each
    stream in diff mode, and otherwise only for those that differ. If nothing is to be done, it only shows the plan in
    check mode and in diff mode.
  - The playbook C(streams) of this collection consists of it. In your own plays, import this playbook.
  - The answers of the gateways are read from the variables C(scistream_info), C(scistream_release), and
    C(scistream_opening) or C(scistream_request), C(scistream_hello) and C(scistream_update), in which the playbook
    registers the results of M(scistream.gateway.stream_message).
author: SciStream gateway developers (@scistream)
extends_documentation_fragment:
  - scistream.gateway._attributes.control_node
options:
  planned:
    description: Name of the variable in which the result of M(scistream.gateway.stream_plan) was registered.
    type: str
    required: true
  previous:
    description:
      - Name of the variable in which the previous comparison was registered, after its steps were carried out.
      - If omitted, this is the first comparison of the run.
    type: str
  in_turn:
    description: Whether the messages that open streams were sent by one task each.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Adds the streams that gateways would refuse to the steps.
  diff_mode:
    support: full
    description: Shows all streams, including those that are left alone.
  idempotent:
    support: full
    description: This module does not modify state.
seealso:
  - module: scistream.gateway.stream_plan
  - module: scistream.gateway.stream_message
  - module: scistream.gateway.stream_report
"""

EXAMPLES = r"""
- name: Describe that a set has no streams
  scistream.gateway.stream_plan:
    purpose: apply
  vars:
    scistream_streams: []
    scistream_stream_set: beamline-2
    scistream_prune: true
  register: planned

- name: Query a gateway
  scistream.gateway.stream_message:
    message: info
    planned: planned
  delegate_to: gw-aps
  register: scistream_info

- name: Show what the gateway would have to release
  scistream.gateway.stream_compare:
    planned: planned
"""

RETURN = r"""
msg:
  description: The lines of the plan. Empty after the first comparison, and if nothing is to be done.
  returned: always
  type: list
  elements: str
  sample:
    - "tomography: to change: rate 5Gbit -> 10Gbit"
    - 1 to change, 39 unchanged
acts:
  description: Whether there is anything to do.
  returned: success
  type: bool
  sample: true
waits:
  description: Seconds for which to wait, because other runs may be opening the same streams.
  returned: success
  type: int
  sample: 0
plan:
  description: Plan for the tasks that release, open and change streams.
  returned: success
  type: dict
  sample: {purpose: apply, streams: [], releases: []}
round:
  description: The steps of all streams, and what was done so far.
  returned: success
  type: dict
  contains:
    number:
      description: Number of the round, from 1.
      returned: always
      type: int
      sample: 1
    steps:
      description:
        - Steps, each with the C(name) and C(uid) of the stream, the C(action) and the reasons as C(why).
        - The action is V(open), V(change), V(repair), V(replace), V(release) or V(unchanged).
        - It is V(kept) if the stream cannot be changed in place, V(unopened) if another run may be opening it,
          V(unreachable), V(refused) by a gateway, or V(contested) if another run changed it at the same time.
      returned: always
      type: list
      elements: dict
      sample:
        - name: tomography
          uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
          action: change
          why: ["rate 5Gbit -> 10Gbit"]
    complete:
      description: Number of rounds before it that no failure ended.
      returned: always
      type: int
      sample: 0
    done:
      description: What earlier rounds did, by uid.
      returned: always
      type: dict
      sample: {}
    notes:
      description: Streams that other runs opened at the same time.
      returned: always
      type: list
      elements: str
      sample: []
"""
