# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Throughput and cost of forwarders, two hops in series, beside the direct path.

Routes between four network namespaces make the direct path; a candidate is run on both gateways, and iperf3
sends from the producer to the consumer. Every round measures each candidate once, and the ratio is to the direct
path of the same round, so that other load on the machine touches all alike. Needs root, ip and iperf3.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import re
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from namespaces import CONSUMER, GATEWAY_C, GATEWAY_P, PRODUCER, Bed

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(__file__).resolve().parents[1] / "roles" / "s2ds" / "files" / "s2ds"
PORT = 5201
# One iperf3 opens at most 128 connections.
MOST_PER_PAIR = 100


class Candidate:
    """A forwarder for both gateways."""

    direct = False

    def __init__(self, name: str) -> None:
        self.name = name

    def words(self, host: str, directory: Path, address: str, target: str, ports: list[int]) -> list[list[str]]:
        """The commands to run on this gateway, which may write into a directory of its own."""
        raise NotImplementedError


class Direct(Candidate):
    """The routed path, without any forwarder."""

    direct = True

    def __init__(self) -> None:
        super().__init__("direct")


class Native(Candidate):
    """The forwarder of this collection."""

    def __init__(self, name: str, settings: dict[str, Any], python: str = sys.executable, *options: str) -> None:
        super().__init__(name)
        self._settings = settings
        self._words = [python, "-I", "-S", str(PROGRAM), *options]

    def settings(self, host: str) -> dict[str, Any]:
        """What is set on this gateway."""
        return self._settings

    def words(self, host: str, directory: Path, address: str, target: str, ports: list[int]) -> list[list[str]]:
        directory.mkdir(exist_ok=True)
        listeners = [{"address": address, "port": port, "target": [target, port]} for port in ports]
        (directory / "s2ds.json").write_text(json.dumps({"listeners": listeners, **self.settings(host)}))
        return [[*self._words, "--directory", str(directory)]]


class Other(Candidate):
    """Any program, one process for each port, by its command line."""

    def __init__(self, name: str, command: str) -> None:
        super().__init__(name)
        self._command = command

    def words(self, host: str, directory: Path, address: str, target: str, ports: list[int]) -> list[list[str]]:
        places = [{"address": address, "port": port, "target": target, "target_port": port} for port in ports]
        return [shlex.split(self._command.format(**place)) for place in places]


@contextlib.contextmanager
def forwarding(bed: Bed, candidate: Candidate, work: Path, ports: list[int]) -> Iterator[tuple[str, list[float]]]:
    """Yields the address that the consumer connects to, and a list that holds the CPU seconds afterwards."""
    cpu: list[float] = []
    if candidate.direct:
        yield "10.91.2.2", cpu
        return
    hops = ((GATEWAY_P, "10.91.1.2", "10.91.2.2"), (GATEWAY_C, "10.91.0.2", "10.91.1.2"))
    children: list[subprocess.Popen[bytes]] = []
    try:
        for host, address, target in hops:
            for words in candidate.words(host, work / host, address, target, ports):
                command = bed.command(host, *words)
                children.append(subprocess.Popen(command, stderr=(work / f"{host}.log").open("ab")))
        for child, port in itertools.product(children, ports):
            wait_for(child.pid, port)
        # What the start costs is no part of what a gigabyte costs.
        start = sum(cpu_seconds(child.pid) for child in children)
        yield "10.91.0.2", cpu
        cpu.append(-start)
    finally:
        for child in children:
            # Not by its method, which would take away the usage of one that has ended already.
            os.kill(child.pid, signal.SIGTERM)
            _pid, status, usage = os.wait4(child.pid, 0)
            child.returncode = status
            cpu.append(usage.ru_utime + usage.ru_stime)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for(pid: int, port: int) -> None:
    """Until the process, or another one in its namespace, listens on the port."""
    for _unused in range(500):
        tables = "".join(Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6"))
        if re.search(rf":{port:04X} 0+:0000 0A", tables):
            return
        time.sleep(0.02)
    raise SystemExit(f"nobody listens on port {port}")


def transfer(bed: Bed, address: str, connections: int, ports: list[int], options: list[str]) -> tuple[float, float]:
    """Gbit/s that arrived, and bytes."""
    share, more = divmod(connections, len(ports))
    clients = []
    servers = [
        subprocess.Popen(bed.command(PRODUCER, "iperf3", "-s", "-1", "-p", str(port)), stdout=subprocess.DEVNULL)
        for port in ports
    ]
    try:
        for server, port in zip(servers, ports, strict=True):
            wait_for(server.pid, port)
        for index, port in enumerate(ports):
            count = share + (index < more)
            words = ("iperf3", "-c", address, "-p", str(port), "-R", "-J", "-P", str(count), *options)
            clients.append(subprocess.Popen(bed.command(CONSUMER, *words), stdout=subprocess.PIPE))
        results = [json.loads(client.communicate(timeout=120)[0]) for client in clients]
    finally:
        for process in (*clients, *servers):
            process.kill()
            process.wait()
    for result in results:
        if "error" in result:
            raise SystemExit(f"iperf3: {result['error']}: the candidate does not forward")
    received = [result["end"]["sum_received"] for result in results]
    return sum(end["bits_per_second"] for end in received) / 1e9, sum(end["bytes"] for end in received)


def measure(
    bed: Bed, candidates: list[Candidate], connections: int, rounds: int, options: list[str], work: Path
) -> dict[str, list[tuple[float, float]]]:
    """For each candidate and round: ratio to direct, CPU seconds for each GB on one gateway."""
    ports = [PORT + number for number in range(-(-connections // MOST_PER_PAIR))]
    figures: dict[str, list[tuple[float, float]]] = {candidate.name: [] for candidate in candidates}
    for number in range(rounds):
        # Another order each time: whoever comes after somebody must not always come after the same.
        order = candidates[:1] + candidates[1:][:: 1 if number % 2 else -1]
        direct = 0.0
        for candidate in order:
            with forwarding(bed, candidate, work, ports) as (address, cpu):
                speed, size = transfer(bed, address, connections, ports, options)
            direct = direct or speed
            cost = sum(cpu) / 2 / (size / 1e9) if size else 0.0
            figures[candidate.name].append((speed / direct, cost))
            line = f"{connections:5} {candidate.name:24} {speed:7.2f} Gbit/s {speed / direct:5.2f} {cost:6.3f} s/GB"
            print(line, file=sys.stderr)
    return figures


def options(description: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[0], help="0: automatic")
    parser.add_argument("--application-congestion", default="cubic", help="TCP congestion control of iperf3")
    parser.add_argument("--congestion", default="cubic", help="and of both legs of the forwarder")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that runs the forwarder")
    parser.add_argument("--other", action="append", default=[], metavar="NAME=COMMAND")
    return parser


def compare(candidates: list[Candidate], args: argparse.Namespace) -> None:
    """Measure all, and print a table of medians."""
    candidates = [Direct(), *candidates, *(Other(*other.split("=", 1)) for other in args.other)]
    words = ["-t", str(args.seconds), "-C", args.application_congestion]
    bed = Bed()
    with tempfile.TemporaryDirectory() as work:
        try:
            bed.build()
            tables = {
                count: measure(bed, candidates, count, args.rounds, words, Path(work)) for count in args.connections
            }
        finally:
            bed.remove()
    print("| candidate | " + " | ".join(f"{count} connections | s/GB" for count in tables) + " |")
    print("|---" * (1 + 2 * len(tables)) + "|")
    for candidate in candidates:
        cells = []
        for figures in tables.values():
            ratios, costs = zip(*figures[candidate.name], strict=True)
            cells += [f"{statistics.median(ratios):.2f}", f"{statistics.median(costs):.3f}"]
        print(f"| {candidate.name} | " + " | ".join(cells) + " |")
