# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The native forwarder over a long path between the gateways, beside the direct path of the same length.

The link between the gateways is a delay line with a speed, where packets are lost if a sender exceeds it. Buffers are
those that the role sets for a network of 10 Gbit/s. Needs openssl and /dev/net/tun. What else is done, measure.py says.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from encrypted import Encrypted, HAProxy, Identities, Nginx
from measure import Candidate, Native, compare, options
from namespaces import PATH, Bed

LINE = Path(__file__).resolve().parent / "delay_line.py"
BUFFER = 256 << 20


class LongBed(Bed):
    """The link in the middle is long."""

    def __init__(self, round_trip: float, rate: float, buffer: int) -> None:
        super().__init__()
        self._numbers = ("--round-trip", str(round_trip), "--rate", str(rate))
        self._buffer = buffer
        self._line: subprocess.Popen[str] | None = None

    def build(self) -> None:
        super().build()
        for host in PATH:
            sizes = f"4096 131072 {self._buffer}"
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


def main() -> None:
    parser = options(__doc__)
    # The forwarder's own choice, and what that is where the host allows it.
    parser.set_defaults(connections=[1], seconds=10, congestion="", application_congestion="bbr")
    parser.add_argument("--round-trips", type=float, nargs="+", default=[50, 100], help="milliseconds")
    parser.add_argument("--rate", type=float, default=500, help="speed of the long link in Mbit/s, 0: no limit")
    parser.add_argument("--buffer", type=int, default=BUFFER, help="largest buffer of a connection in bytes")
    parser.add_argument("--beside", nargs="*", default=[], choices=["haproxy", "nginx"], help="with TLS as well")
    args = parser.parse_args()
    legs = {"accept": args.congestion or None, "connect": args.congestion or None}
    with tempfile.TemporaryDirectory() as directory:
        identities = Identities(Path(directory))
        settings = {"congestion": legs, "workers": args.workers[0]}
        for round_trip in args.round_trips:
            candidates: list[Candidate] = [
                Native("s2ds, not encrypted", settings, args.python),
                Encrypted("s2ds, encrypted", settings, args.python, identities),
            ]
            for kind in args.beside:
                beside = {"haproxy": HAProxy, "nginx": Nginx}[kind]
                candidates.append(beside(identities, 65536, 2, "TLS_AES_256_GCM_SHA384"))
            print(f"\nround trip {round_trip:g} ms, {args.rate:g} Mbit/s\n")
            compare(candidates, args, LongBed(round_trip, args.rate, args.buffer))


if __name__ == "__main__":
    main()
