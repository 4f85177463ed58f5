# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The processes of a proxy that has no control socket, found by the pid that it wrote down, and what they hold."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.processes import works_in
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.socket_diag import (
    Socket,
    held_by,
    sockets,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.untrusted import read
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Place

_LONGEST_PID = 20
_LONGEST_COMMAND = 4096


@dataclass(frozen=True)
class OpenConnections:
    """What goes through a proxy now."""

    listeners: Sequence[Endpoint]
    accepted: Sequence[Socket]
    outgoing: Sequence[Socket]
    udp: int

    def last_byte(self, before: float) -> float | None:
        """Return when a byte was last taken in from either side, in seconds since the epoch; None if none ever was.

        Args:
            before: When the last of the connections ended that are gone; 0 if there was none.
        """
        quiet = [item.quiet for item in (*self.accepted, *self.outgoing) if item.received]
        return max([before, *(time.time() - min(quiet) for _once in quiet[:1])]) or None


def open_connections(pids: Sequence[int]) -> OpenConnections:
    """Return the listeners of processes, the connections of TCP that they have, and how many peers send datagrams."""
    found: list[Socket] = sockets(held_by(pids))
    tcp = [item for item in found if item.protocol == socket.IPPROTO_TCP]
    listeners = {item.local for item in tcp if item.listens}
    connections = [item for item in tcp if not item.listens]
    # Datagrams all come in by one socket; each peer has one of its own that leads to the target.
    udp = [item for item in found if item.protocol == socket.IPPROTO_UDP]
    return OpenConnections(
        sorted(listeners | {item.local for item in udp if not item.remote.port}, key=str),
        [item for item in connections if item.local in listeners],
        [item for item in connections if item.local not in listeners],
        sum(1 for item in udp if item.remote.port),
    )


def carried_bytes(now: OpenConnections, encrypted: bool) -> tuple[int, int]:
    """Return the bytes that open connections have carried to the consumer and to the producer.

    Args:
        now: What goes through.
        encrypted: Whether what is accepted is encrypted: TLS adds to it, so what goes on to the targets is counted.
    """
    if not encrypted:
        return sum(item.sent for item in now.accepted), sum(item.received for item in now.accepted)
    # The kernel counts the SYN of a connection that was opened from here.
    return sum(item.received for item in now.outgoing), sum(max(0, item.sent - 1) for item in now.outgoing)


# The log of ended connections: the program writes to it itself, or to its output.
CONNECTIONS = "run/connections.log"


def with_connection_log(command: Sequence[str], output: bool) -> list[str]:
    """Return a command with a line in the log of connections that tells of its start, and as its output if wanted."""
    start = 'echo "start $(date +%s)"'
    # HAProxy takes off that its output is appended. The line before it has brought that to the end of the file.
    script = f"exec >>{CONNECTIONS}; {start}" if output else f"{start} >>{CONNECTIONS}"
    return ["/bin/sh", "-c", f'{script}; exec "$@"', "sh", *command]


def main_process(place: Place, pid_file: str) -> int | None:
    """Return the pid in a file below an instance's directory, if that process really works in this directory."""
    try:
        pid = place.pid(int(read(place.directory, pid_file, limit=_LONGEST_PID)))
        return pid if pid and works_in(pid, place.directory) else None
    except (ValueError, OverflowError):
        return None


def longest_file(pid: int) -> int | None:
    """Return how long a file may become that a process writes; None where that has no limit."""
    try:
        with open(f"/proc/{pid}/limits", encoding="ascii", errors="replace") as stream:
            words = next((line.split() for line in stream if line.startswith("Max file size")), [])
        return int(words[3])
    except (OSError, ValueError, IndexError):
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
                found[int(name)] = stream.read(_LONGEST_COMMAND).replace(b"\0", b" ").decode("utf-8", "replace")
        except (OSError, IndexError):
            continue
    return found
