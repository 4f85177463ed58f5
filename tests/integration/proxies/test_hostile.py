# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Data servers that somebody took over, and such that are stopped: told of those alone, and nobody else has to wait."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.proxies.harness import Stream, directory
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import (
    Application,
    ask,
    connect,
    eventually,
    exchange,
)

CONTROL = {"s2ds": "run/control.sock", "haproxy": "run/master.sock"}


def _say(data: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(data)


def _flood(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x" * 65536)


def _drip(connection: socket.socket) -> None:
    while True:
        connection.sendall(b" ")
        time.sleep(0.2)


def _never(connection: socket.socket) -> None:
    time.sleep(600)


STATUS = b'{"ok": true, "status": {"since": 1, "listeners": [], "connections": %s, "bytes": {"to_consumer": 1}}}\n'
COUNTS = b'{"open": 0, "total": "many", "refused": true, "failed": -1}'
# What it does with each connection, and words of what is told of it.
BEHAVIOURS: dict[str, tuple[Callable[[socket.socket], None], str]] = {
    "list": (_say(b"[]\n"), "invalid answer of the data server"),
    "nothing but ok": (_say(b'{"ok": 1}\n'), "refused to status"),
    "ok alone": (_say(b'{"ok": true}\n'), "invalid answer of the data server"),
    "number": (_say(b'{"ok": true, "status": 7}\n'), "invalid answer of the data server"),
    "number for an object": (_say(STATUS % b"3"), "invalid answer of the data server"),
    "text for a counter": (_say(STATUS % COUNTS), "invalid answer of the data server"),
    "deep": (_say(b"[" * 200000 + b"\n"), "invalid answer of the data server"),
    "escapes": (_say(b'{"ok": false, "error": "\\u001b[31m%s"}\n' % (b"x" * 3000)), "refused to status"),
    "nothing": (lambda connection: None, "invalid answer of the data server"),
    "without end": (_flood, "longer than"),
    "now and then": (_drip, "within"),
    "never": (_never, "within"),
}


class Usurper:
    """A process in place of a data server, which owns its socket."""

    def __init__(self, where: Path, name: str, behave: Callable[[socket.socket], None]) -> None:
        (where / name).unlink()
        ready, told = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            with contextlib.suppress(BaseException):
                self._run(where, name, behave, told)
            os._exit(0)
        os.close(told)
        assert os.read(ready, 1) == b"x"
        os.close(ready)

    @staticmethod
    def _run(where: Path, name: str, behave: Callable[[socket.socket], None], told: int) -> None:
        os.chdir(where)
        server = socket.socket(socket.AF_UNIX)
        server.bind(name)
        server.listen(8)
        os.write(told, b"x")
        while True:
            connection, _peer = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(1000)
                behave(connection)

    def end(self) -> None:
        """End it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@pytest.fixture
def usurp() -> Iterator[Callable[..., None]]:
    """Put processes in place of data servers."""
    with contextlib.ExitStack() as stack:

        def make(where: Path, name: str, behave: Callable[[socket.socket], None]) -> None:
            stack.callback(Usurper(where, name, behave).end)

        yield make


def _look(gateway: S2CS, seconds: float) -> dict[str, Any]:
    began = time.monotonic()
    found = gateway.done("info")["sessions"]
    assert time.monotonic() - began < seconds
    return {item["uid"]: item for item in found}


@pytest.mark.parametrize("proxy", CONTROL)
def test_whatever_a_control_socket_answers(
    gateway: S2CS, usurp: Callable[..., None], application: Application, other_application: Application, proxy: str
) -> None:
    good = Stream(gateway, proxy, application.endpoint)
    bad = {name: gateway.stream(application.endpoint, proxy=proxy) for name in BEHAVIOURS}
    for name, session in bad.items():
        usurp(directory(gateway, session), CONTROL[proxy], BEHAVIOURS[name][0])
    # Three of them let one wait for as long as there is patience.
    seen = _look(gateway, 30)
    assert seen[good.uid]["running"] and not seen[good.uid]["log"]
    for name, session in bad.items():
        found = seen[session["uid"]]
        # What it wrote down is taken for no more than it is.
        assert not found["running"] and not (found["counters"] or {}).get("exact"), name
        assert len(found["log"]) == 1 and found["log"][0].isprintable() and len(found["log"][0]) <= 600
        assert proxy != "s2ds" or BEHAVIOURS[name][1] in found["log"][0], found["log"]
    good.point(other_application.endpoint)
    assert exchange(good.listener) == b"two:hello"
    result = gateway.call(
        "update", uid=bad["deep"]["uid"], role="producer", remote_listeners=[other_application.endpoint]
    )
    assert result["failed"] and "invalid answer of the data server" in result["msg"] and len(result["msg"]) < 1000
    for session in bad.values():
        began = time.monotonic()
        assert gateway.done("release", uid=session["uid"])["changed"]
        assert time.monotonic() - began < 20
    assert list(_look(gateway, 10)) == [good.uid]


@pytest.mark.parametrize("kind", ["symlink", "other session", "fifo", "file", "directory", "gone"])
def test_something_else_in_place_of_a_socket(
    gateway: S2CS, tmp_path: Path, application: Application, kind: str
) -> None:
    good = Stream(gateway, "s2ds", application.endpoint)
    session = gateway.stream(application.endpoint, proxy="s2ds")
    at = directory(gateway, session) / CONTROL["s2ds"]
    at.unlink()
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(tmp_path / "engine.sock"))
        engine.listen(5)
        engine.setblocking(False)
        if kind == "symlink":
            at.symlink_to(tmp_path / "engine.sock")
        elif kind == "other session":
            os.link(directory(gateway, good.session) / CONTROL["s2ds"], at)
        else:
            makers: dict[str, Callable[[Path], object]] = {
                "fifo": os.mkfifo,
                "file": Path.touch,
                "directory": Path.mkdir,
            }
            if kind in makers:
                makers[kind](at)
        seen = _look(gateway, 10)
        assert not seen[session["uid"]]["running"]
        if kind == "other session":
            # A second name makes the socket nobody's.
            at.unlink()
            seen = _look(gateway, 10)
        assert seen[good.uid]["running"]
        assert gateway.done("release", uid=session["uid"])["changed"]
        with pytest.raises(BlockingIOError):
            engine.accept()


def test_whatever_is_in_place_of_files(gateway: S2CS, tmp_path: Path, application: Application) -> None:
    """Logs and pid files of nginx and stunnel: links, devices, pipes, and lines without end."""
    good = Stream(gateway, "nginx", application.endpoint)
    secret = tmp_path / "secret"
    secret.write_text(f"{os.getpid()}\n")

    def long_line(path: Path) -> None:
        with open(path, "wb") as stream:
            stream.truncate(64 << 20)
            stream.write(b"x" * (64 << 20))

    pid, log, lines = "run/nginx.pid", "run/connections.log", "run/stunnel.log"
    changes: list[tuple[str, Callable[[Path], object]]] = [
        *((pid, os.mkfifo), (log, os.mkfifo), (log, Path.mkdir), (log, long_line), (lines, long_line)),
        (pid, lambda path: path.symlink_to("/dev/zero")),
        (log, lambda path: path.symlink_to(secret)),
        (log, lambda path: os.link(secret, path)),
        (pid, lambda path: path.write_bytes(b"9" * 5000)),
    ]
    streams = []
    for name, change in changes:
        streams.append(Stream(gateway, "stunnel" if name == lines else "nginx", application.endpoint))
        path = directory(gateway, streams[-1].session) / name
        path.unlink()
        change(path)
    seen = _look(gateway, 30)
    assert seen[good.uid]["running"]
    for stream in streams:
        for role in stream.roles:
            gateway.call("update", uid=stream.uid, role=role, remote_listeners=[application.endpoint], **stream.peer)
        stream.release()
    assert list(_look(gateway, 10)) == [good.uid]
    assert secret.read_text() == f"{os.getpid()}\n"


def _is_written(stream: Stream) -> bool:
    """Tell whether all that went through a data server is in its files: s2ds writes them once a second."""
    path = directory(stream.s2cs, stream.session) / "run" / "counters.json"
    counted = stream.counters()
    return (
        counted["connections"]["open"] == 0
        and counted["bytes"]["to_producer"] == len(b"hello")
        and (stream.proxy != "s2ds" or json.loads(path.read_text())["to_producer"] == len(b"hello"))
    )


@pytest.mark.parametrize("stopped", ["haproxy", "nginx", "stunnel", "s2ds", "s2ds-tls"])
def test_a_stopped_data_server_is_not_running(gateway: S2CS, application: Application, stopped: str) -> None:
    stream = Stream(gateway, stopped, application.endpoint)
    assert exchange(stream.listener) == b"one:hello"
    eventually("it is written down", lambda: _is_written(stream))
    pid = stream.main_process()
    os.kill(pid, signal.SIGSTOP)
    try:
        seen = _look(gateway, 10)[stream.uid] if not stream.encrypts else gateway.info(stream.uid)
        assert not seen["running"] and seen["health"] == "silent"
        # What it counted is known as far as it is written down; what it has open is not.
        assert seen["counters"]["connections"]["open"] is None and not seen["counters"]["exact"]
        assert seen["counters"]["bytes"]["to_producer"] == len(b"hello")
        assert f"kill -CONT {pid}" in seen["log"][0]
        began = time.monotonic()
        result = gateway.call(
            "update", uid=stream.uid, role="producer", remote_listeners=[application.endpoint], **stream.peer
        )
        assert result["failed"] and f"process {pid}" in result["msg"] and "stopped by a signal" in result["msg"]
        assert time.monotonic() - began < 5
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually("it runs", lambda: gateway.info(stream.uid)["running"])
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    stream.release()
    assert time.monotonic() - began < 25


def test_a_stopped_worker_is_named(gateway: S2CS, application: Application) -> None:
    for proxy in ("haproxy", "nginx", "s2ds"):
        stream = Stream(gateway, proxy, application.endpoint)
        with connect(stream.listener) as connection:
            assert ask(connection, b"x") == b"one:x"
            (worker,) = _children(stream.main_process())
            os.kill(worker, signal.SIGSTOP)
            seen = gateway.info(stream.uid)
            os.kill(worker, signal.SIGCONT)
            assert not seen["running"] and f"kill -CONT {worker}" in seen["log"][0]


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("proxy", ["haproxy", "haproxy-tls", "nginx", "stunnel", "s2ds"])
def test_since_when_no_byte_has_moved(gateway: S2CS, application: Application, proxy: str) -> None:
    stream = Stream(gateway, proxy, application.endpoint)
    if not stream.encrypts:
        assert stream.counters()["last_byte"] is None
    with connect(stream.listener) as connection:
        assert ask(connection, b"x") == b"one:x"
        eventually("a byte has moved", lambda: stream.counters()["last_byte"])
        time.sleep(3)
        counters = stream.counters()
        assert counters["connections"]["open"] == 1
        assert 1.5 < time.time() - counters["last_byte"] < 30
