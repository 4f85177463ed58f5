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
      - Path of the policy on the gateway, as written by the role P(scistream.gateway.s2cs#role).
      - A host can run several control servers, including unprivileged ones. Each has its own policy.
    type: path
    default: /etc/scistream/s2cs.json
"""

    ACTIONS = r"""
notes:
  - On a gateway with the service of the role P(scistream.gateway.s2cs#role), members of its group can run the module
    without C(become). The service then carries out the action.
  - Specify one session by its options, or any number of sessions with O(sessions).
  - Any number of control nodes can manage the same gateway concurrently.
attributes:
  check_mode:
    support: full
    description: Reports the expected changes without making them.
  diff_mode:
    support: full
    description: Shows the sessions before and after the call, without secrets.
  idempotent:
    support: full
    description: Repeating the same call makes no further changes.
"""
