#!/usr/bin/python
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Documentation of an action plugin. It runs on the control node only.

from __future__ import annotations

DOCUMENTATION = r"""
module: stream_deal
short_description: Deal the connections of streams out over gateways
version_added: 0.2.0
description:
  - Replaces the streams of a plan that have many gateways by their legs. A leg is a part of the connections of a
    stream, with one gateway on each side, and is opened, changed and released as a stream.
  - Legs that gateways already have are kept as long as they are right. What is missing is dealt out over the gateways
    that answer. Plans that only find streams get the legs that gateways have.
  - Warnings name gateways that do not answer. Messages name gateways that get no connections.
  - The answers of the gateways are read from the variable C(scistream_info), in which the result of the message V(info)
    of M(scistream.gateway.stream_message) was registered.
author: SciStream gateway developers (@scistream)
extends_documentation_fragment:
  - scistream.gateway._attributes.control_node
options:
  planned:
    description: Name of the variable in which the result of M(scistream.gateway.stream_plan) was registered.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: This module does not modify state.
  diff_mode:
    support: none
    description: Shows no differences.
  idempotent:
    support: full
    description: What gateways have is kept as long as it is right.
seealso:
  - module: scistream.gateway.stream_plan
  - module: scistream.gateway.stream_message
"""

EXAMPLES = r"""
- name: Determine which sessions are meant
  scistream.gateway.stream_plan:
    purpose: status
  register: planned

- name: Query a gateway
  scistream.gateway.stream_message:
    message: info
    planned: planned
  delegate_to: gw-aps
  register: scistream_info

- name: Find the legs of streams with many gateways
  scistream.gateway.stream_deal:
    planned: planned
  register: planned
"""

RETURN = r"""
msg:
  description: The gateways that get no connections, and why.
  returned: always
  type: list
  elements: str
  sample: ["tomography: gw-aps-3 gets no connections, as there are only 2"]
plan:
  description: The plan, in the form that M(scistream.gateway.stream_plan) returns, with legs.
  returned: success
  type: dict
  sample: {purpose: open, streams: []}
deals:
  description: Whether the plan has streams whose legs are not known. This is never the case.
  returned: always
  type: bool
  sample: false
"""
