# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much may be reserved: in all, by one session, by one owner, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterable

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.values import check_number

# Ten years: longer than any gateway, and far from what a time can hold.
LONGEST_LIFE = 3650 * 86400
_MOST = 65535


@dataclass(frozen=True)
class Limits:
    """The limits of a policy; None is no limit.

    Args:
        num_conn: Most connections of a session.
        sessions: Most sessions at a time.
        lifetime: Longest life of a session in seconds, and that of a session whose request names none.
        owner_sessions: Most sessions of one owner at a time.
        owner_num_conn: Most connections of all sessions of one owner together.
    """

    num_conn: int = 64
    sessions: int = 256
    lifetime: int | None = None
    owner_sessions: int | None = None
    owner_num_conn: int | None = None

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
        if self.owner_sessions is not None and len(own) >= self.owner_sessions:
            raise RefusedError(
                f"uid: {wanted.owner} has {len(own)} sessions on this gateway, and its policy allows each owner "
                f"{self.owner_sessions}: release one first",
                "limits.owner.sessions",
            )
        used = sum(session.num_conn for session in own)
        if self.owner_num_conn is not None and used + wanted.num_conn > self.owner_num_conn:
            raise RefusedError(
                f"num_conn: {wanted.owner} has {used} connections on this gateway and asks for {wanted.num_conn}, and "
                f"its policy allows each owner {self.owner_num_conn}: ask for fewer, or release a session first",
                "limits.owner.num_conn",
            )

    def shown(self) -> dict[str, Any]:
        """Return the limits with the keys of the policy."""
        return {
            "num_conn": self.num_conn,
            "sessions": self.sessions,
            "lifetime": self.lifetime,
            "owner": {"sessions": self.owner_sessions, "num_conn": self.owner_num_conn},
        }


def parse_limits(key: str, value: Any) -> Limits:
    """Read the policy's limits."""
    given = _keys(key, value, ("num_conn", "sessions", "lifetime", "owner"))
    owner = _keys(f"{key}.owner", {} if given.get("owner") is None else given["owner"], ("num_conn", "sessions"))
    return Limits(
        num_conn=check_number(f"{key}.num_conn", given.get("num_conn", Limits.num_conn), 1, _MOST),
        sessions=check_number(f"{key}.sessions", given.get("sessions", Limits.sessions), 1, _MOST),
        lifetime=_optional(f"{key}.lifetime", given.get("lifetime"), LONGEST_LIFE),
        owner_sessions=_optional(f"{key}.owner.sessions", owner.get("sessions"), _MOST),
        owner_num_conn=_optional(f"{key}.owner.num_conn", owner.get("num_conn"), _MOST),
    )


def _optional(key: str, value: Any, most: int) -> int | None:
    return None if value is None else check_number(key, value, 1, most)


def _keys(key: str, value: Any, allowed: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict) or not set(value) <= set(allowed):
        raise ValueRefused(key, value, f"give an object with the keys {', '.join(allowed)}")
    return value
