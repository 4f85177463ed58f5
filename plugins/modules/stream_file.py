# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: stream_file
short_description: Write a ticket or a reply on the control node
version_added: "0.1.0"
author:
  - SciStream gateway developers
description:
  - Writes the text of a ticket or a reply into a file of the control node, with mode 0600.
  - The file is made anew and put in place of what was there, so that neither a link nor a file that somebody else put
    there beforehand is written through or kept. A warning says so, because what was handed over before is of no use any
    more.
  - This is how C(stream_inbound) and C(stream_outbound) write theirs. It always runs on the control node.
options:
  path:
    description: Path of the file. Its directory must exist.
    type: path
    required: true
  content:
    description: The text, as P(scistream.gateway.stream_tickets#filter) returns it.
    type: str
    required: true
attributes:
  action:
    description: It runs on the control node.
    support: full
  check_mode:
    description: Can predict changes without making them.
    support: full
  diff_mode:
    description: Shows no differences.
    support: none
seealso:
  - plugin: scistream.gateway.stream_tickets
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Make a directory
  ansible.builtin.tempfile:
    state: directory
  register: directory

- name: Write a text where only this user can have written it
  scistream.gateway.stream_file:
    path: "{{ directory.path }}/tomography.ticket.yml"
    content: "a ticket\n"

- name: Remove both
  ansible.builtin.file:
    path: "{{ directory.path }}"
    state: absent
"""

RETURN = r"""
path:
  description: Path of the file.
  returned: success
  type: str
  sample: /home/operator/tomography.ticket.yml
replaced:
  description: Whether something else was at the path before.
  returned: always
  type: bool
  sample: false
"""
