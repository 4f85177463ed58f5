# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What data servers do, counted instead of timed: their system calls, and the bytes that enter or leave a program.

Both gateways are on this host, without namespaces, and strace records what they do. Counts mean something where times
do not, for example in an emulated machine.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from candidates import ROLES
from measure import PORT, forwarding
from namespaces import Bed

if TYPE_CHECKING:
    from candidates import Candidate

MIB = 1 << 20
SECONDS = 120.0
# A call with its result; one that another process interrupts has two lines.
CALL = re.compile(r"^\d+ +(?:<\.\.\. )?(\w+)(?: resumed>|\().*\) += (-?\d+)", re.MULTILINE)
COPYING = frozenset(("read", "readv", "recvfrom", "recvmsg", "write", "writev", "sendto", "sendmsg"))
HEAD = ("data server", "gateway", "calls", "splice", "waits", "reads", "writes", "bytes in the program")
WAITS = frozenset(("epoll_wait", "epoll_pwait", "poll", "ppoll", "select", "pselect6"))


class Traced(Bed):
    """This host, where strace records what gateways do."""

    hops: ClassVar = {"producer": ("127.0.0.3", "127.0.0.4"), "consumer": ("127.0.0.2", "127.0.0.3")}
    producer = "127.0.0.4"

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def record(self, role: str) -> Path:
        return self._directory / f"{role}.strace"

    def gateway(self, role: str, words: list[str]) -> list[str]:
        return ["strace", "-D", "-f", "-qq", "-s", "0", "-o", str(self.record(role)), *words]


def count(candidate: Candidate, size: int, work: Path) -> list[list[str]]:
    """Return the rows of a candidate: what each gateway does for a GB, after one connection with so many MiB."""
    bed = Traced(work)
    with forwarding(bed, candidate, work, [PORT]) as running:
        tracers = [_tracer(child.pid) for children in running.children.values() for child in children]
        # What comes before is no part of what a gigabyte needs.
        begins = {role: bed.record(role).stat().st_size for role in ROLES}
        _transfer(bed, size * MIB)
    for tracer in tracers:
        while tracer.exists():
            time.sleep(0.01)
    return [
        [candidate.name, role, *_row(bed.record(role).read_text()[begins[role] :], size * MIB / 1e9)] for role in ROLES
    ]


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


def _tracer(pid: int) -> Path:
    found = re.search(r"^TracerPid:\t(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if found is None or found[1] == "0":
        raise SystemExit("strace does not trace")
    return Path(f"/proc/{found[1]}")
