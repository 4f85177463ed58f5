# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A long path between the gateways: the link in the middle is a delay line with a speed.

Packets are lost if a sender exceeds that speed. Buffers are those that the role sets for a network of 10 Gbit/s, and
programs choose their TCP congestion control. Needs /dev/net/tun.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from namespaces import PATH, Namespaces

LINE = Path(__file__).resolve().parent / "delay_line.py"
BUFFER = 256 << 20


class LongPath(Namespaces):
    """The same namespaces, with a delay between the gateways."""

    messages = 20

    def __init__(self, round_trip: float, rate: float) -> None:
        """Create a description.

        Args:
            round_trip: Milliseconds.
            rate: Mbit/s, 0 for no limit.
        """
        super().__init__("")
        self._numbers = ("--round-trip", str(round_trip), "--rate", str(rate))
        self._line: subprocess.Popen[str] | None = None

    def build(self) -> None:
        super().build()
        for host in PATH:
            sizes = f"4096 131072 {BUFFER}"
            self.run(host, "sysctl", "-qw", f"net.ipv4.tcp_rmem={sizes}", f"net.ipv4.tcp_wmem={sizes}")

    def connect(self, link: int, left: str, right: str) -> None:
        if link != 1:
            super().connect(link, left, right)
            return
        ends = (self.name(left), f"10.91.{link}.1/24", self.name(right), f"10.91.{link}.2/24")
        words = [sys.executable, str(LINE), *ends, *self._numbers]
        self._line = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        if self._line.stdout is None or self._line.stdout.readline() != "ready\n":
            raise SystemExit("the delay line does not work")

    def remove(self) -> None:
        if self._line is not None:
            self._line.kill()
            self._line.wait()
        super().remove()
