# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measuring one candidate on both gateways: throughput, processor time of each gateway, and round trips."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from candidates import ROLES
from namespaces import CONSUMER, PRODUCER, Namespaces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from candidates import Candidate
    from namespaces import Bed

PORT = 5201
# One iperf3 opens at most 128 connections.
MOST_PER_PAIR = 100
LATENCY = str(Path(__file__).with_name("latency.py"))


@dataclass(frozen=True)
class Figures:
    """What was measured in one round.

    Args:
        speed: Gbit/s.
        cost: CPU seconds for each GB, by the role of the gateway. Empty without gateways.
        latency: Round trip of a small message, in microseconds.
    """

    speed: float
    cost: dict[str, float]
    latency: float

    @property
    def total(self) -> float:
        """CPU seconds of both gateways for each GB."""
        return sum(self.cost.values())


@dataclass
class Running:
    """A candidate that forwards: where the consumer connects to, and its processes by the role of the gateway."""

    address: str
    children: dict[str, list[subprocess.Popen[bytes]]] = field(default_factory=lambda: {role: [] for role in ROLES})
    used: dict[str, float] = field(default_factory=lambda: dict.fromkeys(ROLES, 0.0))

    def begin(self) -> None:
        """Count from now on: what was done before is no part of what a gigabyte costs."""
        for role, children in self.children.items():
            self.used[role] = -sum(cpu_seconds(child.pid) for child in children)

    def end(self) -> None:
        for role, children in self.children.items():
            for child in children:
                # Not by its method, which would take away the usage of one that has ended already.
                os.kill(child.pid, signal.SIGTERM)
                _pid, status, usage = os.wait4(child.pid, 0)
                child.returncode = status
                self.used[role] += usage.ru_utime + usage.ru_stime


@contextlib.contextmanager
def forwarding(bed: Bed, candidate: Candidate, work: Path, ports: list[int]) -> Iterator[Running]:
    """Yield the running candidate. What it has used is complete afterwards."""
    if candidate.direct:
        yield Running(bed.producer)
        return
    running = Running(bed.entry)
    place = Path(tempfile.mkdtemp(dir=work))
    try:
        for role, (address, target) in bed.hops.items():
            for task in candidate.tasks(role, place / role, address, target, ports):
                with (place / f"{role}.log").open("ab") as log:
                    command = bed.gateway(role, task.words)
                    child = subprocess.Popen(command, cwd=task.directory, stdout=log, stderr=log)
                running.children[role].append(child)
        for role, children in running.children.items():
            for child, port in itertools.product(children, ports):
                wait_for(child.pid, port, bed.hops[role][0], place / f"{role}.log")
        running.begin()
        yield running
    finally:
        running.end()


def family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [pid, *(each for child in children for each in family(int(child)))]


def cpu_seconds(pid: int) -> float:
    """Return what a process, its children that have ended, and its descendants have used."""
    used = 0
    for each in family(pid):
        with contextlib.suppress(FileNotFoundError):
            used += sum(map(int, Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return used / os.sysconf("SC_CLK_TCK")


def wait_for(pid: int, port: int, address: str = "0.0.0.0", log: Path | None = None) -> None:
    """Until the process, or another one in its namespace, listens on the port."""
    known = f"{socket.inet_aton(address)[::-1].hex().upper()}|0{{32}}" if log else "[0-9A-F]+"
    listening = re.compile(rf"^ *\d+: (?:{known}):{port:04X} 0+:0000 0A", re.MULTILINE)
    for _unused in range(500):
        with contextlib.suppress(FileNotFoundError):
            tables = "".join(Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6"))
            if listening.search(tables):
                return
        time.sleep(0.02)
    raise SystemExit(f"nobody listens on port {port}: {log.read_text() if log else ''}")


def round_trip(bed: Namespaces, address: str, size: int) -> float:
    """Return the median round trip of messages of a size, in microseconds."""
    words = (sys.executable, "-IS", LATENCY)
    server = subprocess.Popen(bed.command(PRODUCER, *words, "serve", str(PORT), str(size)))
    try:
        wait_for(server.pid, PORT)
        asking = bed.command(CONSUMER, *words, "ask", address, str(PORT), str(size), str(bed.messages))
        return float(subprocess.run(asking, check=True, stdout=subprocess.PIPE, timeout=60).stdout)
    finally:
        server.kill()
        server.wait()


def transfer(
    bed: Namespaces, address: str, connections: int, ports: list[int], options: list[str]
) -> tuple[float, float]:
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
    bed: Namespaces,
    candidates: list[Candidate],
    connections: int,
    rounds: int,
    options: list[str],
    size: int,
    work: Path,
) -> dict[str, list[Figures]]:
    """Return the figures of each candidate by round. Each round measures each candidate once."""
    ports = [PORT + number for number in range(-(-connections // MOST_PER_PAIR))]
    found: dict[str, list[Figures]] = {candidate.name: [] for candidate in candidates}
    for number in range(rounds):
        # Another order each time: whoever comes after somebody must not always come after the same.
        for candidate in candidates[:1] + candidates[1:][:: 1 if number % 2 else -1]:
            with forwarding(bed, candidate, work, ports) as running:
                latency = round_trip(bed, running.address, size)
                running.begin()
                speed, amount = transfer(bed, running.address, connections, ports, options)
            costs = {role: used / (amount / 1e9) for role, used in running.used.items() if running.children[role]}
            figures = Figures(speed, costs, latency)
            found[candidate.name].append(figures)
            line = (
                f"{connections:5} {candidate.name:24} {speed:7.2f} Gbit/s {figures.total:6.3f} s/GB {latency:6.0f} us"
            )
            print(line, file=sys.stderr)
    return found


def median(values: list[float]) -> float:
    return statistics.median(values)
