# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The processes of a proxy without a control socket, found by its PID file, and their open connections."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.bounded_files import read
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.processes import works_in
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.socket_diag import (
    Socket,
    held_by,
    sockets,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Place

_MAX_PID_LENGTH = 20
_MAX_COMMAND_LENGTH = 4096


@dataclass(frozen=True)
class OpenConnections:
    """The open sockets of a proxy.

    Args:
        listeners: Addresses of its listeners.
        accepted: Accepted TCP connections.
        outgoing: TCP connections to the targets.
        udp: Number of UDP peers.
    """

    listeners: Sequence[Endpoint]
    accepted: Sequence[Socket]
    outgoing: Sequence[Socket]
    udp: int

    def last_byte(self, before: float) -> float | None:
        """Return when the last byte arrived from either side, in seconds since the epoch, or None if there was none.

        Args:
            before: When the last byte of closed connections arrived at the latest, or 0 if there was none.
        """
        quiet = [item.quiet for item in (*self.accepted, *self.outgoing) if item.received]
        return max([before, *(time.time() - min(quiet) for _once in quiet[:1])]) or None


def open_connections(pids: Sequence[int]) -> OpenConnections:
    """Return the listeners, the TCP connections and the number of UDP peers of processes."""
    found: list[Socket] = sockets(held_by(pids))
    tcp = [item for item in found if item.protocol == socket.IPPROTO_TCP]
    listeners = {item.local for item in tcp if item.listens}
    connections = [item for item in tcp if not item.listens]
    # One socket receives all datagrams; each peer has a socket of its own to the target.
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
        now: The open connections.
        encrypted: Whether accepted connections are encrypted. If so, bytes on the side of the targets are counted,
            which do not include the overhead of TLS.
    """
    if not encrypted:
        return sum(item.sent for item in now.accepted), sum(item.received for item in now.accepted)
    # For outgoing connections, the kernel counts the SYN as a byte.
    return sum(item.received for item in now.outgoing), sum(max(0, item.sent - 1) for item in now.outgoing)


# The connection log, to which the program writes directly or as its output.
CONNECTIONS = "run/connections.log"


def with_connection_log(command: Sequence[str], output: bool) -> list[str]:
    """Return a command that logs its start in the connection log.

    Args:
        command: The command.
        output: Whether its output is appended to the log.
    """
    start = 'echo "start $(date +%s)"'
    # HAProxy clears O_APPEND of its output. The line that is written before moves the offset to the end of the file.
    script = f"exec >>{CONNECTIONS}; {start}" if output else f"{start} >>{CONNECTIONS}"
    return ["/bin/sh", "-c", f'{script}; exec "$@"', "sh", *command]


def main_process(place: Place, pid_file: str) -> int | None:
    """Return the PID in a file of a data server if that process works in its directory, otherwise None."""
    try:
        pid = place.pid(int(read(place.directory, pid_file, limit=_MAX_PID_LENGTH)))
        return pid if pid and works_in(pid, place.directory) else None
    except (ValueError, OverflowError):
        return None


def longest_file(pid: int) -> int | None:
    """Return the maximum size of files that a process can write, or None if it is not limited."""
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
                found[int(name)] = stream.read(_MAX_COMMAND_LENGTH).replace(b"\0", b" ").decode("utf-8", "replace")
        except (OSError, IndexError):
            continue
    return found
