# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A consumer application that receives images from an instrument, counts lost ones and computes a checksum.

By hand:  python3 analysis.py --run gateways=127.0.0.3:5100 --size 2GiB
Several runs follow each other in the order given. The exit status is 0 if everything arrived as it was sent.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import socket
import sys
import time
from dataclasses import asdict, dataclass, field

from frames import (
    DIGEST_SIZE,
    END,
    FRAME,
    HEADER,
    MAGIC,
    MAX_PAYLOAD,
    go_background,
    parse_address,
    parse_size,
    write_json,
)

PROGRESS_SECONDS = 0.2
#: Seconds between two samples for the plot, and their maximum number.
SAMPLE_SECONDS, MAX_SAMPLES = 0.05, 2000
TIMEOUT_SECONDS = 30


@dataclass
class Run:
    """The expected and the received data of one acquisition."""

    name: str
    address: str
    checksum: bool
    wanted: int
    bytes: int = 0
    frames: int = 0
    lost: int = 0
    seconds: float = 0.0
    sha256: str | None = None
    sha256_sent: str | None = None
    complete: bool = False
    error: str | None = None
    samples: list[list[float]] = field(default_factory=lambda: [[0.0, 0.0]])

    @property
    def ok(self) -> bool:
        return self.complete and not self.lost and self.error is None and self.sha256 == self.sha256_sent

    def line(self) -> str:
        """Return the progress of this run in one line."""
        rate = self.bytes / self.seconds / 1e9 if self.seconds else 0.0
        return (
            f"{self.name}: {self.bytes / 2**30:.2f} of {self.wanted / 2**30:.2f} GiB, {rate:.2f} GB/s, lost {self.lost}"
        )

    def sample(self, last: bool = False) -> None:
        """Note how much arrived until now, if that is due."""
        due = self.seconds - self.samples[-1][0] >= SAMPLE_SECONDS and len(self.samples) < MAX_SAMPLES
        if due or last:
            self.samples.append([round(self.seconds, 3), self.bytes])


class Analysis:
    """Performs the runs and reports progress."""

    def __init__(self, runs: list[Run], source: str | None, progress: str | None, spoken: bool) -> None:
        self.runs = runs
        self.source = source
        self.progress = progress
        self.spoken = spoken
        self.buffer = memoryview(bytearray(4 << 20))
        self.reported = 0.0

    def report(self, run: Run | None) -> None:
        """Write the progress file. None means that all runs are done."""
        finished = [asdict(item) for item in self.runs if item.complete or item.error]
        write_json(self.progress, {"done": run is None, "line": run.line() if run else "done", "runs": finished})
        if self.spoken and run is not None:
            print(run.line(), flush=True)

    def fill(self, connection: socket.socket, size: int) -> memoryview:
        """Receive exactly this number of bytes, with as few system calls as possible."""
        if size > len(self.buffer):
            self.buffer = memoryview(bytearray(size))
        view = self.buffer[:size]
        got = 0
        while got < size:
            count = connection.recv_into(view[got:], size - got, socket.MSG_WAITALL)
            if count == 0:
                raise ConnectionError(f"the stream ended in the middle of a frame, {got} of {size} bytes")
            got += count
        return view

    def receive(self, run: Run, connection: socket.socket) -> None:
        """Receive all frames of one acquisition."""
        request = {"bytes": run.wanted, "checksum": run.checksum}
        running = hashlib.sha256()
        started = time.monotonic()
        connection.sendall(json.dumps(request).encode() + b"\n")
        expected = 0
        while True:
            header = bytes(self.fill(connection, HEADER.size))
            magic, kind, size, sequence = HEADER.unpack(header)
            if magic != MAGIC or kind not in (FRAME, END) or size > MAX_PAYLOAD:
                raise ConnectionError(f"no frame where number {expected} was expected")
            payload = self.fill(connection, size)
            run.seconds = time.monotonic() - started
            run.lost += max(0, sequence - expected)
            if kind == END:
                break
            expected = sequence + 1
            run.frames += 1
            run.bytes += len(header) + size
            if run.checksum:
                running.update(header)
                running.update(payload)
            run.sample()
            if run.seconds - self.reported >= PROGRESS_SECONDS:
                self.reported = run.seconds
                self.report(run)
        if size != DIGEST_SIZE or connection.recv(1):
            raise ConnectionError("the end of the stream is not where it should be")
        if run.checksum:
            run.sha256, run.sha256_sent = running.hexdigest(), bytes(payload).hex()
        run.sample(last=True)
        run.complete = True

    def work(self) -> bool:
        """Perform all runs, and return whether all of them succeeded."""
        for run in self.runs:
            self.reported = 0.0
            self.report(run)
            try:
                source = (self.source, 0) if self.source else None
                with socket.create_connection(parse_address(run.address), TIMEOUT_SECONDS, source) as connection:
                    self.receive(run, connection)
            except OSError as error:
                run.error = str(error)
        self.report(None)
        return all(run.ok for run in self.runs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--run", action="append", required=True, metavar="NAME=ADDRESS:PORT", help="where to connect to"
    )
    parser.add_argument("--size", type=parse_size, default=1 << 30, help="size of an acquisition (1GiB)")
    parser.add_argument("--at-most", type=parse_size, help="limit of the size, whatever --size says")
    parser.add_argument("--no-checksum", action="store_true", help="receive only: measures the path, not the hashing")
    parser.add_argument("--source", help="address to connect from")
    parser.add_argument("--progress", help="file that tells how far it is, as JSON")
    parser.add_argument("--background", metavar="LOG", help="continue in the background, logging to this file")
    options = parser.parse_args()

    size = min(options.size, options.at_most or options.size)
    runs = []
    for text in options.run:
        name, _separator, address = text.rpartition("=")
        parse_address(address)
        runs.append(Run(name or "stream", address, not options.no_checksum, size))
    if options.background:
        go_background(options.background, {})
    faultless = Analysis(runs, options.source, options.progress, options.progress is None).work()
    print(json.dumps([{**asdict(run), "ok": run.ok} for run in runs]), flush=True)
    return 0 if faultless else 1


if __name__ == "__main__":
    sys.exit(main())
