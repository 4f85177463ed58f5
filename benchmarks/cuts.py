# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the consumer's application sees if a stream is cut in the middle, by proxy and by what cuts it.

Both gateways are on this machine, as in the tests, which provide them. A row shows how the stream of 64 MiB ended in
each round, and how many MiB were missing: at first for an application that is slow, then for one that has read all that
had come. An `end` is what the application also sees of a stream that is whole.

    python3 benchmarks/cuts.py --proxies haproxy haproxy-tls nginx nginx-tls stunnel s2ds s2ds-tls haproxy-tls+s2ds

With `+`, the first one is on the producer's gateway, and the second one on the consumer's. Needs these programs.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

COLLECTIONS = Path(__file__).resolve().parents[4]
TESTS = "ansible_collections.scistream.gateway.tests.integration"
# Seconds between blocks of 64 KiB, so that the application is faster.
PAUSE = 0.001


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proxies", nargs="+", default=["haproxy", "haproxy-tls", "nginx", "nginx-tls", "stunnel"])
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    sys.path.insert(0, str(COLLECTIONS))
    cuts = _import("proxies.cuts")
    for kind in given.proxies:
        print(f"\n| {kind} | cut at the gateway of the | slow application | fast application |")
        print("| --- | --- | --- | --- |")
        for way, cut in {**cuts.PASSING, **cuts.FINAL}.items():
            for role in cuts.ROLES:
                seen = [_ends(cuts, kind, cut, role, pause, given.rounds) for pause in (0.0, PAUSE)]
                print(f"| {way} | {role} | {' | '.join(seen)} |", flush=True)


def _ends(cuts: Any, kind: str, cut: Any, role: str, pause: float, rounds: int) -> str:
    return ", ".join(_end(cuts, kind, cut, role, pause) for _unused in range(rounds))


def _end(cuts: Any, kind: str, cut: Any, role: str, pause: float) -> str:
    """Cut a stream of its own."""
    proxy, _unused, front = kind.partition("+")
    with tempfile.TemporaryDirectory() as directory, cuts.Source(pause) as source:
        policy = _import("proxies.harness").policy(Path(directory))
        s2cs = _import("s2cs.instance").S2CS(Path(directory) / "gateway", **policy)
        try:
            end = cuts.Route(s2cs, proxy, source, front).carry(cut, role, waits=not pause)
        finally:
            left = s2cs.remove()
            if left:
                raise SystemExit(f"left after release: {left}")
    return f"{end.how} -{(cuts.SIZE - end.received) / cuts.MIB:.0f}"


def _import(name: str) -> Any:
    return importlib.import_module(f"{TESTS}.{name}")


if __name__ == "__main__":
    main()
