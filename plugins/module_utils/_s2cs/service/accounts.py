# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which users have an account, so that the limits of a user cannot be multiplied.

In a user namespace, anyone has thousands of subordinate users, which keep the groups of its creator.
"""

from __future__ import annotations

import os
import pwd

# Shared by all users without an account.
NOBODY = -1


def has_account(uid: int) -> bool:
    """Tell whether a user has an account on this host. Root and the user of this process always have."""
    if uid in (0, os.geteuid()):
        return True
    try:
        pwd.getpwuid(uid)
    except (KeyError, OverflowError):
        return False
    return True
