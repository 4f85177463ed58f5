# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attributes that modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments ``scistream.gateway._attributes``, and ``control_node``, ``s2cs`` and ``s2ds`` of it."""

    DOCUMENTATION = r"""
attributes:
  platform:
    description: Target operating systems that can be managed with this module.
    platforms: linux
    support: full
"""

    CONTROL_NODE = r"""
attributes:
  action:
    description: This action runs on the control node.
    support: full
  platform:
    description: Operating systems of the control node.
    platforms: posix
    support: full
"""

    # Must match meta/runtime.yml.
    S2CS = r"""
attributes:
  action_group:
    description: Use C(group/scistream.gateway.s2cs) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - scistream.gateway.s2cs
"""

    S2DS = r"""
attributes:
  action_group:
    description: Use C(group/scistream.gateway.s2ds) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - scistream.gateway.s2ds
"""
