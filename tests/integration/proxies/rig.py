# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams over the real programs, and data that is compared byte by byte."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import COLLECTION, S2CS, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import PATIENCE, pair

PROXIES = ("haproxy", "nginx", "stunnel")
CONFIGURATIONS = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf", "stunnel": "stunnel.conf"}
MIB = 1 << 20
# Size of large transfers in each direction.
SIZE = int(os.environ.get("PROXIES_MIB", "32")) * MIB


def policy(root: Path, **settings: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a policy that offers all proxies, with settings and copies of their templates below a root."""
    templates = root / "templates"
    templates.mkdir(exist_ok=True)
    for proxy, name in CONFIGURATIONS.items():
        text = (COLLECTION / "roles" / proxy / "files" / f"{name}.j2").read_text()
        (templates / f"{name}.j2").write_text(text)
    return {
        "template_dir": str(templates),
        "proxies": {"s2ds": {}, **{name: {"settings": settings.get(name, {})} for name in PROXIES}},
    }


def directory(s2cs: S2CS, session: dict[str, Any]) -> Path:
    """Return the directory of a session."""
    return s2cs.sessions / f"{session['role']}-{session['uid']}"


class Stream:
    """A stream on one S2CS: the role producer, and for a proxy that encrypts the role consumer in front of it."""

    def __init__(self, s2cs: S2CS, proxy: str, *targets: str, **request: Any) -> None:
        self.s2cs = s2cs
        self.proxy = proxy
        self.uid = own_uid()
        self.encrypts = proxy == "stunnel"
        self.key = {"psk": secrets.token_hex(32)} if self.encrypts else {}
        self.roles = ("producer", "consumer") if self.encrypts else ("producer",)
        request = {"proxy": proxy, "encryption": "tls" if self.encrypts else "none", **request}
        for role in self.roles:
            s2cs.request(self.uid, role, **request)
        s2cs.hello(self.uid, *targets)
        self.session = self.point(*targets)
        self.front = self.session
        if self.encrypts:
            s2cs.hello(self.uid, role="consumer")
            self.front = s2cs.done(
                "update", uid=self.uid, role="consumer", remote_listeners=self.session["listeners"], **self.key
            )["session"]

    @property
    def listener(self) -> str:
        """Where the consumer's application connects."""
        return str(self.front["listeners"][0])

    def point(self, *targets: str, **options: Any) -> dict[str, Any]:
        """UPDATE the role producer."""
        found: dict[str, Any] = self.s2cs.done(
            "update", uid=self.uid, role="producer", remote_listeners=list(targets), **self.key, **options
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
