# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What several gateways answer to s2cs_info, for the tests of descriptions that are compared with it."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import count
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_rate
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import make_credentials
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import SET_LABEL, Stream
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_reader import read_streams
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_steps import (
    Step,
    Wishes,
    plan_steps,
)

NAMES = ("gw-a", "gw-b", "gw-c")
SET = "beamline-2"
_ADDRESSES = {"gw-a": "192.0.2.1", "gw-b": "198.51.100.7", "gw-c": "203.0.113.9"}


def read(*streams: dict[str, Any], stream_set: str = SET) -> list[Stream]:
    """Return the streams of a description, as the plan of a run has them."""
    found = read_streams(list(streams), "apply", NAMES) if streams else []
    for stream in found if stream_set else ():
        stream.labels[SET_LABEL] = stream_set
    return found


class Fleet:
    """Gateways, at first without a session."""

    def __init__(self, *names: str) -> None:
        self.answers: dict[str, dict[str, Any]] = {
            name: {"sessions": [], "unreadable": [], "orphans": [], "gateway": {"name": name, "clients": {}}}
            for name in names or NAMES
        }
        self._addresses = {name: f"203.0.113.{number}" for number, name in enumerate(self.answers, 101)} | _ADDRESSES
        self._ports = {"producer": count(5100), "consumer": count(5200)}

    def opened(self, stream: dict[str, Any], stream_set: str = SET) -> Fleet:
        """Open a stream as described."""
        (made,) = read({**stream, "state": "present"}, stream_set=stream_set)
        return self.put(made)

    def put(self, made: Stream) -> Fleet:
        """Open a stream or a leg."""
        certificates = {role: make_credentials(made.uid, role).certificate for role in ROLES}
        listeners = {
            role: [
                f"{self._addresses[made.gateways[role]]}:{next(self._ports[role])}" for _each in range(made.num_conn)
            ]
            for role in ROLES
        }
        egress = self._addresses[made.gateways["consumer"]]
        clients = {"producer": made.consumer_address or [f"{egress}/32"], "consumer": made.clients}
        for role, other in (ROLES, ROLES[::-1]):
            session = {
                "uid": made.uid,
                "role": role,
                "state": "streaming",
                "health": "ok",
                "reason": "",
                "proxy": made.proxy or "s2ds",
                "runtime": made.runtime or "process",
                "encryption": made.encryption,
                "transport": made.transport or "tcp",
                "num_conn": made.num_conn,
                "rate": check_rate(made.rate),
                "lifetime": made.lifetime,
                "labels": dict(made.labels),
                "listeners": listeners[role],
                "producer_listeners": list(made.producer_listeners) if role == "producer" else [],
                "targets": list(made.producer_listeners if role == "producer" else listeners["producer"]),
                "clients": list(clients[role]),
                "egress": egress if role == "consumer" else None,
                "certificate": certificates[role],
                "peer_certificate": certificates[other],
                "created": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
            self.answers[made.gateways[role]].setdefault("sessions", []).append(session)
        return self

    def silence(self, name: str) -> Fleet:
        """Let a gateway not answer any more."""
        self.answers[name] = {"refused": True, "lost": True, "msg": "cannot be reached"}
        return self

    def sessions(self, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.answers[name]["sessions"]
        return found

    def session(self, role: str) -> dict[str, Any]:
        """Return the first session of a role on any gateway."""
        return next(item for name in NAMES for item in self.sessions(name) if item["role"] == role)

    def steps(
        self,
        *streams: dict[str, Any],
        stream_set: str = SET,
        prune: bool = False,
        replace: bool = False,
        patient: bool = True,
        now: datetime | None = None,
    ) -> list[Step]:
        """Return what has to be done for the gateways to match a description."""
        wishes = Wishes(stream_set, prune, replace, patient)
        found = read(*streams, stream_set=stream_set)
        return plan_steps(found, self.answers, wishes, now or datetime.now(timezone.utc))
