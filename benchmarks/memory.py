# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The memory of idle sessions of the native forwarder, and the time until they serve.

They are started as on a gateway: executed, as by systemd, or below a supervisor of their own; alone, and many together.
The figures are medians for one session with all of its processes. PSS counts what processes share in proportion;
private is what a session has for itself. As on a gateway with its service, two more processes have the interpreter
(--others). Needs openssl, and the collection in the path of Python.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from candidates import credentials
from own_work import _import

ROLES = Path(__file__).resolve().parents[1] / "roles"
DISTRIBUTION = "/usr/bin/python3"
SECONDS = 30.0
#: Until everything that follows a start has happened.
SETTLED = 1.5
FIELDS = ("Pss", "Private")
#: What others load until their standard input ends.
OTHER = "import json, re, select, signal, socket, sys; sys.stdin.read()"


class Session:
    """A session, as the data server of a gateway starts it."""

    def __init__(self, directory: Path, tls: dict[str, str] | None) -> None:
        self.directory = directory
        (directory / "run").mkdir(parents=True)
        listener = {"address": "127.0.0.1", "port": 0, "target": ["127.0.0.1", 9]}
        (directory / "s2ds.json").write_text(json.dumps({"listeners": [listener], "allow": [], "tls": tls}))
        self._process: subprocess.Popen[bytes] | None = None
        self._begun = time.perf_counter()

    def execute(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def supervise(self, python: str, programs: Path, command: Sequence[str]) -> None:
        lock = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            words = ["--directory", str(self.directory), "--", *command]
            start = _import("module_utils._s2ds.runtimes.supervisors").start
            start([python, "-I", "-S", str(programs / "supervise.py")], words, lock, ([], {}))
        finally:
            os.close(lock)

    def serves(self) -> float:
        """Wait until it serves, and return the seconds since its start."""
        with socket.socket(socket.AF_UNIX) as client:
            while True:
                with suppress(FileNotFoundError, ConnectionRefusedError):
                    client.connect(str(self.directory / "run/control.sock"))
                    break
                if time.perf_counter() - self._begun > SECONDS:
                    raise SystemExit(f"{self.directory} does not serve")
                time.sleep(0.001)
            client.sendall(b'{"op": "status"}\n')
            if not json.loads(client.makefile().readline())["ok"]:
                raise SystemExit(f"{self.directory} has failed")
        return time.perf_counter() - self._begun

    def processes(self) -> list[int]:
        if self._process is not None:
            return [self._process.pid]
        state = json.loads((self.directory / "supervisor.json").read_text())
        return [state["pid"], state["child"]]

    def end(self) -> None:
        os.kill(self.processes()[0], signal.SIGTERM)
        if self._process is not None:
            self._process.wait()
        while self._process is None and (self.directory / "supervisor.json").exists():
            time.sleep(0.01)


def memory(pid: int) -> dict[str, int]:
    """Return what a process uses, in KiB."""
    found = dict.fromkeys(FIELDS, 0)
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_unit = line.split()
        key = name.partition("_")[0].rstrip(":")
        if name == "Pss:" or (name.startswith("Private_") and name != "Private_Hugetlb:"):
            found[key] += int(value)
    return found


@contextmanager
def others(python: str, number: int) -> Iterator[None]:
    """Have other processes with the interpreter."""
    started = [subprocess.Popen([python, "-I", "-S", "-c", OTHER], stdin=subprocess.PIPE) for _unused in range(number)]
    try:
        yield
    finally:
        for process in started:
            process.communicate()


def measure(python: str, number: int, executed: bool, encrypted: bool) -> str:
    """Start sessions, and return a row of the table."""
    # The path of a socket is short.
    with tempfile.TemporaryDirectory() as name:
        programs = Path(name) / "programs"
        shutil.copytree(ROLES / "s2cs/files", programs)
        shutil.copytree(ROLES / "s2ds/files/s2ds", programs / "s2ds")
        subprocess.run([python, "-m", "compileall", "-q", str(programs)], check=True)
        own, peer = credentials("producer"), credentials("consumer")
        tls = {"side": "accept"} if encrypted else None
        for key, text in (("certificate", own.certificate), ("key", own.key), ("peer", peer.certificate)):
            (programs / key).write_text(text)
            tls = {**tls, key: str(programs / key)} if tls else None
        sessions: list[Session] = []
        seconds: list[float] = []
        begun = time.perf_counter()
        many = number > 1 and not executed
        with _import("module_utils._s2ds.runtimes.supervisors").starting_many() if many else nullcontext():
            for index in range(number):
                session = Session(Path(name) / str(index), tls)
                command = [python, "-I", "-S", str(programs / "s2ds"), "--directory", str(session.directory)]
                if executed:
                    session.execute(command)
                else:
                    session.supervise(python, programs, command)
                sessions.append(session)
            seconds = [session.serves() for session in sessions]
            total = time.perf_counter() - begun
        time.sleep(SETTLED)
        sums = {field: [sum(memory(pid)[field] for pid in each.processes()) for each in sessions] for field in FIELDS}
        for session in sessions:
            session.end()
    form = "executed" if executed else "supervised"
    figures = [f"{statistics.median(sums[field]) / 1024:.1f}" for field in FIELDS]
    figures += [f"{1000 * statistics.median(seconds):.0f}" if number == 1 else "-", f"{1000 * total / number:.0f}"]
    return f"| {form}, {'encrypted' if encrypted else 'plain'} | {number} | {' | '.join(figures)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=DISTRIBUTION, help="interpreter of the gateway")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 20])
    parser.add_argument("--others", type=int, default=2, help="number of other processes with the interpreter")
    args = parser.parse_args()
    print("| idle session | sessions | PSS MB | private MB | ms until it serves | ms for each |")
    print("|---|--:|--:|--:|--:|--:|")
    with others(args.python, args.others):
        for number in args.sessions:
            for executed in (True, False):
                for encrypted in (False, True):
                    print(measure(args.python, number, executed, encrypted), flush=True)


if __name__ == "__main__":
    main()
