# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An encrypted stream over two gateways, opened by the modules as S2UC does it."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import Credentials, make_credentials
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_uid

ROLES = ("producer", "consumer")


class EncryptedStream:
    """Two sessions, each with a key of its own.

    Args:
        producer: The producer's gateway.
        consumer: The consumer's gateway.
        proxy: The data server of both.
        target: Where the producer's application listens.
    """

    def __init__(self, producer: S2CS, consumer: S2CS, proxy: str, target: str) -> None:
        self.gateways = {"producer": producer, "consumer": consumer}
        self.proxy = proxy
        self.target = target
        self.uid = own_uid()
        self.credentials: dict[str, Credentials] = {role: make_credentials(self.uid, role) for role in ROLES}

    def announce(self) -> None:
        """REQ and HELLO on both gateways."""
        for role, gateway in self.gateways.items():
            gateway.done(
                "request", uid=self.uid, role=role, secret=SECRET, proxy=self.proxy, runtime="process", encryption="tls"
            )
            own = self.credentials[role]
            more = {"producer_listeners": [self.target]} if role == "producer" else {}
            gateway.done(
                "hello", uid=self.uid, role=role, secret=SECRET, certificate=own.certificate, key=own.key, **more
            )

    def admit(self, certificate: str | None = None) -> str:
        """UPDATE of the producer's gateway; returns its listener."""
        certificate = certificate or self.credentials["consumer"].certificate
        result = self.gateways["producer"].done("update", uid=self.uid, role="producer", peer_certificate=certificate)
        return str(result["session"]["listeners"][0])

    def lead(self, listener: str, certificate: str | None = None) -> str:
        """UPDATE of the consumer's gateway, to the listener of the other or what stands in front of it.

        Returns:
            Where the consumer's application connects.
        """
        certificate = certificate or self.credentials["producer"].certificate
        result = self.gateways["consumer"].done(
            "update", uid=self.uid, role="consumer", remote_listeners=[listener], peer_certificate=certificate
        )
        return str(result["session"]["listeners"][0])

    def directory(self, role: str) -> Path:
        """Return the directory of a session on its gateway."""
        return self.gateways[role].sessions / f"{role}-{self.uid}"

    def release(self) -> None:
        """REL on both gateways."""
        for role, gateway in self.gateways.items():
            gateway.done("release", uid=self.uid, role=role)
