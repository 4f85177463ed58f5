# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the integration tests see of this machine: processes, listeners, connections that carry data."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType

LISTEN_STATE = 10
# Of linux/netlink.h and linux/sock_diag.h.
SOCK_DIAG, SOCK_DIAG_BY_FAMILY, DUMP_REQUEST, DONE = 4, 20, 0x301, 3
_HEADER = struct.Struct("=IHHII")
# Seconds after which a process that was going to run another program has done so.
SETTLED = 10.0
_commands: dict[tuple[str, int], tuple[float, bytes]] = {}
PATIENCE = 40.0


def processes(text: str, settled: bool = False) -> dict[int, str]:
    """Return the processes that have a text in their command lines, as pid and command; never this one.

    With settled, a process that has had its command line for long is believed to keep it: it costs the kernel more to
    read those of all processes than a module takes for most refusals.
    """
    found: dict[int, str] = {}
    wanted, own = text.encode(), str(os.getpid())
    with os.scandir("/proc") as entries:
        for entry in entries:
            if not entry.name.isdigit() or entry.name == own:
                continue
            with contextlib.suppress(OSError):
                command = _command(entry.name, entry.inode(), settled)
                if wanted in command and _state(entry.name) not in "ZX":
                    found[int(entry.name)] = command.decode("utf-8", "replace")
    return found


def _command(pid: str, inode: int, settled: bool) -> bytes:
    """Return a process's command line; the inode of its directory tells it from an earlier one with its number."""
    now = time.monotonic()
    since, before = _commands.get((pid, inode), (now, b""))
    if settled and now - since > SETTLED:
        return before
    command = _content(f"/proc/{pid}/cmdline").replace(b"\0", b" ")
    _commands[pid, inode] = (since if command == before else now, command)
    return command


def _state(pid: str) -> str:
    return _content(f"/proc/{pid}/stat").rpartition(b")")[2].split()[0].decode()


def _content(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.readall()


def kill(pid: int) -> None:
    """Kill a process, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def listening(address: str) -> list[int]:
    """Return the TCP ports at which somebody listens on an address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    wanted = socket.inet_pton(family, address)
    return sorted(port for host, port in _listeners(family) if host == wanted)


def _listeners(family: int) -> Iterator[tuple[bytes, int]]:
    """Ask the kernel for the sockets that listen (sock_diag(7)): /proc/net/tcp is slow where memory is large."""
    size = 4 if family == socket.AF_INET else 16
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, SOCK_DIAG) as kernel:
        body = struct.pack("=BBBxI48x", family, socket.IPPROTO_TCP, 0, 1 << LISTEN_STATE)
        kernel.send(_HEADER.pack(_HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, DUMP_REQUEST, 1, 0) + body)
        while True:
            answer = kernel.recv(1 << 18)
            while answer:
                length, kind, *_rest = _HEADER.unpack_from(answer)
                row, answer = answer[_HEADER.size : length], answer[(length + 3) & ~3 :]
                if kind == DONE:
                    return
                assert kind == SOCK_DIAG_BY_FAMILY, f"the kernel refused: {row.hex()}"
                yield row[8 : 8 + size], int.from_bytes(row[4:6], "big")


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
