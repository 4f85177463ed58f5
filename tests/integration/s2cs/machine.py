# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the integration tests see of this machine: processes, listeners, connections that carry data."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

LISTEN_STATE = "0A"
PATIENCE = 40.0


def processes(text: str) -> dict[int, str]:
    """Return the processes that have a text in their command lines, as pid and command; never this one."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if text in command and (entry / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                found[int(entry.name)] = command
    return found


def kill(pid: int) -> None:
    """Kill a process, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def listening(address: str) -> list[int]:
    """Return the TCP ports at which somebody listens on an address."""
    ipv6 = ":" in address
    raw = socket.inet_pton(socket.AF_INET6 if ipv6 else socket.AF_INET, address)
    name = "".join(raw[at : at + 4][::-1].hex() for at in range(0, len(raw), 4)).upper()
    ports = []
    with open(f"/proc/net/tcp{'6' if ipv6 else ''}", encoding="ascii") as stream:
        for line in stream.readlines()[1:]:
            _slot, local, _remote, state = line.split()[:4]
            host, _unused, port = local.partition(":")
            if host == name and state == LISTEN_STATE:
                ports.append(int(port, 16))
    return sorted(ports)


def eventually(what: str, condition: Callable[[], object]) -> None:
    """Wait until something holds; how long it takes is no concern of the tests."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {what}"
        time.sleep(0.02)


def pair(listener: str) -> tuple[str, int]:
    """Return the address and the port of "address:port" or "[v6]:port"."""
    host, _unused, port = listener.rpartition(":")
    return host.strip("[]"), int(port)


def connect(listener: str, source: str = "") -> socket.socket:
    """Connect to a listener."""
    connection = socket.create_connection(pair(listener), PATIENCE, (source, 0) if source else None)
    connection.settimeout(PATIENCE)
    return connection


def ask(connection: socket.socket, data: bytes) -> bytes:
    """Send data to an Application and return what comes back, which is b"" on a connection that was refused."""
    received = b""
    try:
        connection.sendall(data)
        while not received.endswith(data):
            part = connection.recv(65536)
            if not part:
                break
            received += part
    except ConnectionError:
        return b""
    return received


def exchange(listener: str, data: bytes = b"hello", source: str = "") -> bytes:
    """Send data through a listener and return what comes back."""
    try:
        with connect(listener, source) as connection:
            return ask(connection, data)
    except ConnectionError:
        return b""


class Application:
    """A server that answers everything with its name in front."""

    def __init__(self, name: str, address: str = "127.0.0.1") -> None:
        self.name = name.encode()
        self.peers: list[str] = []
        self._socket = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.port = self._socket.getsockname()[1]
        self.endpoint = f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Application:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # close() alone would leave the thread in accept(), and the port taken.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, peer = self._socket.accept()
                self.peers.append(peer[0])
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            data = connection.recv(65536)
            connection.sendall(self.name + b":" + data)
            while data:
                data = connection.recv(65536)
                connection.sendall(data)
