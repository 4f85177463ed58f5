# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gateways of which the producer's dials, with and without encryption."""

from __future__ import annotations

import socket
from typing import Any

import pytest

HEARTBEAT = 0.1
PAUSE = [0.05, 0.4]


class Dialling:
    """The bed, with both gateways: `waits` is the consumer's, `dials` the producer's."""

    def __init__(self, bed: Any, sealed: Any, encrypted: bool) -> None:
        self.bed = bed
        self.sealed = sealed
        self.encrypted = encrypted

    def tls(self, side: str) -> dict[str, Any]:
        return {"tls": self.sealed.tls(side)} if self.encrypted else {}

    def waits_config(self, listeners: int = 1, dial: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
        own = [{"address": "127.0.0.2", "port": 0} for _unused in range(listeners)]
        peers = [{"address": "127.0.0.3", "port": 0} for _unused in range(listeners)]
        waits = {"role": "waits", "listeners": peers, "open": True, "heartbeat": HEARTBEAT, **(dial or {})}
        return {"listeners": own, "dial": waits, **self.tls("connect"), **config}

    def dials_config(
        self, peers: list[Any], targets: list[Any], dial: dict[str, Any] | None = None, **config: Any
    ) -> dict[str, Any]:
        legs = [{"peer": peer, "target": target} for peer, target in zip(peers, targets)]
        dials = {"role": "dials", "legs": legs, "heartbeat": HEARTBEAT, "pause": PAUSE, **(dial or {})}
        return {"listeners": [], "dial": dials, **self.tls("accept"), **config}

    def waits(self, *options: str, **config: Any) -> Any:
        return self.bed.raw(self.waits_config(**config), *options, name="waits").started()

    def dials(self, peers: list[Any], targets: list[Any], *options: str, name: str = "dials", **config: Any) -> Any:
        return self.bed.raw(self.dials_config(peers, targets, **config), *options, name=name).started()

    @staticmethod
    def peers(waits: Any) -> list[list[Any]]:
        """The addresses of the peer listeners."""
        found = [name.rpartition(":") for name in waits.status()["peer_listeners"]]
        return [[host, int(port)] for host, _colon, port in found]

    def gateways(
        self,
        targets: list[Any],
        waits: dict[str, Any] | None = None,
        dials: dict[str, Any] | None = None,
        pool: int = 2,
    ) -> tuple[Any, Any]:
        """Both gateways, with full pools."""
        consumer = self.waits(listeners=len(targets), **(waits or {}))
        producer = self.dials(self.peers(consumer), targets, dial={"pool": pool}, **(dials or {}))
        self.full(consumer, pool * len(targets))
        self.full(producer, pool * len(targets))
        return consumer, producer

    def full(self, forwarder: Any, waiting: int) -> None:
        def reached() -> bool:
            dial = forwarder.status()["dial"]
            return bool(dial["waiting"] == waiting and not dial["without"])

        self.bed.wait_until(reached, f"{waiting} connections that wait")

    def waiting(self, forwarder: Any, waiting: int) -> None:
        self.bed.wait_until(lambda: forwarder.status()["dial"]["waiting"] == waiting, f"{waiting} connections wait")

    def pair(self, *, pool: int = 2, **both: Any) -> tuple[Any, Any, Any, Any]:
        """Both gateways, and both ends of one connection through them."""
        target = self.bed.target()
        consumer, producer = self.gateways([target.address], both, both, pool)
        client, server = self.bed.link(consumer, target)
        return consumer, producer, client, server

    def dial(self, address: list[Any]) -> Any:
        """A connection to a peer listener, authenticated if that is encrypted, that is not from a forwarder."""
        sock = socket.create_connection(tuple(address), timeout=20)
        peer = self.bed.peer(sock)
        if self.encrypted:
            self.sealed.serve(peer)
        return peer

    def accept(self, listener: Any) -> Any:
        """What a listener that is not one of a forwarder accepts from one that dials."""
        peer = listener.accept()
        if self.encrypted:
            self.sealed.shake(peer)
        return peer


@pytest.fixture(params=["plain", "encrypted"])
def dialling(bed: Any, sealed: Any, request: pytest.FixtureRequest) -> Dialling:
    return Dialling(bed, sealed, request.param == "encrypted")


@pytest.fixture
def plainly(bed: Any, sealed: Any) -> Dialling:
    return Dialling(bed, sealed, encrypted=False)
