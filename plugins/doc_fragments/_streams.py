# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation that the filters on descriptions of streams share."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments ``scistream.gateway._streams``, ``..._streams.results`` and ``..._streams.replies``."""

    DOCUMENTATION = r"""
options:
  _input:
    description: The streams, as described in C(docs/streams.md) of this collection.
    type: list
    elements: dict
    required: true
  gateways:
    description: Names of the gateways of this run. If omitted, any name is accepted.
    type: list
    elements: str
"""

    RESULTS = r"""
options:
  results:
    description:
      - Answers of the gateways. Each element is a dictionary of module results by gateway, for one message.
      - The last message comes first.
    type: list
    elements: dict
    required: true
"""

    REPLIES = r"""
options:
  replies:
    description: Replies to tickets, each as path, text or content. For O(purpose=inbound).
    type: list
    elements: raw
    default: []
"""
