# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking at the socket of a data server that somebody took over: soon answered or refused, and nobody else is asked."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import unix_socket


class Server:
    """A data server that somebody took over: it does with each connection to its socket what it likes."""

    def __init__(self, path: Path, serve: Callable[[socket.socket], None]) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(1)
        self._serve = serve
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _peer = self._socket.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(1000)
                    self._serve(connection)

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(20)


def drip(connection: socket.socket) -> None:
    """Send one byte now and then."""
    for _unused in range(200):
        connection.sendall(b"x")
        time.sleep(0.1)


def flood(connection: socket.socket) -> None:
    """Send without end."""
    while True:
        connection.sendall(b"x" * 65536)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """The directory of an instance, in which this process works as the data server does."""
    (tmp_path / "run").mkdir()
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


@pytest.fixture
def serve(directory: Path) -> Iterator[Callable[..., Server]]:
    """Make data servers."""
    with contextlib.ExitStack() as stack:

        def make(behave: Callable[[socket.socket], None], name: str = "run/control.sock") -> Server:
            return stack.enter_context(contextlib.closing(Server(directory / name, behave)))

        yield make


def asked(directory: Path, seconds: float = 1.0, **more: Any) -> str:
    """Ask at the socket, with so much time for an answer."""
    return unix_socket.ask(str(directory), "run/control.sock", "x", time.monotonic() + seconds, **more)


def test_an_answer(directory: Path, serve: Callable[..., Server]) -> None:
    serve(lambda connection: connection.sendall(b"one\ntwo\n"))
    assert asked(directory) == "one\ntwo\n"
    assert asked(directory, one_line=True) == "one"


@pytest.mark.parametrize(
    ("behave", "words"),
    [(drip, "within"), (lambda connection: time.sleep(2), "within"), (flood, "longer than")],
)
def test_an_answer_without_end(
    directory: Path, serve: Callable[..., Server], behave: Callable[[socket.socket], None], words: str
) -> None:
    serve(behave)
    began = time.monotonic()
    with pytest.raises(S2DSException, match=words):
        asked(directory)
    assert time.monotonic() - began < 2


def test_nobody_takes_the_connection(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, contextlib.ExitStack() as stack:
        server.bind(str(directory / "run" / "control.sock"))
        server.listen(0)
        for _unused in range(3):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(str(directory / "run" / "control.sock"))
        began = time.monotonic()
        with pytest.raises(S2DSException, match="within"):
            asked(directory)
        assert 0.5 < time.monotonic() - began < 2


def test_no_socket_and_nobody_behind_it(directory: Path) -> None:
    with pytest.raises(unix_socket.NotListening):
        asked(directory)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(directory / "run" / "control.sock"))
    with pytest.raises(unix_socket.NotListening):
        asked(directory)


def test_only_a_socket_of_its_own(directory: Path, serve: Callable[..., Server]) -> None:
    heard: list[str] = []
    other = directory / "other"
    other.mkdir()
    serve(lambda connection: heard.append("x"), "other/engine.sock")
    at = directory / "run" / "control.sock"
    at.symlink_to("../other/engine.sock")
    for _unused in range(2):
        with pytest.raises(S2DSException, match=r"not owned by the data server|does not answer"):
            asked(directory)
        at.unlink()
        os.link(other / "engine.sock", at)
    at.unlink()
    for make in (os.mkfifo, lambda path: Path(path).write_text("x"), os.mkdir):
        make(at)
        with pytest.raises(S2DSException, match="not owned by the data server"):
            asked(directory)
        os.rmdir(at) if at.is_dir() else at.unlink()
    assert not heard


def test_only_who_works_in_the_directory(directory: Path, serve: Callable[..., Server]) -> None:
    serve(lambda connection: connection.sendall(b"yes"))
    assert asked(directory) == "yes"
    os.chdir("/")
    with pytest.raises(S2DSException, match=f"process {os.getpid()} of the user {os.geteuid()} listens"):
        asked(directory)
    assert asked(directory, accept=lambda pid, user: (pid, user) == (os.getpid(), os.geteuid())) == "yes"
