#!/usr/bin/python
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Documentation of an action plugin. It runs on the control node only.

from __future__ import annotations

DOCUMENTATION = r"""
module: stream_say
short_description: Show lines as they are
version_added: 0.1.0
description:
  - Shows lines on the control node, without quotes and escapes.
  - Used by the playbooks of this collection for their messages.
author: SciStream gateway developers (@scistream)
extends_documentation_fragment:
  - scistream.gateway._attributes.control_node
options:
  lines:
    description: A list of lines, or a single text. Control characters are removed.
    type: raw
    default: []
  error:
    description: Whether to fail if there are any lines.
    type: bool
    default: false
  headline:
    description: Message of the failure. If omitted, the first of O(lines) is used.
    type: str
attributes:
  check_mode:
    support: full
    description: This module does not modify state.
  diff_mode:
    support: N/A
    description: This module does not modify state.
  idempotent:
    support: full
    description: This module does not modify state.
seealso:
  - module: scistream.gateway.stream_report
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
