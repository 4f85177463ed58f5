# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What data servers do, counted instead of timed: their system calls, and the bytes that enter or leave a program.

Both gateways are on this host, without namespaces, and strace records what they do. Counts mean something where times
do not, for example in an emulated machine.
"""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from candidates import ROLES
from measure import PORT, family, forwarding
from namespaces import Bed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from candidates import Candidate

MIB = 1 << 20
SECONDS = 120.0
# A call with its result; one that another process interrupts has two lines.
CALL = re.compile(r"^\d+ +(?:<\.\.\. )?(\w+)(?: resumed>|\().*\) += (-?\d+)", re.MULTILINE)
COPYING = frozenset(("read", "readv", "recvfrom", "recvmsg", "write", "writev", "sendto", "sendmsg"))
HEAD = ("data server", "gateway", "calls", "splice", "waits", "reads", "writes", "bytes in the program")
WAITS = frozenset(("epoll_wait", "epoll_pwait", "poll", "ppoll", "select", "pselect6"))


class Local(Bed):
    """This host."""

    hops: ClassVar = {"producer": ("127.0.0.3", "127.0.0.4"), "consumer": ("127.0.0.2", "127.0.0.3")}
    producer = "127.0.0.4"

    def gateway(self, role: str, words: list[str]) -> list[str]:
        return words


def count(candidate: Candidate, size: int, work: Path) -> list[list[str]]:
    """Return the rows of a candidate: what each gateway does for a GB, during a connection with so many MiB."""
    bed = Local()
    with forwarding(bed, candidate, work, [PORT]) as running:
        # What is done once is no part of what a gigabyte needs.
        _transfer(bed, MIB)
        with contextlib.ExitStack() as stack:
            for role, children in running.children.items():
                pids = [pid for child in children for pid in family(child.pid)]
                stack.enter_context(_traced(pids, work / role))
            _transfer(bed, size * MIB)
    print(f"{candidate.name} done", file=sys.stderr)
    return [[candidate.name, role, *_row((work / role).read_text(), size * MIB / 1e9)] for role in ROLES]


@contextlib.contextmanager
def _traced(pids: list[int], record: Path) -> Iterator[None]:
    """Record the system calls of processes and of those that they start."""
    which = [word for pid in pids for word in ("-p", str(pid))]
    strace = subprocess.Popen(["strace", "-f", "-qq", "-s", "0", "-o", str(record), *which])
    try:
        while not all(_is_traced(pid) for pid in pids):
            if strace.poll() is not None:
                raise SystemExit("strace does not trace")
            time.sleep(0.01)
        yield
    finally:
        strace.send_signal(signal.SIGINT)
        strace.wait()


def _is_traced(pid: int) -> bool:
    return "\nTracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text()


def _row(text: str, amount: float) -> list[str]:
    calls, moved = Counter[str](), Counter[str]()
    for name, result in CALL.findall(text):
        calls[name] += 1
        if name in COPYING:
            moved[name] += max(0, int(result))

    def of(names: frozenset[str]) -> str:
        return f"{sum(calls[name] for name in names) / amount:.0f}"

    reads = frozenset(name for name in COPYING if name.startswith("re"))
    copied = sum(moved.values()) / amount / 1e9
    return [
        f"{calls.total() / amount:.0f}",
        of(frozenset(("splice",))),
        of(WAITS),
        of(reads),
        of(COPYING - reads),
        f"{copied:.2f} GB",
    ]


def _transfer(bed: Bed, size: int) -> None:
    """Have the producer send, and check that everything arrives."""
    block = bytes(range(256)) * 4096

    def serve(listener: socket.socket) -> None:
        connection, _peer = listener.accept()
        with connection:
            connection.settimeout(SECONDS)
            for _unused in range(size // len(block)):
                connection.sendall(block)

    with socket.create_server((bed.producer, PORT)) as listener:
        listener.settimeout(SECONDS)
        thread = threading.Thread(target=serve, args=[listener])
        thread.start()
        with socket.create_connection((bed.entry, PORT), SECONDS) as connection:
            position = 0
            while data := connection.recv(len(block)):
                begin = position % len(block)
                if data != (block + block)[begin : begin + len(data)]:
                    raise SystemExit("the bytes that arrived differ from the ones that were sent")
                position += len(data)
        thread.join()
    if position != size:
        raise SystemExit(f"{position} of {size} bytes arrived")
