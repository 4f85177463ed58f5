# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Selection of the ports of new sessions: those of the request, those before the last release, or the next ones."""

from __future__ import annotations

from functools import partial
from typing import Collection, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, ValueRefused, show
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import ports
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.control_messages import Request
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session_manager import SessionManager
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import port_conflicts


class PortSelection:
    """The ports that the requests of one call specify or had, and how the others are selected around them.

    Args:
        manager: The sessions of the gateway.
        requests: The requests.

    Raises:
        ValueRefused: Two requests specify the same port.
    """

    def __init__(self, manager: SessionManager, requests: Sequence[Request]) -> None:
        self._manager = manager
        self._store = manager.store
        self._range = manager.policy.port_range
        self._specified = {(item.uid, item.role): item.ports for item in requests if item.ports}
        present = self._store.keys()
        previous = {
            (item.uid, item.role): self._recall(item.uid, item.role)
            for item in requests
            if not item.ports and (item.uid, item.role) not in present
        }
        self._check_distinct()
        # By address.
        self._all_specified = self._by_address(self._specified)
        self._all_previous = self._by_address(previous)

    def chooser(self, new: Session, address: str, other_ports: bool = False) -> ports.PortChooser:
        """Return a function that selects the ports of a new session.

        Args:
            new: The session.
            address: Address of its listeners.
            other_ports: Whether to try others than before, because another program took one.
        """
        key = (new.uid, new.role)
        own = self._own(new, address)
        if key in self._specified:
            holder = partial(self._holder, address)
            return ports.specified_chooser(address, self._specified[key], own, holder)
        return ports.port_chooser(
            address,
            self._range,
            new.num_conn,
            random_start=other_ports,
            preferred=() if other_ports else self.wished(new),
            own=own,
            reserved=self._all_specified.get(address, ()),
            avoided=self._all_previous.get(address, ()),
        )

    def peer_chooser(self, new: Session, address: str) -> ports.PortChooser:
        """Return a function that selects the ports at which a consumer's gateway waits for the other gateway."""
        return ports.port_chooser(
            address,
            self._range,
            new.num_conn,
            reserved=self._all_specified.get(address, ()),
            avoided=self._all_previous.get(address, ()),
        )

    def wished(self, new: Session) -> Sequence[int]:
        """Return the ports that a session should get: the specified ones, or those that it had."""
        specified = self._specified.get((new.uid, new.role))
        return specified or self._expired(new) or self._recall(new.uid, new.role)

    def is_specified(self, new: Session) -> bool:
        """Tell whether the request specifies the ports of a session."""
        return (new.uid, new.role) in self._specified

    def _recall(self, uid: str, role: str) -> list[int]:
        return self._store.previous_ports(uid, role, self._manager.policy.listen.get(role, ""))

    def _own(self, new: Session, address: str) -> Collection[int]:
        """Return the ports that belong to what the request replaces, and that are still in use in check mode."""
        if self._manager.check_mode and self._manager.has_directory(new.uid, new.role):
            # An orphan may use any, except those of sessions.
            orphaned = (port for port in self.wished(new) if self._store.holder(address, port) is None)
            return self._expired(new) or list(orphaned)
        return ()

    def _expired(self, new: Session) -> list[int]:
        """Return the ports of the expired session that the request replaces, which is not released in check mode."""
        before = self._store.get(new.uid, new.role) if self._manager.check_mode else None
        address = self._manager.policy.listen.get(new.role)
        return [] if before is None else [item.port for item in before.spec().listeners if item.host == address]

    def _by_address(self, found: Mapping[tuple[str, str], Sequence[int]]) -> dict[str, set[int]]:
        """Return the ports that requests specify or had at each address."""
        ports_at: dict[str, set[int]] = {}
        for (_uid, role), chosen in found.items():
            ports_at.setdefault(self._manager.policy.listen.get(role, ""), set()).update(chosen)
        return ports_at

    def _check_distinct(self) -> None:
        seen: dict[tuple[str | None, int], str] = {}
        for (uid, role), chosen in self._specified.items():
            for port in chosen:
                where = (self._manager.policy.listen.get(role), port)
                if where in seen:
                    raise ValueRefused("ports", port, f"{seen[where]} and {role} of {uid} both specify it")
                seen[where] = f"{role} of {uid}"

    def _holder(self, address: str, port: int, in_store: bool) -> str:
        """Return who has a port, for a message."""
        if in_store:
            return self._session_at(address, port)
        found = port_conflicts.find([Endpoint(address, port)], "both", "")
        return found[0].partition(", ")[2] if found else "taken by another program or a connection"

    def _session_at(self, address: str, port: int) -> str:
        key = self._store.holder(address, port)
        if key is None:
            return "taken by a session"
        try:
            session = self._store.get(*key)
        except ScistreamError:
            session = None
        name = "" if session is None else session.labels.get("stream", "")
        stream = f", stream {show(name)}" if name else ""
        owner = "" if session is None else f" of {session.owner}"
        return f"taken by session {key[0]} ({key[1]}{stream}){owner}"
