#!/usr/bin/python
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is the documentation of an action plugin; nothing of it runs on a gateway.

from __future__ import annotations

DOCUMENTATION = r"""
module: stream_message
short_description: Send a gateway its part of a plan
version_added: 0.1.0
description:
  - Determines what one gateway has to do for the streams of a run, and calls the module for that, such as
    M(scistream.gateway.s2cs_request).
  - The stream playbooks of this collection consist of it. A play of your own is better built on the modules.
  - Secrets and private keys are created on the control node while they are sent. They are in no argument of the task,
    and in no result.
  - What the gateways answered to earlier messages is taken from the variables C(scistream_request), C(scistream_hello)
    and C(scistream_update), with which the playbooks register the results of this module, and from C(scistream_opened),
    the result of M(scistream.gateway.stream_report).
  - A call that is lost on its way to the gateway or back is repeated once.
  - A gateway that refuses, or cannot be reached, does not fail the task. The result says so, and the later messages of
    the run are not sent.
author: SciStream gateway developers (@scistream)
options:
  message:
    description: The message.
    type: str
    required: true
    choices:
      request: REQ, which reserves listeners.
      hello: HELLO, which announces the applications.
      update: UPDATE, which points the listeners at their targets.
      release: REL, which releases sessions.
      undo: REL for what this run opened, if anything went wrong on any gateway.
      info: Queries the sessions.
  config:
    description: Path of the policy on the gateway.
    type: path
  plan:
    description: The plan of the run, as returned by M(scistream.gateway.stream_plan).
    type: dict
    required: true
attributes:
  check_mode:
    support: full
    description: Reports the expected changes without making them.
  diff_mode:
    support: full
    description: Shows the sessions before and after. Secrets are never part of it.
  idempotent:
    support: full
    description: The same message again changes nothing.
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
  description: Whether the gateway refused, or no answer came.
  returned: if the gateway refused, or no answer came
  type: bool
  sample: true
lost:
  description: Whether no answer came.
  returned: if the gateway refused, or no answer came
  type: bool
  sample: false
msg:
  description: Why.
  returned: if the gateway refused, or no answer came
  type: str
  sample: "cannot be reached: Connection timed out"
sessions:
  description: The sessions, as the module that was called returns them.
  returned: if the gateway answered
  type: list
  elements: dict
  sample: []
new_sessions:
  description: The sessions that a REQ made, each with its C(uid) and C(role).
  returned: for O(message=request)
  type: list
  elements: dict
  sample: []
"""
