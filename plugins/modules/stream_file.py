# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: stream_file
short_description: Write a ticket or a reply on the control node
version_added: "0.1.0"
author: SciStream gateway developers (@scistream)
description:
  - Writes the text of a ticket or a reply into a file of the control node, with mode 0600.
  - An existing file or link is replaced, never written to, so files prepared by other users have no effect. A warning
    is shown, because the previous ticket or reply is no longer valid.
  - It always runs on the control node. The stream playbooks write their files with M(scistream.gateway.stream_report)
    instead. Use this module with the filter P(scistream.gateway.stream_tickets#filter) in your own plays.
extends_documentation_fragment:
  - scistream.gateway._attributes.control_node
options:
  path:
    description: Path of the file. Its directory must exist.
    type: path
    required: true
  content:
    description: The text, as returned by P(scistream.gateway.stream_tickets#filter).
    type: str
    required: true
attributes:
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
  description: Whether the path existed with other contents.
  returned: always
  type: bool
  sample: false
"""
