#!/usr/bin/python
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is the documentation of an action plugin; nothing of it runs on a gateway.

from __future__ import annotations

DOCUMENTATION = r"""
module: stream_say
short_description: Show lines as they are
version_added: 0.1.0
description:
  - Shows lines on the control node, without quotes and escapes.
  - The playbooks of this collection use it for their messages.
author: SciStream gateway developers (@scistream)
options:
  lines:
    description: The lines, or one text. Control characters are not shown.
    type: raw
    default: []
  error:
    description: Fail if there is any line.
    type: bool
    default: false
  headline:
    description: Message of the failure. If omitted, it is the first of O(lines).
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
  - plugin: scistream.gateway.stream_report
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show two lines
  scistream.gateway.stream_say:
    lines:
      - The first line
      - "  and the second one, indented"
"""

RETURN = r"""
msg:
  description: The lines, or the message of the failure.
  returned: always
  type: raw
  sample: ["The first line"]
"""
