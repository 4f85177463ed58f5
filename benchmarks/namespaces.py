# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Four network namespaces in a row: consumer, consumer gateway, producer gateway, producer. Needs root and ip."""

from __future__ import annotations

import itertools
import os
import subprocess

CONSUMER, GATEWAY_C, GATEWAY_P, PRODUCER = "consumer", "gateway-c", "gateway-p", "producer"
PATH = (CONSUMER, GATEWAY_C, GATEWAY_P, PRODUCER)


class Bed:
    """The namespaces: <prefix>-<name>, 10.91.<link>.1 on the left and .2 on the right of each link."""

    def __init__(self) -> None:
        self.prefix = f"s2ds-{os.getpid()}"

    def name(self, host: str) -> str:
        return f"{self.prefix}-{host}"

    def build(self) -> None:
        for host in PATH:
            run("ip", "netns", "add", self.name(host))
            self.run(host, "ip", "link", "set", "lo", "up")
            self.run(host, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for link, (left, right) in enumerate(itertools.pairwise(PATH)):
            ends = (f"right{link}", f"left{link}")
            peer = ("peer", "name", ends[1], "netns", self.name(right))
            run("ip", "link", "add", ends[0], "netns", self.name(left), "type", "veth", *peer)
            for side, (host, end) in enumerate(zip((left, right), ends, strict=True)):
                self.run(host, "ip", "address", "add", f"10.91.{link}.{side + 1}/24", "dev", end)
                self.run(host, "ip", "link", "set", end, "up")
        self.run(CONSUMER, "ip", "route", "add", "default", "via", "10.91.0.2")
        self.run(GATEWAY_C, "ip", "route", "add", "default", "via", "10.91.1.2")
        self.run(GATEWAY_P, "ip", "route", "add", "10.91.0.0/24", "via", "10.91.1.1")
        self.run(PRODUCER, "ip", "route", "add", "default", "via", "10.91.2.1")

    def remove(self) -> None:
        for host in PATH:
            subprocess.run(["ip", "netns", "delete", self.name(host)], check=False, stderr=subprocess.DEVNULL)

    def command(self, host: str, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.name(host), *words]

    def run(self, host: str, *words: str) -> None:
        run(*self.command(host, *words))


def run(*words: str) -> None:
    subprocess.run(words, check=True)
