# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real program on real sockets.

S2DS_PYTHON names the interpreter that runs it, S2DS_MIB the size of large transfers, S2DS_SECONDS the time limit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parents[4] / "roles" / "s2ds" / "files" / "s2ds"
PYTHON = os.environ.get("S2DS_PYTHON", sys.executable)
LARGE = int(os.environ.get("S2DS_MIB", "32")) << 20
SECONDS = int(os.environ.get("S2DS_SECONDS", "20"))


def wait_until(condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.01)


class Peer:
    """One end of a connection, with the ways in which applications use it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(SECONDS)
        self.sock = sock

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def end(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def receive(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            more = self.sock.recv(count - len(data))
            assert more, f"end of stream after {len(data)} of {count} bytes"
            data += more
        return bytes(data)

    def rest(self) -> bytes:
        data = bytearray()
        while more := self.sock.recv(1 << 20):
            data += more
        return bytes(data)

    def outcome(self) -> str:
        """How the stream to this end ends, whatever comes before."""
        try:
            self.rest()
        except (ConnectionResetError, BrokenPipeError):
            return "reset"
        return "end"

    def send_stream(self, size: int, seed: int) -> str:
        """Send so many bytes that nowhere repeat, then the end of the stream; the digest of them."""
        digest = hashlib.sha256()
        for offset in range(0, size, 1 << 16):
            piece = hashlib.shake_128(b"%d %d" % (seed, offset)).digest(1024) * 64
            piece = piece[: size - offset]
            digest.update(piece)
            self.sock.sendall(piece)
        self.end()
        return digest.hexdigest()

    def receive_stream(self) -> tuple[int, str]:
        digest, count = hashlib.sha256(), 0
        buffer = bytearray(1 << 20)
        while got := self.sock.recv_into(buffer):
            digest.update(memoryview(buffer)[:got])
            count += got
        return count, digest.hexdigest()

    def close(self) -> None:
        self.sock.close()


class Target:
    """A listener of the test, to which the forwarder connects."""

    def __init__(self, address: str = "127.0.0.1", backlog: int = 512) -> None:
        self.sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.sock.bind((address, 0))
        self.sock.listen(backlog)
        self.sock.settimeout(SECONDS)
        self.address = [address, self.sock.getsockname()[1]]

    def accept(self) -> Peer:
        return Peer(self.sock.accept()[0])

    def close(self) -> None:
        self.sock.close()


class Forwarder:
    def __init__(
        self,
        directory: Path,
        config: dict[str, Any] | str,
        *options: str,
        descriptors: int = 0,
        unread_log: bool = False,
        program: Path = PROGRAM,
    ) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self.configure(config)
        words = [PYTHON, "-I", "-S", str(program), "--directory", str(directory), *options]
        if descriptors:
            words = ["prlimit", f"--nofile={descriptors}", *words]
        with (directory / "log").open("ab") as log:
            stderr = subprocess.PIPE if unread_log else log
            self.process = subprocess.Popen(words, stderr=stderr, stdin=subprocess.DEVNULL)
        self._workers: set[int] = set()

    def configure(self, config: dict[str, Any] | str) -> None:
        text = config if isinstance(config, str) else json.dumps(config)
        (self.directory / "s2ds.json").write_text(text)

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def ask(self, request: dict[str, Any] | bytes) -> dict[str, Any]:
        directory = os.open(self.directory, os.O_PATH)
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(SECONDS)
                sock.connect(f"/proc/self/fd/{directory}/run/control.sock")
                sock.sendall(request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n")
                answer: dict[str, Any] = json.loads(sock.makefile().readline())
                return answer
        finally:
            os.close(directory)

    def started(self) -> Forwarder:
        def answers() -> bool:
            assert self.process.poll() is None, self.log()
            with contextlib.suppress(OSError):
                return bool(self.ask({"op": "status"}))
            return False

        wait_until(answers, "the control socket")
        return self

    def status(self) -> dict[str, Any]:
        answer = self.ask({"op": "status"})
        assert answer["ok"], answer
        status: dict[str, Any] = answer["status"]
        self._workers |= {worker["pid"] for worker in status["workers"]}
        return status

    def workers(self) -> list[int]:
        return [worker["pid"] for worker in self.status()["workers"]]

    def reload(self, config: dict[str, Any]) -> dict[str, Any]:
        self.configure(config)
        return self.ask({"op": "reload"})

    def connect(self, index: int = 0, source: str = "") -> Peer:
        host, _colon, port = self.status()["listeners"][index].rpartition(":")
        where = (host.strip("[]"), int(port))
        return Peer(socket.create_connection(where, timeout=SECONDS, source_address=(source, 0) if source else None))

    def turned_away(self, index: int = 0, source: str = "") -> bool:
        """A new connection is reset; that may be seen in connecting or after it."""
        try:
            return self.connect(index, source).outcome() == "reset"
        except ConnectionResetError:
            return True

    def counted(self, kind: str, number: int) -> None:
        wait_until(lambda: self.status()["connections"][kind] == number, f"{number} connections {kind}")

    def exit(self) -> int:
        return self.process.wait(SECONDS)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.exit()
        for pid in self._workers:
            wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), f"the end of worker {pid}")  # type: ignore[misc]


class Bed:
    """What a test makes, and what is taken away after it."""

    large = LARGE
    program, python = PROGRAM, PYTHON
    wait_until = staticmethod(wait_until)

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._stack = contextlib.ExitStack()

    def target(self, address: str = "127.0.0.1", backlog: int = 512) -> Target:
        return self._stack.enter_context(contextlib.closing(Target(address, backlog)))

    def peer(self, sock: socket.socket) -> Peer:
        """An end of a connection that the test has made."""
        return self._stack.enter_context(contextlib.closing(Peer(sock)))

    def forwarder(self, *options: str, descriptors: int = 0, **config: Any) -> Forwarder:
        """With a listener on a free port for each of `targets`, unless `listeners` are given."""
        return self.raw(self.config(**config), *options, descriptors=descriptors).started()

    def raw(self, config: dict[str, Any] | str, *options: str, name: str = "session", **more: Any) -> Forwarder:
        forwarder = Forwarder(self.directory / name, config, *options, **more)
        self._stack.callback(forwarder.close)
        return forwarder

    @staticmethod
    def config(address: str = "127.0.0.2", targets: list[Any] | None = None, **config: Any) -> dict[str, Any]:
        listeners = [{"address": address, "port": 0, "target": target} for target in targets or []]
        return {"listeners": listeners, **config}

    def pair(self, *options: str, address: str = "127.0.0.1", **config: Any) -> tuple[Forwarder, Peer, Peer]:
        """A forwarder and both ends of one connection through it."""
        target = self.target(address)
        forwarder = self.forwarder(*options, targets=[target.address], **config)
        client, server = self.link(forwarder, target)
        return forwarder, client, server

    def link(self, forwarder: Forwarder, target: Target, index: int = 0) -> tuple[Peer, Peer]:
        client = self._stack.enter_context(contextlib.closing(forwarder.connect(index)))
        server = self._stack.enter_context(contextlib.closing(target.accept()))
        return client, server

    def together(self, *actions: Callable[[], Any]) -> list[Any]:
        """Run all at once; their results."""
        results: list[Any] = [None] * len(actions)

        def run(index: int) -> None:
            try:
                results[index] = actions[index]()
            except BaseException as error:
                results[index] = error

        threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(actions))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS * 3)
            assert not thread.is_alive()
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path)
    yield made
    made.close()
