# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The processes of a proxy that has no control socket, found by the pid that it wrote down, and what they hold."""

from __future__ import annotations

import os
import re
import socket
import stat
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.endpoint import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Place
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.sockets import Socket, held_by, sockets


@dataclass(frozen=True)
class Open:
    """What goes through a proxy now."""

    listeners: Sequence[Endpoint]
    accepted: Sequence[Socket]
    outgoing: Sequence[Socket]
    udp: int


def open_now(pids: Sequence[int]) -> Open:
    """Return the listeners of processes, the connections of TCP that they have, and how many peers send datagrams."""
    found: list[Socket] = sockets(held_by(pids))
    tcp = [item for item in found if item.protocol == socket.IPPROTO_TCP]
    listeners = {item.local for item in tcp if item.listens}
    connections = [item for item in tcp if not item.listens]
    # Datagrams all come in by one socket; each peer has one of its own that leads to the target.
    udp = [item for item in found if item.protocol == socket.IPPROTO_UDP]
    return Open(
        sorted(listeners | {item.local for item in udp if not item.remote.port}, key=str),
        [item for item in connections if item.local in listeners],
        [item for item in connections if item.local not in listeners],
        sum(1 for item in udp if item.remote.port),
    )


def carried(now: Open, encrypted: bool) -> tuple[int, int]:
    """Return the bytes that open connections have carried to the consumer and to the producer.

    Args:
        now: What goes through.
        encrypted: Whether what is accepted is encrypted: TLS adds to it, so what goes on to the targets is counted.
    """
    if not encrypted:
        return sum(item.sent for item in now.accepted), sum(item.received for item in now.accepted)
    # The kernel counts the SYN of a connection that was opened from here.
    return sum(item.received for item in now.outgoing), sum(max(0, item.sent - 1) for item in now.outgoing)


# How ended connections get to their log: it begins anew with the program, which writes to it itself, or to its output.
CONNECTIONS = "run/connections.log"


def with_log(command: Sequence[str], output: bool) -> list[str]:
    """Return a command with the log of ended connections made anew, and as its standard output if so wanted."""
    script = f': >{CONNECTIONS}; exec "$@"' + (f" >>{CONNECTIONS}" if output else "")
    return ["/bin/sh", "-c", script, "sh", *command]


def ended(directory: str, judge: Callable[[str], str], refusal: re.Pattern[str] | None = None) -> dict[str, int]:
    """Add up the log of ended connections, whose lines tell the state and the bytes to the consumer and the producer.

    Args:
        directory: The directory of the instance.
        judge: Says of a state whether it means ``refused`` or ``failed``; anything else is a connection like any.
        refusal: What a line is like that tells of a connection that was refused.
    """
    found = dict.fromkeys(("total", "refused", "failed", "to_consumer", "to_producer"), 0)
    for line in lines(directory, CONNECTIONS):
        try:
            _seconds, state, to_consumer, to_producer = line.split()[:4]
            sent, received = int(to_consumer), int(to_producer)
        except ValueError:
            found["refused"] += bool(refusal and refusal.fullmatch(line))
            continue
        found["to_consumer"] += sent
        found["to_producer"] += received
        verdict = judge(state)
        found["total"] += verdict != "refused"
        if verdict in found:
            found[verdict] += 1
    return found


def main_process(place: Place, pid_file: str) -> int | None:
    """Return the pid in a file below an instance's directory, if that process really works in this directory."""
    try:
        pid = place.pid(int(read(place.directory, pid_file) or "0"))
        return pid if pid and os.path.samefile(f"/proc/{pid}/cwd", place.directory) else None
    except (OSError, ValueError):
        return None


def children(pid: int) -> dict[int, str]:
    """Return the child processes of a process with their command lines."""
    found: dict[int, str] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as stream:
                fields = stream.read().rpartition(b")")[2].split()
            if int(fields[1]) != pid or fields[0] in (b"Z", b"X"):
                continue
            with open(f"/proc/{name}/cmdline", "rb") as stream:
                found[int(name)] = stream.read().replace(b"\0", b" ").decode("utf-8", "replace")
        except (OSError, IndexError):
            continue
    return found


def read(directory: str, name: str, skip: int = 0) -> str:
    """Return a file that a proxy wrote below its directory, without its first bytes; empty where there is none.

    A proxy that somebody took over cannot make us read anything else than a file of its own.
    """
    return "".join(_read(directory, name, skip))


def lines(directory: str, name: str) -> Iterator[str]:
    """Return the complete lines of a file that a proxy wrote below its directory."""
    rest = ""
    for part in _read(directory, name):
        *complete, rest = (rest + part).split("\n")
        yield from complete


def _read(directory: str, name: str, skip: int = 0) -> Iterator[str]:
    path = os.path.join(directory, name)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as stream:
        about: Any = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1:
            return
        os.lseek(descriptor, skip, os.SEEK_SET)
        while True:
            part = stream.read(1 << 20)
            if not part:
                return
            yield part
