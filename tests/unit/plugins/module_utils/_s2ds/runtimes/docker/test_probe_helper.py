# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The helper of the runtime dockersock: its code runs by itself, and nonsense in its place is bounded and refused."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker import probe_helper
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.engine import Engine
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.probe_helper import Helper
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Control

PACKAGE = probe_helper.__name__.rsplit(".", 4)[0]
ALL = """
importlib.import_module(sys.argv[1])
for name in sys.argv[4:]:
    importlib.import_module(sys.argv[2]).proxy_class(name)
print(json.dumps([name for name in sys.modules if name.startswith(sys.argv[3])]))
"""


def test_what_is_sent_is_what_the_helper_needs() -> None:
    """In an interpreter that has nothing but the standard library."""
    code = json.dumps(probe_helper.sources()).encode()
    command = [sys.executable, "-I", "-S", "-c", probe_helper.LOADER + ALL]
    done = subprocess.run(
        [*command, probe_helper._MAIN, f"{PACKAGE}._s2ds.proxies.loader", f"{PACKAGE}.", *PROXIES],
        input=b"%d\n" % len(code) + code,
        capture_output=True,
        check=False,
    )
    assert not done.returncode, done.stderr.decode()
    sent = set(probe_helper.sources())
    packages = {name.rpartition(".")[0] for name in sent}
    loaded = set(json.loads(done.stdout))
    assert sent <= loaded <= sent | packages | {f"{PACKAGE}._s2ds", f"{PACKAGE}._s2ds.runtimes"}
    assert {f"{PACKAGE}._s2ds.proxies.{name}" for name in PROXIES} <= loaded


def frame(data: bytes, stream: int = 1) -> bytes:
    """Return what a container writes as its engine sends it."""
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


def says(*lines: str) -> Callable[[socket.socket], None]:
    """Return what writes lines."""
    return lambda connection: connection.sendall(b"".join(frame(line.encode() + b"\n") for line in lines))


def _endless(connection: socket.socket) -> None:
    while True:
        connection.sendall(frame(b"x" * 65536))


def _dribble(connection: socket.socket) -> None:
    while True:
        connection.sendall(frame(b" "))
        time.sleep(0.02)


WAYS: Mapping[str, Callable[[socket.socket], None]] = {
    "log of a text": says('{"log": "x"}'),
    "log without end": says('{"log": 1000000000}'),
    "another signal": says('{"signal": 9}'),
    "truth for a number": says('{"signal": true}'),
    "a list": says("[]"),
    "a number": says("7"),
    "an answer of another kind": says('{"answer": 1, "notes": {}}'),
    "notes of another kind": says('{"answer": null, "notes": {"a": 1}}'),
    "an error with escapes": says(json.dumps({"error": "\x1b[2J\nboom"})),
    "deep": says("[" * 200000),
    "no JSON": says("x"),
    "no frame": lambda connection: connection.sendall(b"\xff" * 64),
    "its errors": lambda connection: connection.sendall(frame(b"Traceback: boom\n", 2)),
    "the end": lambda connection: connection.shutdown(socket.SHUT_WR),
    "endless": _endless,
    "dribble": _dribble,
    "hang": lambda connection: time.sleep(60),
    "questions without end": lambda connection: connection.sendall(frame(b'{"log": 1}\n') * 100000),
}


class _Engine:
    """As much of an engine as a helper needs; what speaks in the helper's place is a thread."""

    address = "unix:///test.sock"

    def __init__(self, way: Callable[[socket.socket], None]) -> None:
        self.removed: list[str] = []
        self._way = way
        self._here, self._there = socket.socketpair()

    def create(self, name: str | None, **options: Any) -> str:
        return "1"

    def attach(self, name: str) -> socket.socket:
        return self._here

    def start(self, name: str) -> None:
        for action in (self._read, self._speak):
            threading.Thread(target=action, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while self._there.recv(65536):
                pass

    def _speak(self) -> None:
        with contextlib.suppress(OSError):
            self._way(self._there)

    def remove_container(self, name: str) -> None:
        self.removed.append(name)
        self._here.close()


class _Control(Control):
    """Notes the signals."""

    def __init__(self) -> None:
        self.signals: list[int] = []

    def signal(self, number: int) -> None:
        self.signals.append(number)

    def log(self, lines: int = 10) -> list[str]:
        return ["x" * 5000]


@pytest.mark.parametrize("way", sorted(WAYS))
def test_what_speaks_in_its_place(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_helper, "_ANSWER_SECONDS", {"probe": 1.0, "reload": 1.0})
    for operation in ("probe", "reload"):
        control = _Control()
        began = time.monotonic()
        asked = Helper(cast(Engine, _Engine(WAYS[way])), ("1", "2"), {})
        with pytest.raises(S2DSException) as refused:
            asked.ask(operation, "haproxy", "/x", {}, control if operation == "reload" else None)
        assert str(refused.value).isprintable() and len(str(refused.value)) < 1000
        assert time.monotonic() - began < 5
        assert not control.signals
        asked.end()


def test_an_answer_after_a_signal_and_a_look_at_the_log() -> None:
    lines = ['{"signal": 12}', '{"log": 5}', '{"answer": {"since": 1}, "notes": {"counters.json": "{}"}}']
    control = _Control()
    asked = Helper(cast(Engine, _Engine(says(*lines))), ("1", "2"), {})
    assert asked.ask("reload", "haproxy", "/x", {}, control) == ({"since": 1}, {"counters.json": "{}"})
    assert control.signals == [12]
    asked.end()
