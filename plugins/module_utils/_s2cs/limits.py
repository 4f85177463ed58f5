# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Limits of a policy: in total, for a session and for an owner."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, Sequence

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
class Usage:
    """What sessions use.

    Args:
        sessions: Number of sessions.
        owner_sessions: Number of sessions of one owner.
        owner_num_conn: Number of connections in all sessions of that owner.
    """

    sessions: int
    owner_sessions: int
    owner_num_conn: int

    @classmethod
    def of(cls, sessions: Sequence[Session], owner: str | None) -> Usage:
        """Return what sessions use, in total and of an owner."""
        own = [session.num_conn for session in sessions if session.owner == owner]
        return cls(len(sessions), len(own), sum(own))


@dataclass(frozen=True)
class Limits:
    """The limits of a policy. None means no limit.

    Args:
        num_conn: Maximum number of connections of a session.
        sessions: Maximum number of sessions.
        lifetime: Maximum lifetime of a session in seconds, which is also the default.
        owner_sessions: Maximum number of sessions of one owner.
        owner_num_conn: Maximum number of connections in all sessions of one owner.
        by_default: Limits of an owner that the policy does not specify. Their defaults leave room for other users.
    """

    num_conn: int = 64
    sessions: int = 256
    lifetime: int | None = None
    owner_sessions: int | None = None
    owner_num_conn: int | None = None
    by_default: frozenset[str] = frozenset()

    def for_ports(self, ports: int) -> Limits:
        """Return these limits with the defaults for an owner.

        By default, an owner may use half of the sessions and ports, but always as many ports as a single session.

        Args:
            ports: Number of ports in the range of the policy.
        """
        limits = self
        if "owner_sessions" in self.by_default:
            limits = replace(limits, owner_sessions=max(1, self.sessions // 2))
        if "owner_num_conn" in self.by_default:
            limits = replace(limits, owner_num_conn=max(min(self.num_conn, ports), ports // 2))
        return limits

    def _owner_limit(self, name: str, owner: str) -> int | None:
        """Return a limit of an owner. Defaults do not apply to root, nor to the account of an unprivileged S2CS."""
        if name in self.by_default and (os.geteuid() != 0 or owner == "root"):
            return None
        found: int | None = getattr(self, name)
        return found

    def apply_to(self, owner: str) -> bool:
        """Return whether any of these limits depends on what the sessions of an owner use."""
        return any(self._owner_limit(name, owner) is not None for name in ("owner_sessions", "owner_num_conn"))

    def check(self, wanted: Session, present: Usage) -> None:
        """Check that a new session does not exceed the limits.

        Args:
            wanted: The new session.
            present: What the existing sessions use.

        Raises:
            RefusedError: A limit would be exceeded.
        """
        if present.sessions >= self.sessions:
            raise RefusedError(
                f"uid: this gateway has {present.sessions} sessions, and its policy allows {self.sessions}: "
                "release one first",
                "limits.sessions",
            )
        max_sessions = self._owner_limit("owner_sessions", wanted.owner)
        max_connections = self._owner_limit("owner_num_conn", wanted.owner)
        if max_sessions is not None and present.owner_sessions >= max_sessions:
            raise RefusedError(
                f"uid: {wanted.owner} has {present.owner_sessions} sessions on this gateway, and its policy allows "
                f"each owner {max_sessions}: release one first",
                "limits.owner.sessions",
            )
        used = present.owner_num_conn
        if max_connections is not None and used + wanted.num_conn > max_connections:
            raise RefusedError(
                f"num_conn: {wanted.owner} has {used} connections on this gateway and requests {wanted.num_conn}, and "
                f"its policy allows each owner {max_connections}: request fewer, or release a session first",
                "limits.owner.num_conn",
            )

    def to_result(self) -> dict[str, Any]:
        """Return the limits under the keys of the policy."""
        return {
            "num_conn": self.num_conn,
            "sessions": self.sessions,
            "lifetime": self.lifetime,
            "owner": {"sessions": self.owner_sessions, "num_conn": self.owner_num_conn},
        }


def parse_limits(key: str, value: Any) -> Limits:
    """Read the limits of a policy. Null means no limit. If a limit is omitted, its default applies.

    Args:
        key: The key of the policy, for messages.
        value: Its value.

    Raises:
        ValueRefused: A limit is invalid.
    """
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


def _optional(key: str, value: Any, maximum: int) -> int | None:
    return None if value is None else check_number(key, value, 1, maximum)


def _keys(key: str, value: Any, allowed: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict) or not set(value) <= set(allowed):
        raise ValueRefused(key, value, f"must be an object with the keys {', '.join(allowed)}")
    return value


#: The limits of a policy that does not specify any.
DEFAULT_LIMITS = parse_limits("limits", {})
