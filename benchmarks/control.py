# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the stream playbooks take, beside an empty play and a play with one ping on both gateways.

Two gateways on this machine, each under a directory of its own, without root: provisioned by the playbook that sites
use, and reached by local connections or by SSH (--ssh HOST, which must let this user in without a question). Each round
runs everything once, in turns. The figures are medians, and the medians of the ratios to the ping play of the same
round. Processor seconds are those of Ansible and of what it runs on the gateways; other load on the machine changes
them less than the time. With --own-work, the processor time of single actions in the service is measured instead.

Ansible runs with the interpreter of this program, and the gateways with the one of the distribution, as those of sites
do. --python gives them another one.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import own_work

PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
COLLECTIONS = Path(__file__).resolve().parents[4]
LIBRARY = "ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.installation"
GATEWAYS = ("gw-a", "gw-b")
EMPTY: dict[str, Any] = {"name": "Nothing", "hosts": "gateways", "gather_facts": False, "tasks": []}
PING: dict[str, Any] = {**EMPTY, "name": "Ping", "tasks": [{"name": "Ping", "ansible.builtin.ping": None}]}
#: The interpreter of the distribution, and the oldest version that gateways can use.
DISTRIBUTION, OLDEST = "/usr/bin/python3", (3, 8)
ACTIONS = {"open": "stream_open", "open again": "stream_open", "status": "stream_status", "release": "stream_release"}
PIPELINING = {"ansible_pipelining": True}
EMPTY_PLAY, PING_PLAY = "empty play", "ping play"

#: Seconds on the clock, and seconds of the processors.
Cost = tuple[float, float]
Costs = dict[tuple[str, int], list[Cost]]


class Bed:
    """Two gateways under a directory, and a user with a home directory of his own."""

    def __init__(self, directory: Path, args: argparse.Namespace) -> None:
        self._directory = directory
        self._python = args.python
        self._network = f"127.{64 + (os.getpid() >> 8 & 63)}.{os.getpid() & 255}"
        hosts = {name: self._host(name, number, args) for number, name in enumerate(GATEWAYS)}
        self._inventory = self._write("gateways.yml", {"gateways": {"hosts": hosts, "vars": args.variables}})
        (directory / "ansible.cfg").touch()
        for name, play in ((EMPTY_PLAY, EMPTY), (PING_PLAY, PING)):
            self._write(f"{name}.yml", [{**play, "vars": PIPELINING}])

    def provision(self) -> None:
        """Turn both into gateways."""
        self._run("scistream.gateway.gateway")

    @contextlib.contextmanager
    def service(self, measured: Path | None = None) -> Iterator[None]:
        """Have the service of both gateways for a while, with the time of each call in a file."""
        library = importlib.import_module(LIBRARY)
        started = []
        try:
            for name in GATEWAYS:
                root = self._directory / name
                programs, run = root / "usr/local/lib/scistream", root / "run/scistream"
                run.mkdir(parents=True)
                library.install(str(programs), self._python)
                ways = ["--socket", str(run / "s2cs.sock"), "--backend", str(run / "s2csd.sock")]
                for part in (["act", "--config", str(root / "etc/scistream/s2cs.json")], ["serve"]):
                    measuring = ["-c", own_work.MEASURING, str(measured)] if measured and part[0] == "act" else []
                    command = [self._python, "-I", *measuring, str(programs / "s2cs"), *part, *ways]
                    started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))
                    sockets = [run / "s2csd.sock", run / "s2cs.sock"][: 1 if part[0] == "act" else 2]
                    while not all(path.exists() for path in sockets):
                        time.sleep(0.05)
            yield
        finally:
            for process in reversed(started):
                process.terminate()
                process.wait()

    def own_work(self, sessions: int, rounds: int) -> dict[str, list[float]]:
        """The processor seconds of actions in the service of the first gateway, with many sessions in its store."""
        root, times = self._directory / GATEWAYS[0], self._directory / "times"
        own_work.fill(root, self._network, sessions)
        found: dict[str, list[float]] = {}
        with self.service(times):
            socket = str(root / "run/scistream/s2cs.sock")
            for name, seconds in own_work.measure(socket, times, self._network, rounds):
                found.setdefault(name, []).append(seconds)
        return found

    def round(self, numbers: list[int]) -> Iterator[tuple[str, int, Cost]]:
        """Run everything once; yields what, the number of streams, and what it cost."""
        for name in (EMPTY_PLAY, PING_PLAY):
            yield name, 0, self._run(str(self._directory / f"{name}.yml"))
        for number in numbers:
            described = self._write("streams.yml", {"streams": [self._stream(index) for index in range(number)]})
            for action, playbook in ACTIONS.items():
                yield action, number, self._run(f"scistream.gateway.{playbook}", "-e", f"@{described}")

    def _host(self, name: str, number: int, args: argparse.Namespace) -> dict[str, Any]:
        address = f"{self._network}.{10 + number}"
        both = {"producer": address, "consumer": address}
        loopback = {"producer": ["127.0.0.0/8"], "consumer": ["127.0.0.0/8"]}
        way = {"ansible_host": args.ssh} if args.ssh else {"ansible_connection": "local"}
        return {
            **way,
            "ansible_python_interpreter": args.python,
            "s2cs_root": str(self._directory / name),
            "s2cs_listen": both,
            "s2cs_egress": both,
            "s2cs_targets": loopback,
            "s2cs_clients": loopback,
            "s2cs_port_range": [5100, 5100 + 2 * max(args.streams)],
            **({"s2cs_limits": {"sessions": args.own_work + 2}} if args.own_work else {}),
            "s2ds_python": args.python,
        }

    def _stream(self, index: int) -> dict[str, Any]:
        return {
            "name": f"stream-{index}",
            "producer": {"gateway": GATEWAYS[0], "listeners": [f"{self._network}.1:7000"]},
            "consumer": {"gateway": GATEWAYS[1]},
        }

    def _write(self, name: str, document: Any) -> Path:
        # JSON is YAML.
        path = self._directory / name
        path.write_text(json.dumps(document))
        return path

    def _run(self, playbook: str, *arguments: str) -> Cost:
        environment = {
            **os.environ,
            "HOME": str(self._directory),
            "ANSIBLE_CONFIG": str(self._directory / "ansible.cfg"),
            "ANSIBLE_GATHERING": "explicit",
            "ANSIBLE_LOCAL_TEMP": str(self._directory / "tmp"),
            "ANSIBLE_NOCOLOR": "1",
        }
        command = [str(PLAYBOOK), "-i", str(self._inventory), playbook, *arguments]
        start, before = time.monotonic(), _processors()
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        cost = time.monotonic() - start, _processors() - before
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return cost


def python_of_gateways() -> str:
    """Return the interpreter of the distribution if it can run gateways, and otherwise that of this program."""
    check = f"import sys; sys.exit(sys.version_info < {OLDEST})"
    with contextlib.suppress(OSError):
        if not subprocess.run([DISTRIBUTION, "-I", "-c", check], stdin=subprocess.DEVNULL, check=False).returncode:
            return DISTRIBUTION
    return sys.executable


def _processors() -> float:
    times = os.times()
    return times.children_user + times.children_system


def rows(costs: Costs) -> list[dict[str, Any]]:
    """What was measured, one row for each action and number of streams."""
    floor = costs[PING_PLAY, 0]
    found = []
    for (name, number), measured in costs.items():
        seconds, processors = zip(*measured, strict=True)
        ratios = [
            statistics.median(own[index] / ping[index] for own, ping in zip(measured, floor, strict=True))
            for index in (0, 1)
        ]
        found.append(
            {
                "action": name,
                "streams": number,
                "median": round(statistics.median(seconds), 3),
                "min": round(min(seconds), 3),
                "max": round(max(seconds), 3),
                "ratio": round(ratios[0], 2),
                "processor": round(statistics.median(processors), 3),
                "processor_ratio": round(ratios[1], 2),
            }
        )
    return found


def table(found: list[dict[str, Any]]) -> str:
    """Rows for people."""
    lines = [
        "| action | streams | median s | range s | to the ping play | processor s | to the ping play |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in found:
        cells = [
            row["action"],
            str(row["streams"] or ""),
            f"{row['median']:.2f}",
            f"{row['min']:.2f}-{row['max']:.2f}",
            f"{row['ratio']:.2f}",
            f"{row['processor']:.2f}",
            f"{row['processor_ratio']:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 10, 40, 100], help="how many at a time")
    parser.add_argument("--service", action="store_true", help="have the service on both gateways")
    parser.add_argument(
        "--own-work",
        type=int,
        metavar="SESSIONS",
        help="instead, the processor time of single actions in the service, with this many sessions in the store",
    )
    parser.add_argument(
        "--python",
        default=python_of_gateways(),
        metavar="PATH",
        help="interpreter of the gateways and of their service (default: %(default)s)",
    )
    parser.add_argument("--ssh", metavar="HOST", help="reach both gateways by SSH at this host, which is this machine")
    parser.add_argument(
        "--variables", type=json.loads, default={}, metavar="JSON", help="further variables of the gateways"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file as well")
    args = parser.parse_args()
    sys.path.insert(0, str(COLLECTIONS))
    costs: Costs = {}
    with tempfile.TemporaryDirectory() as directory:
        bed = Bed(Path(directory), args)
        bed.provision()
        if args.own_work is not None:
            print(own_work.table(bed.own_work(args.own_work, args.rounds)))
            return
        with bed.service() if args.service else contextlib.nullcontext():
            for _number in range(args.rounds):
                for name, number, cost in bed.round(args.streams):
                    costs.setdefault((name, number), []).append(cost)
    found = rows(costs)
    print(table(found))
    text = json.dumps({"cores": os.cpu_count(), "rounds": args.rounds, "rows": found})
    print(text)
    if args.json:
        args.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
