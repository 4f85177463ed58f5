#!/usr/bin/python
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is the documentation of an action plugin; nothing of it runs on a gateway.

from __future__ import annotations

DOCUMENTATION = r"""
module: stream_message
short_description: Tell a gateway of its part in the streams of a run
version_added: 0.1.0
description:
  - Works out what one gateway has to be told of a description of streams, and calls the module for that, such as
    M(scistream.gateway.s2cs_request).
  - It is what the stream playbooks of this collection consist of. A play of your own is better built on the modules.
  - Secrets and private keys are made on the control node while they are sent. They are in no argument of the task, and
    in no result.
  - A call that is lost on its way to the gateway or back is repeated once.
  - A gateway that refuses, or cannot be reached, does not fail the task. The result says so, and the later messages of
    the run are not sent.
author: SciStream gateway developers (@scistream)
options:
  message:
    description: What the gateway is told.
    type: str
    required: true
    choices:
      request: REQ, which reserves listeners.
      hello: HELLO, which announces the applications.
      update: UPDATE, which points the listeners at their targets.
      release: REL, which releases sessions.
      undo: REL for what this run opened, if anything went wrong on any gateway.
      info: Nothing. It is asked for its sessions.
  config:
    description: Path of the policy on the gateway.
    type: path
  plan:
    description:
      - The C(streams) of the run, its C(purpose), the names of the C(gateways) that it reaches, the C(replies) to
        tickets, the C(uids) of further sessions, the C(key_file) of the user, and whether to C(probe) the targets.
      - See P(scistream.gateway.stream_sessions#filter).
    type: dict
    required: true
  results:
    description: What all gateways answered to the messages before, by message and gateway.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
    description: The gateway decides as always, and changes nothing.
  diff_mode:
    support: full
    description: Shows the sessions before and after. Secrets are never part of it.
  idempotent:
    support: full
    description: The same message again changes nothing.
seealso:
  - module: scistream.gateway.s2cs_request
  - plugin: scistream.gateway.stream_sessions
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Ask the gateway for its sessions
  scistream.gateway.stream_message:
    message: info
    plan: {}
  delegate_to: gw-aps
  register: info
"""

RETURN = r"""
refused:
  description: Whether the gateway refused, or no answer came.
  returned: if that is so
  type: bool
  sample: true
lost:
  description: Whether no answer came.
  returned: if that is so
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
