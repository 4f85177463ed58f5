#!/usr/bin/python
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Documentation of an action plugin. It runs on the control node only.

from __future__ import annotations

DOCUMENTATION = r"""
module: stream_message
short_description: Send a gateway its part of a plan
version_added: 0.1.0
description:
  - Determines what one gateway has to do for the streams of a run, and calls the corresponding module, such as
    M(scistream.gateway.s2cs_request).
  - The stream playbooks of this collection consist of it. In your own plays, import these playbooks, or call the
    modules directly.
  - Secrets and private keys are created on the control node when they are sent. They do not appear in task arguments or
    results.
  - O(message=open) sends the three messages that open streams. All gateways are handled concurrently, and each
    task waits for the answers of the others. This requires at least one fork for each gateway.
  - For the messages one by one, the answers to earlier messages are read from the variables C(scistream_request),
    C(scistream_hello), C(scistream_wait), C(scistream_update) and C(scistream_info), in which the playbooks register
    the results of this module, and from C(scistream_opened) and C(scistream_probed), the results of
    M(scistream.gateway.stream_report). The
    answers to messages of probes are read from variables such as C(scistream_probe_contact).
  - With O(service), the service of the control server carries out the message without C(become), if the user of the
    connection may use it. Otherwise, the program C(s2cs) does, which the role P(scistream.gateway.s2cs#role) installed,
    and if it is missing or has another version, the module.
  - A call that is lost on its way to or from the gateway is repeated once.
  - If a gateway refuses or is unreachable, the task does not fail. The result indicates it, and subsequent messages of
    the run are not sent.
author: SciStream gateway developers (@scistream)
extends_documentation_fragment:
  - scistream.gateway._attributes
options:
  message:
    description: The message.
    type: str
    required: true
    choices:
      open: >-
        REQ, HELLO and UPDATE, and the tickets or replies. If anything fails on any gateway, or the run is interrupted,
        the sessions that it created are released.
      request: REQ, which reserves listeners.
      hello: HELLO, which announces the applications.
      wait: >-
        Waits until the applications of the gateway have announced themselves, if the plan says so, after it has shown
        the commands with which they do. If the run is interrupted, the sessions that it created are released.
      update: UPDATE, which points the listeners at their targets.
      announce: >-
        HELLO with the listeners of the producer applications, on their behalf. The sessions of uids are found in the
        answers to O(message=info).
      release: REL, which releases sessions.
      drop: Closes the connections of sessions without releasing them, see M(scistream.gateway.s2cs_drop).
      probe_contact: >-
        Queries the sessions, and has the gateway contact the applications of its producer sides, see
        M(scistream.gateway.s2cs_probe).
      probe_request: >-
        Has the gateway contact the producers' gateways of its consumer sides, and sends REQ for a probe of each stream,
        which is a second stream with a temporary endpoint.
      probe_hello: HELLO for the probes.
      probe_update: UPDATE for the probes, which starts their endpoints.
      probe_pattern: >-
        Sends a pattern through each probe, and measures its path.
      probe_release: REL for the probes.
      undo: REL for the sessions that this run created, if anything failed on any gateway.
      info: >-
        Queries the sessions, and if the plan is to release all of them, which of them the user may release.
      watch: >-
        Queries the sessions repeatedly, and shows the streams of all gateways each time, until the user ends it or the
        time of the plan is over. Returns the last answer.
  config:
    description: Path of the policy on the gateway.
    type: path
  service:
    description:
      - How the service of the gateway is called, if there is one.
      - If omitted, the module is called.
    type: dict
    version_added: 0.2.0
    suboptions:
      program:
        description: Path of the program C(s2cs) on the gateway.
        type: str
        required: true
      socket:
        description: Path of the socket of the service. If empty, only the program is used.
        type: str
        required: true
  plan:
    description:
      - The plan of the run, as returned by M(scistream.gateway.stream_plan).
      - Required, unless O(planned) is specified.
    type: dict
  planned:
    description:
      - Name of the variable in which the result of M(scistream.gateway.stream_plan) or
        M(scistream.gateway.stream_compare) was registered. Its plan is not templated, which is faster for many streams.
    type: str
    version_added: 0.2.0
attributes:
  check_mode:
    support: full
    description: Reports the expected changes without making them.
  diff_mode:
    support: full
    description: Shows the sessions before and after the call, without secrets.
  idempotent:
    support: full
    description: Repeating the same message makes no further changes.
seealso:
  - module: scistream.gateway.s2cs_request
  - module: scistream.gateway.stream_plan
"""

EXAMPLES = r"""
- name: Determine which sessions are meant
  scistream.gateway.stream_plan:
    purpose: status
  register: planned

- name: Query the sessions of a gateway
  scistream.gateway.stream_message:
    message: info
    plan: "{{ planned.plan }}"
  delegate_to: gw-aps
  register: info
"""

RETURN = r"""
refused:
  description: Whether the gateway refused or did not answer.
  returned: if the gateway refused or did not answer
  type: bool
  sample: true
lost:
  description: Whether the gateway did not answer.
  returned: if the gateway did not answer
  type: bool
  sample: true
repeated:
  description: Whether the call was lost once and repeated.
  returned: if the call was repeated
  type: bool
  sample: true
msg:
  description: Reason.
  returned: if the gateway refused or did not answer
  type: str
  sample: "cannot be reached: Connection timed out"
steps:
  description: Results of C(request), C(hello), C(wait), C(update), C(opened) (the tickets or replies) and C(undo).
  returned: for O(message=open), if the gateway takes part
  type: dict
  sample: {request: {changed: true, sessions: []}}
sessions:
  description: Sessions, as returned by the module that was called.
  returned: if the gateway answered a single message
  type: list
  elements: dict
  sample:
    - uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
      role: producer
      state: reserved
      listeners: ["192.0.2.1:5100"]
new_sessions:
  description: Sessions that a REQ created, each with its C(uid) and C(role).
  returned: for O(message=request)
  type: list
  elements: dict
  sample: [{uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427, role: producer}]
changed_sessions:
  description: Sessions that the call changed, each with its C(uid) and C(role).
  returned: for O(message=request), O(message=hello), O(message=update) and O(message=drop), if the gateway answered
  type: list
  elements: dict
  sample: [{uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427, role: producer}]
predicted:
  description: Result of M(scistream.gateway.s2cs_release) in check mode for all sessions of the gateway.
  returned: for O(message=info), if the plan is to release all sessions and the gateway has any
  type: dict
  sample:
    released:
      - uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
        role: producer
        listeners: ["192.0.2.1:5100"]
streams:
  description: Results of the message for each probe, by its uid.
  returned: for the messages of probes except O(message=probe_contact), if the gateway takes part in any
  type: dict
  sample: {c3b2f1de-7a55-4c06-8d5c-0f3f5f2a9e11: {changed: false, sessions: []}}
contacted:
  description:
    - Result of M(scistream.gateway.s2cs_probe) for the sessions of the streams.
    - C(asked_between) are the times before and after it, in seconds since the epoch, on the clock of the control
      node.
  returned: for O(message=probe_contact) and O(message=probe_request), if the gateway has any that are streaming
  type: dict
  sample: {sessions: [], asked_between: [1796000000.0, 1796000000.2]}
failed_sessions:
  description: Sessions for which the call failed, each with its C(uid), its C(role) and the reason as C(msg).
  returned: if the gateway refused sessions
  type: list
  elements: dict
  sample:
    - uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
      role: producer
      msg: >-
        role: gateway gw-aps does not offer the role 'producer'; its policy /etc/scistream/s2cs.json names a listener
        address for: consumer
alone:
  description: Whether the refusal only concerns sessions that were streaming before and still are.
  returned: for O(message=request), O(message=hello) and O(message=update), if this is the case
  type: bool
  sample: true
problems:
  description: Reasons why the answers of the gateways cannot be combined. The gateway is not called.
  returned: for O(message=update), if there are any
  type: list
  elements: str
  sample:
    - "stream 'tomography': the consumer gateway has 2 listeners, the producer gateway 4; both need the same number"
released:
  description: Sessions that were released, as returned by M(scistream.gateway.s2cs_release).
  returned: for O(message=release) and O(message=undo), if the gateway answered
  type: list
  elements: dict
  sample:
    - uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
      role: producer
      listeners: ["192.0.2.1:5100"]
left:
  description:
    - Sessions of this run that were not released, each with its C(uid) and C(role).
    - C(sure) is V(false) if it is unknown whether the gateway has the session.
  returned: for O(message=undo), if there are any
  type: list
  elements: dict
  sample: [{uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427, role: producer, sure: true}]
"""
