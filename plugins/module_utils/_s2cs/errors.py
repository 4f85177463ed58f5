# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Errors of a control server. Only the ``main`` of a module turns them into its failure."""

from __future__ import annotations

from typing import Collection

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError


class S2CSError(ScistreamError):
    """Base class of the errors of a control server. Their messages say what to do next."""


class PolicyError(S2CSError):
    """The policy file is missing, unreadable or invalid."""


class RefusedError(S2CSError):
    """The policy does not allow a request, or the secret is wrong.

    Args:
        message: What was requested, and what is allowed.
        rule: Key of the policy that does not allow it, which is appended to the message.
    """

    def __init__(self, message: str, rule: str = "") -> None:
        super().__init__(f"{message} (policy: {rule})" if rule else message)


class StateError(S2CSError):
    """The state of the session does not allow the action."""


class StoreError(S2CSError):
    """The session store cannot be read or written."""


class UnusableStoreError(StoreError):
    """The session store exists, but cannot be used until an administrator corrects it.

    Args:
        message: What is wrong with it, and how to correct it.
        known: Uid and role of the sessions that are known to be in it nevertheless.
    """

    def __init__(self, message: str, known: Collection[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.known = frozenset(known)


class RowError(StoreError):
    """The row of one session cannot be read.

    Args:
        uid: The stream.
        role: Its side.
        why: What is wrong with the row.
    """

    def __init__(self, uid: str, role: str, why: str) -> None:
        super().__init__(
            f"uid: the entry of session {uid} ({role}) in the session store cannot be read: {why}; use the version of "
            "the collection that wrote it, or release the session (s2cs_release)"
        )
        self.uid = uid
        self.role = role
