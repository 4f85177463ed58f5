# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests that the service refuses, callers that never end, and what they cost it and others."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION
from ansible_collections.scistream.gateway.tests.integration.s2cs.identity import ANN
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import (
    eventually,
)
from ansible_collections.scistream.gateway.tests.integration.s2cs.service import Service

UID = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"
BASE = {"protocol": 1, "version": "0.2.0", "action": "info", "arguments": {}}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to call as several users")
def test_memory_of_the_frontend(served: S2CS, service: Service) -> None:
    """Users who send much and read slowly: the memory is limited, and others are served."""
    request = json.dumps({**BASE, "version": VERSION, "arguments": {"labels": {"a": "x" * 60}}})
    large = request.encode()[:-1] + b" " * (3 << 20) + b"}"
    users = ("bin", "daemon", "games", "mail", "news", "uucp", "proxy", "backup", "irc", "www-data")
    before = _memory(service.frontend.pid)
    with contextlib.ExitStack() as stack:
        for user in users:
            receive, send = os.pipe()
            child = os.fork()
            if not child:
                os.setuid(pwd.getpwnam(user).pw_uid)
                waiting = []
                for number in range(8):
                    connection = socket.socket(socket.AF_UNIX)
                    connection.settimeout(2)
                    with contextlib.suppress(OSError):
                        connection.connect(service.socket)
                        # Some requests lack their ends, and no answer is read.
                        connection.sendall(large[:-1] if number % 2 else large)
                        if not number % 2:
                            connection.shutdown(socket.SHUT_WR)
                    waiting.append(connection)
                os.write(send, b"x")
                time.sleep(60)
                os._exit(0)
            os.close(send)
            stack.callback(os.close, receive)
            stack.callback(os.waitpid, child, 0)
            stack.callback(os.kill, child, signal.SIGKILL)
            os.read(receive, 1)
            for other in (ANN, ""):
                assert "result" in service.call("info", {}, user=other)
            # 48 MiB for all, and what reading one of them takes.
            assert _memory(service.frontend.pid) < before + (96 << 20)
    # All of them have hung up.
    eventually("the end of all calls", lambda: len(os.listdir(f"/proc/{service.frontend.pid}/fd")) < 12)
    assert "result" in service.call("info", {}, user="bin")


def _memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_caller_that_hangs_up(served: S2CS, service: Service) -> None:
    """Before its request is forwarded nothing is done, and its memory is free at once."""

    def count() -> int:
        return len(os.listdir(f"/proc/{service.frontend.pid}/fd"))

    # A call ends when the frontend has closed its connections.
    served.done("info")
    idle = count()
    # More than the buffers of the kernel hold back.
    sessions = [{"uid": own_uid(), "secret": "x" * 500} for _unused in range(1000)]
    request = {**BASE, "version": VERSION, "action": "release", "arguments": {"sessions": sessions}}
    service.backend.send_signal(signal.SIGSTOP)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(service.socket)
            connection.sendall(json.dumps(request).encode())
            connection.shutdown(socket.SHUT_WR)
            # The connections of the caller and with the backend.
            eventually("the call", lambda: count() == idle + 2)
        eventually("its end", lambda: count() == idle)
    finally:
        service.backend.send_signal(signal.SIGCONT)
    assert served.done("info")["sessions"] == []
    assert "release" not in service.log.read_text()


REFUSED: list[tuple[bytes, str, str]] = [
    (b"", "", ""),
    (b"{", "bad_request", "not valid JSON"),
    (b"\xff\xfe", "bad_request", "not valid JSON"),
    (b"[1]", "bad_request", "not a JSON object"),
    (b"[" * 50_000, "bad_request", "nested too deeply"),
    (b"[" * 300_000, "too_large", "values"),
    (b'{"a": NaN}', "bad_request", "NaN"),
    (b'{"a": ' + b"9" * 5000 + b"}", "bad_request", "digits"),
    (b'{"a": 1, "a": 2}', "bad_request", "a key twice"),
    (b" " * (4 << 20) + b"{}", "too_large", "4194304 bytes"),
    (json.dumps({**BASE, "version": "99.1.0"}).encode(), "version", "99.1.0"),
    (json.dumps({**BASE, "protocol": 2}).encode(), "version", "upgrade"),
    (json.dumps({**BASE, "version": 1}).encode(), "bad_request", "version"),
    (json.dumps({**BASE, "owner": "root"}).encode(), "bad_request", "owner"),
    (json.dumps({**BASE, "action": "policy"}).encode(), "bad_request", "policy"),
    (json.dumps({**BASE, "action": ["info"]}).encode(), "bad_request", "action"),
    (json.dumps({**BASE, "check": 1}).encode(), "bad_request", "check"),
    (json.dumps({**BASE, "config": "/tmp/mine.json"}).encode(), "config", "uses"),
    (json.dumps({**BASE, "arguments": {"config": "/tmp/mine.json"}}).encode(), "bad_request", "config"),
    (json.dumps({**BASE, "arguments": [1]}).encode(), "bad_request", "arguments"),
    (json.dumps({**BASE, "arguments": {"uid": "\ud800"}}).encode(), "bad_request", "uid"),
    (json.dumps({**BASE, "arguments": {"uid": {"a": 1}}}).encode(), "bad_request", "uid"),
    (json.dumps({**BASE, "arguments": {"role": "both"}}).encode(), "bad_request", "producer"),
]


def test_refused_requests(served: S2CS, service: Service) -> None:
    for data, code, word in REFUSED:
        if not code:
            continue
        error = service.send(data)["error"]
        assert error["code"] == code and word in error["msg"], error
        assert error["msg"].isprintable() and len(error["msg"]) < 500
    answer = service.call("release", {"uid": own_uid(), "secret": "the secret" * 10000})
    assert answer["error"]["code"] == "bad_request" and "the secret" not in answer["error"]["msg"]
    assert served.done("info")["sessions"] == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"uid": "../../etc/passwd"}, "uid"),
        ({"uid": "x" * 60000}, "uid"),
        ({"sessions": [{"role": "producer"}]}, "sessions[0].uid"),
        ({"sessions": {}}, "sessions"),
        ({"sessions": [{"uid": UID}] * 1025}, "sessions"),
        ({"sessions": [1]}, "sessions[0]"),
        ({"sessions": [], "uid": "a"}, "uid"),
        ({}, "uid"),
    ],
)
def test_refused_arguments(served: S2CS, arguments: dict[str, Any], word: str) -> None:
    result = served.call("release", **arguments)
    assert result["failed"] and result["msg"].startswith(word), result


@pytest.mark.parametrize(
    ("option", "values", "allowed"),
    [
        ("clients", [f"10.0.{number // 256}.{number % 256}" for number in range(257)], "at most 256"),
        ("remote_listeners", [f"10.0.0.1:{number}" for number in range(1, 6001)], "at most"),
    ],
)
def test_long_lists(served: S2CS, option: str, values: list[str], allowed: str) -> None:
    given: dict[str, Any] = {"uid": UID, "role": "producer", option: values}
    result = served.call("update", **given)
    assert result["failed"] and result["msg"].startswith(f"{option}: ") and allowed in result["msg"], result


def test_request_that_never_ends(served: S2CS, service: Service) -> None:
    """100 MB, and one that comes byte by byte: both end, and others are served meanwhile."""
    endless = socket.socket(socket.AF_UNIX)
    slow = socket.socket(socket.AF_UNIX)
    with endless, slow:
        slow.connect(service.socket)
        slow.sendall(b"{")
        begun = time.monotonic()
        endless.connect(service.socket)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _unused in range(100):
                endless.sendall(b" " * (1 << 20))
        answer = json.loads(endless.makefile().read())
        assert answer["error"]["code"] == "too_large"
        assert served.done("info")["sessions"] == []
        while True:
            with contextlib.suppress(BrokenPipeError):
                slow.sendall(b" ")
            slow.settimeout(0.2)
            try:
                data = slow.recv(4096)
            except TimeoutError:
                continue
            break
        assert json.loads(data)["error"]["code"] == "bad_request" and "incomplete" in data.decode()
        assert time.monotonic() - begun > 5
