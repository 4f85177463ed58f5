# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Throughput and cost of the native forwarder, two hops in series, beside the direct path.

Builds four network namespaces (consumer, consumer gateway, producer gateway, producer), routes between
them for the direct path, runs a forwarder on both gateways for the others, and lets iperf3 send from the
producer to the consumer. Every round measures each candidate once, and the ratio is to the direct path
of the same round, so that other load on the machine touches all alike. Needs root, ip and iperf3.

Another program is measured beside it by --other NAME=COMMAND, where the words {address} {port} {target}
{target_port} in COMMAND are replaced.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(__file__).resolve().parents[1] / "roles" / "s2ds" / "files" / "s2ds"
CONSUMER, GATEWAY_C, GATEWAY_P, PRODUCER = "consumer", "gateway-c", "gateway-p", "producer"
PATH = (CONSUMER, GATEWAY_C, GATEWAY_P, PRODUCER)
PORT = 5201
# One iperf3 opens at most 128 connections.
MOST_PER_PAIR = 100


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


class Candidate:
    """A forwarder for both gateways; without a command, the direct path."""

    def __init__(self, name: str, command: str | None, settings: dict[str, Any] | None = None) -> None:
        self.name = name
        self.command = command
        self.settings = settings

    def words(self, directory: Path, address: str, target: str, ports: list[int]) -> list[list[str]]:
        if self.settings is None:
            assert self.command is not None
            places = [{"address": address, "port": port, "target": target, "target_port": port} for port in ports]
            return [shlex.split(self.command.format(**place)) for place in places]
        directory.mkdir(exist_ok=True)
        listeners = [{"address": address, "port": port, "target": [target, port]} for port in ports]
        (directory / "s2ds.json").write_text(json.dumps({"listeners": listeners, **self.settings}))
        assert self.command is not None
        return [[*shlex.split(self.command), "--directory", str(directory)]]


@contextlib.contextmanager
def forwarding(bed: Bed, candidate: Candidate, work: Path, ports: list[int]) -> Iterator[tuple[str, list[float]]]:
    """Yields the address that the consumer connects to, and a list that holds the CPU seconds afterwards."""
    cpu: list[float] = []
    if candidate.command is None:
        yield "10.91.2.2", cpu
        return
    hops = ((GATEWAY_P, "10.91.1.2", "10.91.2.2"), (GATEWAY_C, "10.91.0.2", "10.91.1.2"))
    children: list[subprocess.Popen[bytes]] = []
    try:
        for host, address, target in hops:
            for words in candidate.words(work / host, address, target, ports):
                command = bed.command(host, *words)
                children.append(subprocess.Popen(command, stderr=(work / f"{host}.log").open("ab")))
        time.sleep(0.7)
        # What the start costs is no part of what a gigabyte costs.
        start = sum(cpu_seconds(child.pid) for child in children)
        yield "10.91.0.2", cpu
        cpu.append(-start)
    finally:
        for child in children:
            child.send_signal(signal.SIGTERM)
            _pid, status, usage = os.wait4(child.pid, 0)
            child.returncode = status
            cpu.append(usage.ru_utime + usage.ru_stime)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def transfer(bed: Bed, address: str, connections: int, ports: list[int], options: list[str]) -> tuple[float, float]:
    """Gbit/s that arrived, and bytes."""
    share, more = divmod(connections, len(ports))
    clients = []
    servers = [
        subprocess.Popen(bed.command(PRODUCER, "iperf3", "-s", "-1", "-p", str(port)), stdout=subprocess.DEVNULL)
        for port in ports
    ]
    time.sleep(0.3)
    try:
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
            raise SystemExit(f"iperf3: {result['error']}")
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


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[0], help="0: automatic")
    parser.add_argument("--pipe-size", type=int, default=1 << 20)
    parser.add_argument("--application-congestion", default="cubic", help="TCP congestion control of iperf3")
    parser.add_argument("--congestion", default="cubic", help="and of both legs of the forwarder")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that runs the forwarder")
    parser.add_argument("--copy", action="store_true", help="measure copying instead of splicing, too")
    parser.add_argument("--other", action="append", default=[], metavar="NAME=COMMAND")
    return parser.parse_args()


def main() -> None:
    args = parse()
    program = f"{shlex.quote(args.python)} -I {shlex.quote(str(PROGRAM))}"
    legs = {"accept": args.congestion, "connect": args.congestion}
    settings = {"pipe_size": args.pipe_size, "congestion": legs}
    candidates = [Candidate("direct", None)]
    for workers in args.workers:
        name = f"s2ds, {workers} workers" if workers else "s2ds"
        candidates.append(Candidate(name, program, {**settings, "workers": workers}))
    if args.copy:
        candidates.append(Candidate("s2ds, copying", program + " --copy", settings))
    candidates += [Candidate(*other.split("=", 1)) for other in args.other]

    options = ["-t", str(args.seconds), "-C", args.application_congestion]
    bed = Bed()
    with tempfile.TemporaryDirectory() as work:
        try:
            bed.build()
            tables = {
                count: measure(bed, candidates, count, args.rounds, options, Path(work)) for count in args.connections
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


if __name__ == "__main__":
    main()
