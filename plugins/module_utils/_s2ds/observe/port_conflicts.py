# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finding the processes that use the ports of a data server."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from typing import Iterable, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.processes import start_time

_LISTEN, _UNCONNECTED = "0A", "07"
_TABLES = {"tcp": ("tcp", "tcp6"), "udp": ("udp", "udp6"), "both": ("tcp", "tcp6", "udp", "udp6")}


def find(listeners: Sequence[Endpoint], transport: str, directory: str) -> list[str]:
    """Return the listeners whose ports are used by other programs, each with the process.

    Args:
        listeners: Listeners of a data server.
        transport: ``tcp``, ``udp`` or ``both``.
        directory: The data server's directory, in which its own processes work.
    """
    if not listeners:
        return []
    bound = {inode: address for table in _TABLES[transport] for address, inode in _bound(table)}
    wanted: dict[str, Endpoint] = {}
    for inode, (host, port) in bound.items():
        for listener in listeners:
            if port == listener.port and host in (listener.host, "0.0.0.0", "::"):
                wanted[inode] = listener
    if not wanted:
        return []
    owners = _owners(set(wanted))
    found: dict[str, str] = {}
    for inode, listener in wanted.items():
        pid = owners.get(inode)
        if pid is None:
            found.setdefault(str(listener), f"{listener}, taken by a process that is not visible here")
        elif not _works_in(pid, directory):
            found[str(listener)] = f"{listener}, taken by PID {pid} {_name(pid)}"
    return sorted(found.values())


def in_use(taken: Sequence[str]) -> str:
    """Return the message for listeners that are in use.

    Args:
        taken: What ``find`` returned.
    """
    return f"address already in use: {', '.join(taken)}"


def check(listeners: Sequence[Endpoint], transport: str, directory: str) -> None:
    """Refuse listeners on addresses that this host does not have, or on ports that another program uses.

    Args:
        listeners: Listeners of a data server. Any free port is acceptable for port 0.
        transport: ``tcp``, ``udp`` or ``both``.
        directory: The data server's directory, in which its own processes work.

    Raises:
        S2DSException: It names the listener, and the process that uses its port.
    """
    for listener in listeners:
        family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.bind((listener.host, 0))
        except OSError as error:
            raise S2DSException(
                f"listeners: {listener} is not an address of this host ({error.strerror}): use one of its addresses"
            ) from None
    taken = find([listener for listener in listeners if listener.port], transport, directory)
    if taken:
        raise S2DSException(f"listeners: {in_use(taken)}: use other ports, or stop that program")


def _bound(table: str) -> Iterable[tuple[tuple[str, int], str]]:
    """Return the bound addresses and ports, each with the inode of its socket."""
    state = _LISTEN if table.startswith("tcp") else _UNCONNECTED
    try:
        with open(f"/proc/net/{table}", encoding="ascii") as stream:
            lines = stream.readlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.split()
        if fields[3] == state:
            host, _colon, port = fields[1].partition(":")
            yield (_address(host), int(port, 16)), fields[9]


def _address(text: str) -> str:
    """Return an address of the kernel's tables, which consists of 32-bit words in host byte order."""
    raw = b"".join(int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8))
    address = socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)
    return address[len("::ffff:") :] if address.startswith("::ffff:") else address


def _owners(inodes: set[str]) -> dict[str, int]:
    """Return the processes that have sockets open. If several share a socket, the first one that started."""
    found: dict[str, tuple[int, int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        for inode in inodes & _sockets(name):
            since = int(start_time(int(name)).partition("@")[0] or 0)
            found[inode] = min((since, int(name)), found.get(inode, (since, int(name))))
    return {inode: pid for inode, (_since, pid) in found.items()}


def _sockets(process: str) -> set[str]:
    found: set[str] = set()
    try:
        entries = os.listdir(f"/proc/{process}/fd")
    except OSError:
        return found
    for entry in entries:
        # It may have been closed meanwhile.
        with suppress(OSError):
            link = os.readlink(f"/proc/{process}/fd/{entry}")
            if link.startswith("socket:["):
                found.add(link[len("socket:[") : -1])
    return found


def _works_in(pid: int, directory: str) -> bool:
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", directory)
    except OSError:
        return False


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as stream:
            name = stream.read().strip()
    except OSError:
        return "(ended)"
    return name if name.isprintable() else ascii(name)
