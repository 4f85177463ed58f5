# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much may be reserved: in all, by one session, by one owner, and for how long."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, Iterable

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import (
    MAX_LIFETIME,
    MAX_NUM_CONN,
    MAX_SESSIONS,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_number
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session


@dataclass(frozen=True)
class Limits:
    """The limits of a policy; None is no limit.

    Args:
        num_conn: Maximum number of connections of a session.
        sessions: Maximum number of sessions at a time.
        lifetime: Maximum lifetime of a session in seconds, and that of a session whose request names none.
        owner_sessions: Maximum number of sessions of one owner at a time.
        owner_num_conn: Maximum number of connections of all sessions of one owner together.
        by_default: Which limits of an owner the policy does not name. They are there to leave room for other users.
    """

    num_conn: int = 64
    sessions: int = 256
    lifetime: int | None = None
    owner_sessions: int | None = None
    owner_num_conn: int | None = None
    by_default: frozenset[str] = frozenset()

    def for_ports(self, ports: int) -> Limits:
        """Return these limits with the default for an owner that fits a number of ports and sessions.

        One owner gets half of them, and what one session may have in any case.
        """
        limits = self
        if "owner_sessions" in self.by_default:
            limits = replace(limits, owner_sessions=max(1, self.sessions // 2))
        if "owner_num_conn" in self.by_default:
            limits = replace(limits, owner_num_conn=max(min(self.num_conn, ports), ports // 2))
        return limits

    def _of_owner(self, name: str, owner: str) -> int | None:
        """Return a limit of an owner; by default root, and the account that an S2CS belongs to, have none."""
        if name in self.by_default and (os.geteuid() != 0 or owner == "root"):
            return None
        found: int | None = getattr(self, name)
        return found

    def check(self, wanted: Session, others: Iterable[Session]) -> None:
        """Refuse a new session for which the sessions that there are leave no room."""
        present = list(others)
        if len(present) >= self.sessions:
            raise RefusedError(
                f"uid: this gateway has {len(present)} sessions, and its policy allows {self.sessions}: "
                "release one first",
                "limits.sessions",
            )
        own = [session for session in present if session.owner == wanted.owner]
        most_sessions = self._of_owner("owner_sessions", wanted.owner)
        most_connections = self._of_owner("owner_num_conn", wanted.owner)
        if most_sessions is not None and len(own) >= most_sessions:
            raise RefusedError(
                f"uid: {wanted.owner} has {len(own)} sessions on this gateway, and its policy allows each owner "
                f"{most_sessions}: release one first",
                "limits.owner.sessions",
            )
        used = sum(session.num_conn for session in own)
        if most_connections is not None and used + wanted.num_conn > most_connections:
            raise RefusedError(
                f"num_conn: {wanted.owner} has {used} connections on this gateway and requests {wanted.num_conn}, and "
                f"its policy allows each owner {most_connections}: request fewer, or release a session first",
                "limits.owner.num_conn",
            )

    def to_result(self) -> dict[str, Any]:
        """Return the limits with the keys of the policy."""
        return {
            "num_conn": self.num_conn,
            "sessions": self.sessions,
            "lifetime": self.lifetime,
            "owner": {"sessions": self.owner_sessions, "num_conn": self.owner_num_conn},
        }


def parse_limits(key: str, value: Any) -> Limits:
    """Read the policy's limits. A limit of null is none; one that is not named has its default."""
    given = _keys(key, value, ("num_conn", "sessions", "lifetime", "owner"))
    owner = _keys(f"{key}.owner", {} if given.get("owner") is None else given["owner"], ("num_conn", "sessions"))
    return Limits(
        num_conn=check_number(f"{key}.num_conn", given.get("num_conn", Limits.num_conn), 1, MAX_NUM_CONN),
        sessions=check_number(f"{key}.sessions", given.get("sessions", Limits.sessions), 1, MAX_SESSIONS),
        lifetime=_optional(f"{key}.lifetime", given.get("lifetime"), MAX_LIFETIME),
        owner_sessions=_optional(f"{key}.owner.sessions", owner.get("sessions"), MAX_SESSIONS),
        owner_num_conn=_optional(f"{key}.owner.num_conn", owner.get("num_conn"), MAX_NUM_CONN),
        by_default=frozenset(f"owner_{name}" for name in ("sessions", "num_conn") if name not in owner),
    )


def _optional(key: str, value: Any, most: int) -> int | None:
    return None if value is None else check_number(key, value, 1, most)


def _keys(key: str, value: Any, allowed: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict) or not set(value) <= set(allowed):
        raise ValueRefused(key, value, f"give an object with the keys {', '.join(allowed)}")
    return value


#: The limits of a policy that names none.
DEFAULT_LIMITS = parse_limits("limits", {})
