# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The data servers side by side: throughput, processor time and latency of each, in one table.

Four network namespaces in a row are the path from the producer to the consumer. A data server runs on both gateways,
with the default settings and the templates of the roles, and iperf3 sends from the producer to the consumer. Every
round measures each data server once, and ratios are taken within a round, so that other load on the machine touches all
alike. The figures are medians.

The data servers are {kinds}, each with settings where they differ from the defaults, as in
s2ds:workers=2,pipe_size=262144, s2ds:copy (without splice) or haproxy-tls:threads=2,tls_buffer_size=65536. The
ratios to the native forwarder are to s2ds, with encryption to s2ds-tls. Any other program is measured by --other
NAME=COMMAND, where the words {{address}} {{port}} {{target}} {{target_port}} in COMMAND are replaced.

With --round-trip, the path between the gateways is long, and the ratios to the direct way are what counts.

With --calls, system calls and copied bytes are counted instead, which also makes sense in an emulated machine.

Needs root, ip, iperf3, the programs that are measured, and Python with jinja2 and cryptography; with --calls, only
strace.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import calls
from candidates import COLLECTION, KINDS, NATIVE, Candidate, DataServer, Direct, Other
from long_path import LongPath
from measure import Figures, measure, median
from namespaces import Namespaces

HEAD = (
    "connections",
    "data server",
    "Gbit/s",
    "of direct",
    "s/GB, producer's gateway",
    "s/GB, consumer's gateway",
    "CPU / native",
    "speed / native",
    "one hop, us",
)
Found = dict[int, dict[str, list[Figures]]]


def main() -> None:
    kinds = ", ".join(KINDS)
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").format(kinds=kinds), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("servers", nargs="*", default=list(KINDS), metavar="SERVER", help="all, if none is given")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8], help="for example 1 8 64 200")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each transfer")
    parser.add_argument("--message", type=int, default=64, metavar="BYTES", help="for the latency")
    parser.add_argument("--congestion", default="cubic", help="TCP congestion control of all hosts")
    parser.add_argument("--round-trip", type=float, metavar="MS", help="between the gateways, over a delay line")
    parser.add_argument("--rate", type=float, default=500, metavar="MBIT", help="of that line (%(default)s)")
    parser.add_argument("--other", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--calls", action="store_true", help="count system calls and copied bytes")
    parser.add_argument("--mib", type=int, default=64, help="with --calls, the amount (%(default)s)")
    args = parser.parse_args()
    sys.path.insert(0, str(COLLECTION.parents[2]))
    servers = [DataServer(name) for name in args.servers]
    missing = {server.name: server.missing() for server in servers}
    others = [Other(*other.split("=", 1)) for other in args.other]
    candidates = [*(server for server in servers if not missing[server.name]), *others]
    if args.calls:
        with tempfile.TemporaryDirectory() as work:
            rows = [row for candidate in candidates for row in calls.count(candidate, args.mib, Path(work))]
        print(table(calls.HEAD, rows))
    else:
        print(table(HEAD, lines([Direct(), *candidates], run([Direct(), *candidates], args))))
    for name, reason in missing.items():
        if reason:
            print(f"{name} was not measured: {reason}")
    loads = " ".join(f"{load:.1f}" for load in os.getloadavg())
    print(f"Load average at the end: {loads}; {os.cpu_count()} processors, kernel {os.uname().release}")


def run(candidates: list[Candidate], args: argparse.Namespace) -> Found:
    bed = LongPath(args.round_trip, args.rate) if args.round_trip else Namespaces(args.congestion)
    # Over a long path, the direct way is measured with what the forwarder chooses.
    options = ["-t", str(args.seconds), *(["-C", "bbr"] if args.round_trip else [])]
    with tempfile.TemporaryDirectory() as work:
        try:
            bed.build()
            return {
                count: measure(bed, candidates, count, args.rounds, options, args.message, Path(work))
                for count in args.connections
            }
        finally:
            bed.remove()


def lines(candidates: list[Candidate], found: Found) -> Iterator[list[str]]:
    for connections, rounds in found.items():
        direct = rounds[Direct().name]
        for candidate in candidates:
            native = rounds.get(NATIVE[candidate.encrypts], [])
            yield [str(connections), candidate.name, *row(candidate, rounds[candidate.name], direct, native)]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, whose numbers are aligned to the right."""
    found = list(rows)
    numbers = ["--:" if re.match(r"[\d.]", found[-1][column]) else "---" for column in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, numbers, *found))


def row(candidate: Candidate, figures: list[Figures], direct: list[Figures], native: list[Figures]) -> list[str]:
    """Return the cells of a candidate. All lists have the same rounds."""
    speed = f"{median([each.speed for each in figures]):.1f}"
    if candidate.direct:
        return [speed, *[""] * (len(HEAD) - 3)]
    rounds = list(zip(figures, direct, strict=True))
    cells = [speed, f"{median([each.speed / way.speed for each, way in rounds]):.2f}"]
    cells += [f"{median([each.cost[role] for each in figures]):.3f}" for role in figures[0].cost]
    pairs = list(zip(figures, native, strict=True)) if native else []
    cells += [f"{median([each.total / own.total for each, own in pairs]):.2f}" if pairs else ""]
    cells += [f"{median([each.speed / own.speed for each, own in pairs]):.2f}" if pairs else ""]
    return [*cells, f"{median([(each.latency - way.latency) / 2 for each, way in rounds]):.0f}"]


if __name__ == "__main__":
    main()
