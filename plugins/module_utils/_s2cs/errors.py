# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The errors of a control server. Helpers raise them; only a module's main() transactions them into its failure."""

from __future__ import annotations

from typing import Collection

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError


class S2CSError(ScistreamError):
    """Whatever a control server refuses or cannot do; the message says what to do next."""


class PolicyError(S2CSError):
    """The policy file is missing, unreadable or wrong."""


class RefusedError(S2CSError):
    """The administrator's policy does not allow what was asked for, or the secret is wrong.

    Args:
        message: What was asked for, and what would be allowed.
        rule: The key of the policy that refused; the message ends with it.
    """

    def __init__(self, message: str, rule: str = "") -> None:
        super().__init__(f"{message} (policy: {rule})" if rule else message)


class StateError(S2CSError):
    """The session is not in a state in which the action makes sense."""


class StoreError(S2CSError):
    """The session store cannot be read or written."""


class UnusableStoreError(StoreError):
    """The session store is there, and cannot be used before somebody has done something about it.

    Args:
        message: What is wrong with it, and what helps.
        known: Uid and role of the sessions that are known to be in it all the same.
    """

    def __init__(self, message: str, known: Collection[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.known = frozenset(known)


class RowError(StoreError):
    """The row of one session cannot be read; all others can."""

    def __init__(self, uid: str, role: str, why: str) -> None:
        super().__init__(
            f"uid: the entry of session {uid} ({role}) in the session store cannot be read: {why}; use the version of "
            "the collection that wrote it, or release the session (s2cs_release)"
        )
        self.uid = uid
        self.role = role
