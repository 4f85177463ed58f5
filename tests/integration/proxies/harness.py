# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams over the real programs, and data that is compared byte by byte."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ansible_collections.scistream.gateway.tests.integration.proxies.certificates import of_gateway
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import COLLECTION, S2CS, SECRET, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import PATIENCE, pair

PROXIES = ("haproxy", "nginx", "stunnel")
# Proxies, with "-tls" behind them where they are to encrypt and could do without.
ENCRYPTED = ("haproxy-tls", "nginx-tls", "stunnel", "s2ds-tls")
KINDS = ("haproxy", "nginx", *ENCRYPTED[:3])
CONFIGURATIONS = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf", "stunnel": "stunnel.conf"}
MIB = 1 << 20
# Size of large transfers in each direction.
SIZE = int(os.environ.get("PROXIES_MIB", "32")) * MIB


def program(kind: str) -> str:
    """Return the proxy of a kind."""
    return kind.partition("-")[0]


def encrypts(kind: str) -> bool:
    """Tell whether a kind encrypts."""
    return kind in ENCRYPTED


def encryption(kind: str) -> str:
    """Return the encryption of a kind."""
    return "tls" if encrypts(kind) else "none"


def policy(root: Path, **settings: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a policy that offers all proxies, with settings and copies of their templates below a root."""
    templates = root / "templates"
    templates.mkdir(exist_ok=True)
    for proxy, name in CONFIGURATIONS.items():
        text = (COLLECTION / "roles" / proxy / "files" / f"{name}.j2").read_text()
        (templates / f"{name}.j2").write_text(text)
    return {
        "template_dir": str(templates),
        "proxies": {name: {"settings": settings.get(name, {})} for name in ("s2ds", *PROXIES)},
    }


def directory(s2cs: S2CS, session: dict[str, Any]) -> Path:
    """Return the directory of a session."""
    return s2cs.sessions / f"{session['role']}-{session['uid']}"


class Stream:
    """A stream on one S2CS: the role producer, and where it is encrypted the role consumer in front of it.

    Args:
        s2cs: The control server.
        kind: The proxy, with ``-tls`` behind it where it is to encrypt.
        targets: Where the producer's application listens.
        front: The proxy of the role consumer, if another one.
        request: More for the requests.
    """

    def __init__(self, s2cs: S2CS, kind: str, *targets: str, front: str = "", **request: Any) -> None:
        self.s2cs = s2cs
        self.kind = kind
        self.proxy, self.encrypts = program(kind), encrypts(kind)
        self.uid = own_uid()
        self.roles = ("producer", "consumer") if self.encrypts else ("producer",)
        proxies = {"producer": self.proxy, "consumer": front or self.proxy}
        self.pairs = {role: of_gateway(role, self.uid) for role in self.roles}
        for role in self.roles:
            s2cs.request(self.uid, role, **{"proxy": proxies[role], "encryption": encryption(kind), **request})
        self.hello("producer", producer_listeners=list(targets))
        self.session = self.point(*targets)
        self.front = self.session
        if self.encrypts:
            self.hello("consumer")
            self.front = self.point_front(*self.session["listeners"])

    @property
    def listener(self) -> str:
        """Where the consumer's application connects."""
        return str(self.front["listeners"][0])

    @property
    def peer(self) -> dict[str, Any]:
        """What an UPDATE of the role producer must know of the other gateway."""
        return {"peer_certificate": self.pairs["consumer"].certificate} if self.encrypts else {}

    def hello(self, role: str, **options: Any) -> None:
        """HELLO with the certificate of this role, if there is one."""
        own = self.pairs[role].hello if self.encrypts else {}
        self.s2cs.done("hello", uid=self.uid, role=role, secret=SECRET, **own, **options)

    def point(self, *targets: str, **options: Any) -> dict[str, Any]:
        """UPDATE the role producer."""
        found: dict[str, Any] = self.s2cs.done(
            "update", uid=self.uid, role="producer", remote_listeners=list(targets), **{**self.peer, **options}
        )["session"]
        return found

    def point_front(self, *targets: str) -> dict[str, Any]:
        """UPDATE the role consumer."""
        peer = self.pairs["producer"].certificate
        found: dict[str, Any] = self.s2cs.done(
            "update", uid=self.uid, role="consumer", remote_listeners=list(targets), peer_certificate=peer
        )["session"]
        return found

    def counters(self, role: str = "producer") -> dict[str, Any]:
        """Return the counters of a role, which must be running."""
        seen = self.s2cs.info(self.uid, role)
        assert seen["running"], seen
        found: dict[str, Any] = seen["counters"]
        assert isinstance(found["since"], float) and abs(time.time() - found["since"]) < 600
        return found

    def main_process(self, role: str = "producer") -> int:
        """Return the pid of the proxy."""
        session = self.session if role == "producer" else self.front
        return int(self.s2cs.supervisor(session)["child"])

    def release(self) -> None:
        """REL."""
        assert self.s2cs.done("release", uid=self.uid)["changed"]


def pattern(size: int, seed: int) -> Iterator[bytes]:
    """Return reproducible data in blocks, no two alike."""
    block = hashlib.shake_128(str(seed).encode()).digest(1 << 16)
    for number in range(size >> 16):
        yield number.to_bytes(8, "big") + block[8:]


class Whole:
    """A server that takes one connection: it reads to the end, or so much, and only then answers."""

    def __init__(self, size: int, reads: int | None = None, before_reading: Callable[[], None] = lambda: None) -> None:
        self._size = size
        self._reads = reads
        self._before_reading = before_reading
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(PATIENCE)
        self.endpoint = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.digest = ""
        self.received = 0
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with self._socket, contextlib.suppress(OSError):
            connection, _peer = self._socket.accept()
            with connection:
                connection.settimeout(10 * PATIENCE)
                self._before_reading()
                self.received, self.digest = drain(connection, self._reads)
                for block in pattern(self._size, 2):
                    connection.sendall(block)


def drain(connection: socket.socket, reads: int | None = None) -> tuple[int, str]:
    """Read to the end, or so much; returns how much came and its digest."""
    digest, size = hashlib.blake2b(), 0
    while reads is None or size < reads:
        data = connection.recv(1 << 18)
        if not data:
            break
        digest.update(data)
        size += len(data)
    return size, digest.hexdigest()


def digest_of(size: int, seed: int) -> str:
    """Return the digest of a pattern."""
    digest = hashlib.blake2b()
    for block in pattern(size, seed):
        digest.update(block)
    return digest.hexdigest()


def transfer(listener: str, server: Whole, size: int, answer: int, half_close: bool) -> None:
    """Send, end the own direction or not, take the answer; nothing may be missing or changed on either side."""
    with socket.create_connection(pair(listener), PATIENCE) as connection:
        connection.settimeout(10 * PATIENCE)
        for block in pattern(size, 1):
            connection.sendall(block)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        received, digest = drain(connection)
    server.thread.join(PATIENCE)
    assert (server.received, server.digest) == (size, digest_of(size, 1))
    assert (received, digest) == (answer, digest_of(answer, 2))
