# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Permission to act on a session: for the user who requested it, users who know its secret, and administrators.

In the service, this is a boundary between users, because the kernel identifies the caller. In the process of a module,
it protects the users of a gateway from mistakes with each other's streams, but not from users who can run modules as
root, because a module can be any program.
"""

from __future__ import annotations

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.caller import Caller
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session, secret_matches


def is_administrator(policy: Policy, caller: Caller) -> bool:
    """Tell whether a user may act on all sessions, as root or as an administrator named in the policy."""
    return caller.known and (caller.is_host or caller.name in policy.administrators)


def check_permission(policy: Policy, session: Session, secret: str | None, action: str, caller: Caller) -> None:
    """Check that the caller may act on a session.

    Args:
        policy: The policy, which names the administrators.
        session: The session.
        secret: The secret that the caller specified, or None.
        action: Verb for the action, for the message.
        caller: The user.

    Raises:
        RefusedError: The caller is not the owner or an administrator, and did not specify the right secret.
    """
    if secret is not None and secret_matches(session.secret_hash, secret):
        return
    if is_administrator(policy, caller) or (caller.known and caller.name == session.owner):
        return
    user = caller.name if caller.known else "an unidentified user"
    which = f"session {session.uid} ({session.role})"
    if secret is not None:
        raise RefusedError(
            f"secret: this is not the secret of {which}, which belongs to {session.owner}: specify the correct one, or "
            f"have {session.owner} or an administrator {action} it",
            "administrators",
        )
    raise RefusedError(
        f"uid: {which} belongs to {session.owner}, and {user} may not {action} it: specify the secret of "
        f"the stream (option secret; for s2cs, --secret-file), or have {session.owner} or an administrator {action} it",
        "administrators",
    )


def check_administrator(policy: Policy, uid: str, role: str, caller: Caller) -> None:
    """Check that the caller is an administrator, to release a session whose owner the store does not name.

    Args:
        policy: The policy, which names the administrators.
        uid: The stream.
        role: Its side.
        caller: The user.

    Raises:
        RefusedError: The caller is not an administrator.
    """
    if is_administrator(policy, caller):
        return
    user = caller.name if caller.known else "an unidentified user"
    raise RefusedError(
        f"uid: the session store of this gateway does not name the owner of {uid} ({role}), and {user} may not "
        "release it: have an administrator do so",
        "administrators",
    )
