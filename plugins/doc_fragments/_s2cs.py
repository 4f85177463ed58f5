# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation that the modules of the control server share."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments ``scistream.gateway._s2cs`` and ``scistream.gateway._s2cs.actions``."""

    DOCUMENTATION = r"""
requirements:
  - Python 3.8 or newer on the gateway
options:
  config:
    description:
      - Path of the administrator's policy on the gateway, which the role P(scistream.gateway.s2cs#role) writes.
      - Several control servers, also unprivileged ones, can live on one host, each with a policy of its own.
    type: path
    default: /etc/scistream/s2cs.json
"""

    ACTIONS = r"""
notes:
  - Give one session by its options, or any number of them by O(sessions), which costs one call and is all or nothing.
  - Any number of control nodes may act on one gateway at the same time.
attributes:
  check_mode:
    support: full
    description: Decides as always, and changes nothing.
  diff_mode:
    support: full
    description: Shows the sessions before and after. Secrets are never part of it.
  idempotent:
    support: full
    description: The same call again changes nothing.
"""
