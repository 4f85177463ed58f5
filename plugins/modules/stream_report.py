# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Documentation of an action plugin. It runs on the control node only.

from __future__ import annotations

DOCUMENTATION = r"""
module: stream_report
short_description: Show the outcome of a stream playbook
version_added: 0.1.0
description:
  - Shows the answers of all gateways to the messages of the play, once, on the control node.
  - The answers are the results of M(scistream.gateway.stream_message), registered as C(scistream_request),
    C(scistream_hello), C(scistream_update), C(scistream_release), C(scistream_drop) and C(scistream_info).
    The result of this module for O(kind=opened) is registered as C(scistream_opened).
author: SciStream gateway developers (@scistream)
extends_documentation_fragment:
  - scistream.gateway._attributes.control_node
options:
  kind:
    description: What is reported.
    type: str
    required: true
    choices:
      opened: >-
        The path of each connection. Tickets or replies are written first. Does nothing if a gateway refused.
      failed: Fails with the reasons why streams were not opened, if there are any.
      opening: >-
        Both, after M(scistream.gateway.stream_message) with O(scistream.gateway.stream_message#module:message=open),
        registered as C(scistream_opening).
      status: >-
        A table of the streams, and what is wrong, each with the command that repairs it. Fails if a gateway did not
        answer, or a requested stream does not exist.
      page: >-
        Writes the page of a status to the file O(output), with a throughput that was measured by other means. Shows
        nothing.
      misspelled: >-
        Fails if requested sessions do not exist, but similar ones do. If all sessions of the gateways are to be
        released, asks whether to do so, with the number of those that the user may release, and fails if the answer is
        not V(yes) or if there is no terminal. It does not ask in check mode, or if the variable C(confirm) is V(false).
        Returns the plan with the legs of streams with many gateways, as M(scistream.gateway.stream_deal) does.
      released: What was released. Fails if anything was not.
      announced: Which applications were announced. Fails if any was not.
      dropped: Which connections were closed. Fails if a requested stream does not exist.
      probed: >-
        Which streams work, what was measured, and what is wrong with the others. Fails if one does not work. If the run
        also opens the streams, it does not fail, but its result lets the tasks that follow release them.
      applied: >-
        What was done to make the gateways match a description, and how many streams needed nothing. Fails if the
        gateways do not match, with the reasons.
  plan:
    description:
      - The plan of the run, as returned by M(scistream.gateway.stream_plan).
      - Required, unless O(planned) is specified.
    type: dict
  planned:
    description:
      - Name of the variable in which the result of M(scistream.gateway.stream_plan) was registered. Its plan is not
        templated, which is faster for many streams.
    type: str
    version_added: 0.2.0
  compared:
    description:
      - Name of the variable in which the last result of M(scistream.gateway.stream_compare) was registered.
      - Required for O(kind=applied).
    type: str
    version_added: 0.2.0
  defer:
    description:
      - Whether not to show the lines of O(kind=opened), O(kind=opening) and O(kind=applied) if everything succeeded.
        The playbooks show RV(msg) in their last task, so that nothing but Ansible's recap follows.
    type: bool
    default: false
    version_added: 0.2.0
  output:
    description:
      - Path of the file. It is replaced, unless it is something else than a file.
      - Required for O(kind=page).
    type: path
    version_added: 0.2.0
  time:
    description: When the gateways were queried, in seconds since the epoch. If omitted, now. For O(kind=page).
    type: float
    version_added: 0.2.0
  heading:
    description: Heading of the page. If omitted, the names of the gateways.
    type: str
    version_added: 0.2.0
  measured:
    description:
      - One or two throughputs, for O(kind=page). The keys are their names, and the values are lists of pairs of the
        seconds since the beginning and the bytes until then.
    type: dict
    version_added: 0.2.0
attributes:
  check_mode:
    support: full
    description: Reports what would be done.
  diff_mode:
    support: none
    description: Shows no differences.
  idempotent:
    support: full
    description: Tickets and replies are written only if they change.
seealso:
  - module: scistream.gateway.stream_plan
"""

EXAMPLES = r"""
- name: Determine which sessions are meant
  scistream.gateway.stream_plan:
    purpose: status
  register: planned

- name: Query the gateway
  scistream.gateway.stream_message:
    message: info
    plan: "{{ planned.plan }}"
  delegate_to: gw-aps
  register: scistream_info

- name: Show its sessions
  scistream.gateway.stream_report:
    kind: status
    plan: "{{ planned.plan }}"
"""

RETURN = r"""
msg:
  description: The lines, or the first one of a failure.
  returned: always
  type: raw
  sample:
    - "tomography: streaming (s2ds in process, 1 listener, uid 1b4e28ba-2fa1-41d2-883f-0016d3cca427)"
    - "  consumer connects to 10.2.0.1:5100 (gw-alcf) -> 192.0.2.1:5100 (gw-aps) -> producer 10.1.0.5:7000"
streams:
  description:
    - Streams that were opened, or for O(kind=applied) that are open, by name.
    - For O(kind=probed), those that were probed, by name, each with C(works) and the measurements in seconds and bits
      per second, see M(scistream.gateway.s2cs_probe).
    - Except in check mode, the stat C(scistream_result) is set to it, as by M(ansible.builtin.set_stats).
      The playbooks store it in the fact C(scistream_result) as well.
    - It contains no secrets.
  returned: for O(kind=opened), O(kind=opening), O(kind=applied) and O(kind=probed), if everything succeeded
  type: dict
  sample:
    tomography:
      uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
      state: streaming
      encryption: tls
      connect_to: ["10.2.0.1:5100"]
      gateways: {producer: gw-aps, consumer: gw-alcf}
      listeners: {producer: ["192.0.2.1:5100"], consumer: ["10.2.0.1:5100"]}
status:
  description:
    - The status of all streams, with the same contents as the file that the variable C(scistream_output) specifies.
    - It contains C(streams), C(problems), C(gateways), C(totals) and C(history), and no secrets.
  returned: for O(kind=status) if everything succeeded
  type: dict
  version_added: 0.2.0
  sample: {totals: {streams: 1, healthy: 1, problems: 0, notices: 0, open: 1}}
plan:
  description: The plan for the tasks that follow.
  returned: for O(kind=misspelled), if it does not fail
  type: dict
  version_added: 0.2.0
unwritten:
  description: Tickets or replies that could not be written, each with its C(file) and C(msg).
  returned: for O(kind=opened), if there are any
  type: list
  elements: dict
  sample:
    - file: tomography.ticket.yml
      msg: "/home/operator/tomography.ticket.yml: Permission denied"
"""
