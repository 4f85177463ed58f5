# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pattern through a path to the temporary endpoint, and paths that do not carry it."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Callable, Iterator

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import probe_endpoint, stream_probe
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.stream_probe import (
    ProbeFailedError,
    connect_times,
    measure,
)

SECONDS = 60


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """The directory of a session."""
    directory = tmp_path / "consumer-x"
    directory.mkdir()
    return directory


@pytest.fixture
def endpoint(session: Path) -> Iterator[Endpoint]:
    """A temporary endpoint."""
    started = probe_endpoint.start(str(session), SECONDS)
    yield started.endpoint
    started.stop()


def wait_for_end(pid: int) -> bool:
    """Return whether a child ends by itself."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(0.05)
    return False


def test_unchanged(endpoint: Endpoint) -> None:
    found = measure(endpoint, endpoint)
    assert (found["pattern_bytes"], found["round_trips"]) == (1 << 20, 200)
    assert 0 < found["round_trip_median"] <= found["round_trip_p99"]
    assert "to_producer" not in found
    times = connect_times(endpoint, None)
    assert len(times) == 5 and all(seconds > 0 for seconds in times)


def test_throughput(endpoint: Endpoint) -> None:
    found = measure(endpoint, endpoint, 1)
    # No machine is as slow as that.
    assert min(found["to_producer"], found["to_consumer"]) > 1e6
    limits = found["limited_by"]
    assert limits["leg"] in ("consumer_gateway", "network", "producer_gateway") and 0 < limits["busy"] <= 1


def test_ends_with_the_session(session: Path) -> None:
    started = probe_endpoint.start(str(session), SECONDS, "::1")
    assert started.endpoint.host == "::1"
    measure(started.endpoint, started.endpoint)
    session.rmdir()
    assert wait_for_end(started.pid)


def test_ends_when_its_time_is_over(session: Path) -> None:
    assert wait_for_end(probe_endpoint.start(str(session), 1).pid)


def test_has_no_rights(session: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root has rights to give up")
    started = probe_endpoint.start(str(session), SECONDS)
    try:
        # It answers only when it has given them up.
        measure(started.endpoint, started.endpoint)
        text = Path(f"/proc/{started.pid}/status").read_text()
        assert "Uid:\t65534\t65534\t65534\t65534" in text and "Gid:\t65534\t65534\t65534\t65534" in text
    finally:
        started.stop()


def test_a_session_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(S2DSException, match="cannot be started: No such file or directory"):
        probe_endpoint.start(str(tmp_path / "missing"), SECONDS)


def test_it_serves_nobody_else(endpoint: Endpoint) -> None:
    with socket.create_connection((endpoint.host, endpoint.port), 5) as other:
        other.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with suppress(ConnectionResetError):
            assert other.recv(100) == b""


@pytest.fixture
def through(endpoint: Endpoint) -> Iterator[Callable[..., Endpoint]]:
    """Make a path to the endpoint that does something with what returns; None ends the connection."""
    servers: list[socket.socket] = []

    def pump(source: socket.socket, sink: socket.socket, change: Callable[[bytes, int], bytes | None]) -> None:
        at = 0
        with suppress(OSError):
            while data := source.recv(65536):
                changed = change(data, at)
                if changed is None:
                    break
                sink.sendall(changed)
                at += len(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve(server: socket.socket, change: Callable[[bytes, int], bytes | None]) -> None:
        with suppress(OSError):
            while True:
                client = server.accept()[0]
                target = socket.create_connection((endpoint.host, endpoint.port))
                for ends in ((client, target, lambda data, _at: data), (target, client, change)):
                    threading.Thread(target=pump, args=ends, daemon=True).start()

    def create(change: Callable[[bytes, int], bytes | None]) -> Endpoint:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)
        threading.Thread(target=serve, args=(server, change), daemon=True).start()
        return Endpoint(*server.getsockname())

    yield create
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def test_a_path_with_a_low_rate(
    through: Callable[..., Endpoint], endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(data: bytes, _at: int) -> bytes:
        time.sleep(len(data) / 40_000)
        return data

    monkeypatch.setattr(stream_probe, "_PATTERN_SECONDS", 2.0)
    monkeypatch.setattr(stream_probe, "ROUND_TRIP_SECONDS", 0.1)
    assert measure(through(slowly), endpoint, rate=8000)["pattern_bytes"] == 10_000
    with pytest.raises(ProbeFailedError, match="of 1048576 bytes of the pattern returned"):
        measure(through(slowly), endpoint)


def flip(data: bytes, at: int) -> bytes:
    """Change the byte at 500008, which is byte 500000 of the pattern."""
    index = 500008 - at
    if 0 <= index < len(data):
        data = data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]
    return data


def test_a_path_that_changes_nothing(through: Callable[..., Endpoint], endpoint: Endpoint) -> None:
    assert measure(through(lambda data, _at: data), endpoint)["round_trips"] > 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (flip, "the pattern arrived changed: byte 500000 is different"),
        (lambda data, at: None if at > 300000 else data, "of 1048576 bytes"),
        (lambda data, at: b"" if at > 300000 else data, "of the pattern returned, and then none for"),
        (lambda data, at: None, "accepted the connection and closed it after"),
        (lambda data, at: b"", "accepted the connection, but no answer arrived"),
        (lambda data, at: data[::-1], "leads to something else than the temporary endpoint"),
    ],
    ids=["changed", "truncated", "stuck", "closed", "silent", "elsewhere"],
)
def test_a_path_that_is_broken(
    through: Callable[..., Endpoint],
    endpoint: Endpoint,
    change: Callable[[bytes, int], bytes | None],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_probe, "_SILENCE_SECONDS", 0.5)
    with pytest.raises(ProbeFailedError) as caught:
        measure(through(change), endpoint)
    assert words in str(caught.value)


def test_no_path() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        listener = Endpoint("127.0.0.1", closed.getsockname()[1])
    with pytest.raises(ProbeFailedError, match="cannot be connected to: connection refused"):
        measure(listener, listener)
