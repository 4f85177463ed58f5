# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may act on a session: the user who requested it, users who know its secret, and administrators.

This keeps users of one gateway from mistakes with each other's streams. It is no wall against somebody who runs modules
as root: a module is any program.
"""

from __future__ import annotations

import os

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.caller import Caller, find_caller
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session, secret_matches


def invoking_user() -> str:
    """Return the name of the user on whose behalf this runs."""
    return find_caller().name


def is_administrator(policy: Policy, caller: Caller) -> bool:
    """Tell whether a user may act on everybody's sessions: root itself, or whom the policy names."""
    # Whoever can use an S2CS without root is the account that it belongs to: its files are for nobody else.
    if os.geteuid() != 0:
        return True
    return caller.known and (caller.uid == 0 or caller.name in policy.administrators)


def check_permission(policy: Policy, session: Session, secret: str | None, action: str) -> None:
    """Refuse an action on somebody else's session by a user who does not know its secret.

    Args:
        policy: The policy, which names the administrators.
        session: The session.
        secret: The secret that was given along, or None.
        action: What is to be done with the session, for the message.
    """
    if secret is not None and secret_matches(session.secret_hash, secret):
        return
    caller = find_caller()
    if is_administrator(policy, caller) or (caller.known and caller.name == session.owner):
        return
    user = caller.name if caller.known else "an unidentified user"
    which = f"session {session.uid} ({session.role})"
    if secret is not None:
        raise RefusedError(
            f"secret: this is not the secret of {which}, which belongs to {session.owner}: give the correct one, or "
            f"have {session.owner} or an administrator {action} it",
            "administrators",
        )
    raise RefusedError(
        f"uid: {which} belongs to {session.owner}, and {user} may not {action} it: set the option secret to the "
        f"secret of the stream, or have {session.owner} or an administrator {action} it",
        "administrators",
    )


def check_administrator(policy: Policy, uid: str, role: str) -> None:
    """Refuse, to all but administrators, the release of a session of which the store does not say whose it is."""
    caller = find_caller()
    if is_administrator(policy, caller):
        return
    user = caller.name if caller.known else "an unidentified user"
    raise RefusedError(
        f"uid: the session store of this gateway does not name the owner of {uid} ({role}), and {user} may not "
        "release it: have an administrator do so",
        "administrators",
    )
