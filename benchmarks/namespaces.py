# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Four network namespaces in a row: consumer, consumer gateway, producer gateway, producer. Needs root and ip."""

from __future__ import annotations

import itertools
import os
import subprocess
from typing import ClassVar

CONSUMER, GATEWAY_C, GATEWAY_P, PRODUCER = "consumer", "gateway-c", "gateway-p", "producer"
PATH = (CONSUMER, GATEWAY_C, GATEWAY_P, PRODUCER)


class Bed:
    """Where gateways run.

    Attributes:
        hops: Address and target of the gateway of each role, as the bytes flow.
        producer: Where the consumer would connect to without gateways.
    """

    hops: ClassVar[dict[str, tuple[str, str]]]
    producer: str

    @property
    def entry(self) -> str:
        """Where the consumer connects to."""
        return self.hops["consumer"][0]

    def gateway(self, role: str, words: list[str]) -> list[str]:
        """Return the command that runs a program on the gateway of a role."""
        raise NotImplementedError


class Namespaces(Bed):
    """The namespaces: <prefix>-<name>, 10.91.<link>.1 on the left and .2 on the right of each link."""

    hops: ClassVar = {"producer": ("10.91.1.2", "10.91.2.2"), "consumer": ("10.91.0.2", "10.91.1.2")}
    producer = "10.91.2.2"
    #: That the latency is measured with.
    messages = 2000

    def __init__(self, congestion: str) -> None:
        """Create a description; all hosts use this TCP congestion control. If empty, programs choose."""
        self._congestion = congestion
        self.prefix = f"s2ds-{os.getpid()}"

    def name(self, host: str) -> str:
        return f"{self.prefix}-{host}"

    def build(self) -> None:
        for host in PATH:
            run("ip", "netns", "add", self.name(host))
            self.run(host, "ip", "link", "set", "lo", "up")
            self.run(host, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for link, (left, right) in enumerate(itertools.pairwise(PATH)):
            self.connect(link, left, right)
        self._route(CONSUMER, "add", "default", "via", "10.91.0.2")
        self._route(GATEWAY_C, "add", "default", "via", "10.91.1.2")
        self._route(GATEWAY_P, "add", "10.91.0.0/24", "via", "10.91.1.1")
        self._route(PRODUCER, "add", "default", "via", "10.91.2.1")

    def connect(self, link: int, left: str, right: str) -> None:
        """Make a link between two hosts."""
        ends = (f"right{link}", f"left{link}")
        peer = ("peer", "name", ends[1], "netns", self.name(right))
        run("ip", "link", "add", ends[0], "netns", self.name(left), "type", "veth", *peer)
        for side, (host, end) in enumerate(zip((left, right), ends, strict=True)):
            self.run(host, "ip", "address", "add", f"10.91.{link}.{side + 1}/24", "dev", end)
            self.run(host, "ip", "link", "set", end, "up")
            self._route(host, "replace", f"10.91.{link}.0/24", "dev", end, "src", f"10.91.{link}.{side + 1}")

    def _route(self, host: str, *words: str) -> None:
        # By routes, as a namespace may only use what the host allows everybody.
        control = ("congctl", self._congestion) if self._congestion else ()
        self.run(host, "ip", "route", *words, *control)

    def remove(self) -> None:
        for host in PATH:
            subprocess.run(["ip", "netns", "delete", self.name(host)], check=False, stderr=subprocess.DEVNULL)

    def gateway(self, role: str, words: list[str]) -> list[str]:
        return self.command({"producer": GATEWAY_P, "consumer": GATEWAY_C}[role], *words)

    def command(self, host: str, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.name(host), *words]

    def run(self, host: str, *words: str) -> None:
        run(*self.command(host, *words))


def run(*words: str) -> None:
    subprocess.run(words, check=True)
