# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams over both gateways that are cut in the middle, in every way, and what the consumer's application sees."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.scistream.gateway.tests.integration.proxies.certificates import of_gateway
from ansible_collections.scistream.gateway.tests.integration.proxies.harness import MIB, encryption, program
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import PATIENCE, kill, listening, pair

SIZE = 64 * MIB
# After so many bytes, all is under way, and most of the stream is still to come.
CUT_AT = 4 * MIB
ROLES = ("producer", "consumer")
_BLOCK = 1 << 16


class Source:
    """An application that sends SIZE bytes to whoever connects, and then ends the stream.

    Args:
        pause: Seconds between its blocks, so that a reader who is faster has read all that has come.
    """

    def __init__(self, pause: float = 0.0) -> None:
        self._pause = pause
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
                connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _peer = self._socket.accept()
                self._connections.append(connection)
                threading.Thread(target=self._send, args=(connection,), daemon=True).start()

    def _send(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for _unused in range(SIZE // _BLOCK):
                connection.sendall(bytes(_BLOCK))
                time.sleep(self._pause)
            connection.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Reset the connections."""
        for connection in self._connections:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(connection.detach())
        self._connections.clear()


@dataclass(frozen=True)
class End:
    """What the consumer's application saw: ``end`` or ``reset``, after so many bytes."""

    how: str
    received: int

    @property
    def silent(self) -> bool:
        """Whether it takes what it has for all of it, although it is not."""
        return self.how == "end" and self.received < SIZE


class Route:
    """A stream through the gateways of both sides, which are on this machine.

    Args:
        s2cs: The control server of both.
        kind: The proxy on the producer's gateway, with ``-tls`` behind it where it is to encrypt.
        front: The proxy on the consumer's gateway, the same unless it is given.
        source: The producer's application.
    """

    def __init__(self, s2cs: S2CS, kind: str, source: Source, front: str = "") -> None:
        self.s2cs, self.source, self.uid = s2cs, source, own_uid()
        self.sessions: dict[str, dict[str, Any]] = {}
        form = encryption(kind)
        pairs = {role: of_gateway(role, self.uid) for role in ROLES if form == "tls"}
        targets = [source.endpoint]
        for role, proxy in zip(ROLES, (program(kind), front or program(kind)), strict=True):
            s2cs.request(self.uid, role, proxy=proxy, encryption=form)
            listeners = {"producer_listeners": targets} if role == "producer" else {}
            own = pairs[role].hello if pairs else {}
            s2cs.done("hello", uid=self.uid, role=role, secret=SECRET, **listeners, **own)
            other = ROLES[role == "producer"]
            peer = {"peer_certificate": pairs[other].certificate} if pairs else {}
            update = {"uid": self.uid, "role": role, "remote_listeners": targets, **peer}
            self.sessions[role] = s2cs.done("update", **update)["session"]
            targets = self.sessions[role]["listeners"]

    def is_whole(self) -> bool:
        """Return whether both data servers run."""
        for session in self.sessions.values():
            host, port = pair(session["listeners"][0])
            if port not in listening(host):
                return False
        return all(session["running"] for session in self.s2cs.done("info", uid=self.uid)["sessions"])

    def processes(self, role: str) -> tuple[int, int, list[int]]:
        """Return the supervisor of a data server, its main process, and all processes below that."""
        state = self.s2cs.supervisor(self.sessions[role])
        main = int(state["child"])
        found, parents = [], [main]
        while parents:
            parents = [pid for parent in parents for pid in _children(parent)]
            found += parents
        return int(state["pid"]), main, found

    def carry(self, cut: Callable[[Route, str], None], role: str, waits: bool = True) -> End:
        """Receive, have the stream cut in the middle, and receive what is left.

        Args:
            cut: What cuts it.
            role: The gateway at which it is cut.
            waits: Whether the application does not read meanwhile, so that much of the stream is on its way.
        """
        thread = threading.Thread(target=cut, args=(self, role))
        received, how = 0, "end"
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BLOCK)
            connection.settimeout(PATIENCE)
            try:
                connection.connect(pair(self.sessions["consumer"]["listeners"][0]))
                while data := connection.recv(_BLOCK):
                    received += len(data)
                    if received >= CUT_AT and thread.ident is None:
                        thread.start()
                        if waits:
                            thread.join()
            except ConnectionError:
                how = "reset"
        assert thread.ident is not None, f"{how} after {received} bytes, before it was cut"
        thread.join()
        return End(how, received)


def _children(parent: int) -> list[int]:
    with contextlib.suppress(OSError), open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as file:
        return [int(pid) for pid in file.read().split()]
    return []


def _worker(route: Route, role: str) -> None:
    """As the kernel does that has no memory left."""
    _supervisor, main, others = route.processes(role)
    for pid in others or [main]:
        kill(pid)


def _main(route: Route, role: str) -> None:
    kill(route.processes(role)[1])


def _supervisor(route: Route, role: str) -> None:
    kill(route.processes(role)[0])
    # It only watches: the stream goes on, and a release ends it.
    _release(route, role)


def _all(route: Route, role: str) -> None:
    supervisor, main, others = route.processes(role)
    for pid in (supervisor, main, *others):
        kill(pid)


def _terminate(route: Route, role: str) -> None:
    """As the engine does that stops a container."""
    os.kill(route.processes(role)[1], signal.SIGTERM)


def _terminate_all(route: Route, role: str) -> None:
    """As systemd does that stops a unit."""
    _unused, main, others = route.processes(role)
    for pid in (main, *others):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def _release(route: Route, role: str) -> None:
    assert route.s2cs.done("release", uid=route.uid, role=role)["changed"]


def _drop(route: Route, role: str) -> None:
    assert route.s2cs.done("drop", uid=route.uid, role=role)["changed"]


def _reset(route: Route, _role: str) -> None:
    """As an application does that dies with data unread."""
    route.source.reset()


# What cuts a stream after which the data server continues, or is started again.
PASSING: dict[str, Callable[[Route, str], None]] = {
    "the producer's application resets its connection": _reset,
    "workers are killed": _worker,
    "the main process is killed": _main,
    "the main process is terminated": _terminate,
    "all processes are terminated": _terminate_all,
    "connections are dropped": _drop,
}
# The others.
FINAL: dict[str, Callable[[Route, str], None]] = {
    "all processes and the supervisor are killed": _all,
    "the supervisor is killed, and the session released": _supervisor,
    "the session is released": _release,
}
