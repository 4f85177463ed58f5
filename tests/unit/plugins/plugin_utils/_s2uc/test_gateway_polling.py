# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The event source by its interface: its options, and gateways that answer, do not, or answer anything."""

from __future__ import annotations

import asyncio
import json
import runpy
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.gateway_polling import (
    SECONDS,
    read_settings,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.gateway_report import ReportError, read_report
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_events import GatewayEvents, Limits
from ansible_collections.scistream.gateway.tests.unit.plugins.module_utils._s2cs.service.samples import dead, info

SOURCE = Path(__file__).resolve().parents[5] / "extensions/eda/plugins/event_source/stream_events.py"
REPORT = json.dumps(info(dead(0)))
NAME = info()["gateway"]["name"]


def events(number: int, **options: Any) -> list[dict[str, Any]]:
    """Return the first events of the source, run as ansible-rulebook runs it."""
    main = runpy.run_path(str(SOURCE))["main"]

    async def run() -> list[dict[str, Any]]:
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        task = asyncio.ensure_future(main(queue, {"eda_feedback_queue": queue, **options}))
        try:
            return [await asyncio.wait_for(queue.get(), 30) for _unused in range(number)]
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    return asyncio.run(run())


def python(code: str, *arguments: str) -> dict[str, Any]:
    """Return a gateway that is asked by a program."""
    return {"command": [sys.executable, "-c", f"import os, sys, time; {code}", *arguments]}


@pytest.fixture
def address() -> Iterator[str]:
    """Address of a server that sends the contents of its path, and then waits."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _peer = server.accept()
                    held.append(connection)
                    request = b""
                    # All of it: the end of a connection with unread bytes is a reset.
                    while b"\r\n\r\n" not in request:
                        request += connection.recv(4096)
                    path = request.decode().split()[1].split("/")
                    kind = path[1]
                    body = {"good": REPORT, "bad": "<html>"}.get(kind, "")
                    status = "500 Broken" if kind == "broken" else "200 OK"
                    connection.sendall(f"HTTP/1.0 {status}\r\nContent-Length: {len(body) or 9}\r\n\r\n{body}".encode())
                    if body or kind == "broken":
                        connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        for connection in held:
            connection.close()


def test_a_command_and_an_address_report_the_same(address: str) -> None:
    for gateway in (python("print(sys.argv[1])", REPORT), {"url": f"{address}/good/"}):
        (event,) = events(1, gateways=[gateway])
        assert (event["type"], event["gateway"], event["uid"]) == ("down", NAME, dead(0)["uid"])
    (event,) = events(1, gateways=[{"name": "gw-x", **gateway}])
    assert event["gateway"] == "gw-x"


def test_gateways_that_do_not_report(address: str, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    stuck = python("open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(1000)", str(pid))
    gateways = {
        "stuck": (stuck, "no answer within 5 s"),
        "flood": (python("[print('x' * 1000000) for _ in range(100)]"), "more than"),
        "failed": (python("sys.exit('no such host')"), "exited with status 1: no such host"),
        "missing": ({"command": ["/nonexistent/s2cs"]}, "cannot be run"),
        "html": ({"url": f"{address}/bad"}, "not JSON: <html>"),
        "broken": ({"url": f"{address}/broken"}, "answers 500"),
        "slow": ({"url": f"{address}/slow"}, "answer"),
        "closed": ({"url": "http://127.0.0.1:9"}, "does not answer"),
        "refuses": (python("print(sys.argv[1]); sys.exit(1)", '{"failed": true, "msg": "no store"}'), "no store"),
        "good": (python("print(sys.argv[1])", REPORT), ""),
    }
    given = [{"name": name, **gateway} for name, (gateway, _words) in gateways.items()]
    found = {event["gateway"]: event for event in events(len(gateways), gateways=given, timeout=5)}
    assert found.pop("good")["type"] == "down"
    for name, event in found.items():
        assert event["type"] == "unreachable" and gateways[name][1] in event["reason"], event
    # It was killed.
    assert not Path("/proc", pid.read_text()).exists()


SESSION = b'{"uid": "u", "role": "producer", "state": "streaming", "health": "ok", "running": true%s}'
DOCUMENT = b'{"gateway": {"name": "gw-x"}, "time": 1.0, "sessions": [%s]}'


@pytest.mark.parametrize(
    "answer",
    [
        b"[" * 100_000,
        b'{"a": "' + b"x" * (17 << 20),
        b"\xff\xfe",
        b"7",
        b'{"failed": {"a": [1]}}',
        b'{"gateway": 7, "sessions": []}',
        DOCUMENT % b'"x"',
        DOCUMENT.replace(b"1.0", b"1" * 4000) % b"",
        DOCUMENT.replace(b"1.0", b"1" * 5000) % b"",
        DOCUMENT % (SESSION % b', "expires": -1e308, "restarts": 1e999'),
        DOCUMENT % (SESSION % b', "connections": {"open": -1}, "transferred": [7], "last_byte": 1' + b"0" * 400),
        DOCUMENT % (SESSION % b', "healthy": "no", "last_byte": {"a": 1}, "name": ["x"], "reason": "a\\u001b[2Jb\\nc"'),
        DOCUMENT % (SESSION % b', "counters": 7, "expires": "tomorrow", "labels": 3').replace(b'"u"', b'["u"]'),
    ],
)
def test_reports_of_hostile_gateways(answer: bytes) -> None:
    seen = GatewayEvents("gw", Limits())
    with suppress(ReportError):
        for _time in range(2):
            found = seen.report(read_report(answer, "", 1.0))
            assert all(str(value).isprintable() for event in found for value in event.values())
    assert {event["type"] for event in seen.report(read_report(DOCUMENT % b"", "", 2.0))} <= {"released", "expired"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gateways": None}, "gateways: null is not allowed: must be a list"),
        ({"gateways": []}, r"gateways: \[\] is not allowed"),
        ({"gateways": [{"url": "file:///etc/passwd"}]}, r"gateways\[0\]\.url"),
        ({"gateways": [{"url": "http://gw:0x/"}]}, r"gateways\[0\]\.url"),
        ({"gateways": [{"url": "http://me:secret@gw/"}]}, r"gateways\[0\]\.url"),
        ({"gateways": [{"url": "http://gw/", "command": ["s2cs"]}]}, "must have either a url or a command"),
        ({"gateways": [{"name": "gw"}]}, "must have either a url or a command"),
        ({"gateways": ["http://gw/"]}, r"gateways\[0\]: .* must be a dictionary"),
        ({"gateways": [{"command": "s2cs info --json"}]}, r"gateways\[0\]\.command"),
        ({"gateways": [{"command": ["s2cs"], "host": "gw"}]}, "must be a dictionary with name, url or command"),
        ({"interval": 0}, "interval: 0 is not allowed"),
        ({"stall": "long"}, "stall: "),
        ({"stalls": 1}, "the options are gateways, interval"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueRefused, match=words):
        read_settings({"gateways": [{"command": ["s2cs"]}], **options})


def test_the_source_finds_its_collection() -> None:
    code = "import asyncio, runpy, sys; asyncio.run(runpy.run_path(sys.argv[1])['main'](None, {}))"
    done = subprocess.run([sys.executable, "-I", "-c", code, SOURCE], capture_output=True, text=True, check=False)
    assert "ValueRefused: gateways: null is not allowed" in done.stderr


def test_addresses() -> None:
    for given, asked in (
        ("http://gw:9464", "http://gw:9464/status.json"),
        ("https://gw/site/", "https://gw/site/status.json"),
        ("http://[2001:db8::1]:9464/x.json", "http://[2001:db8::1]:9464/x.json"),
    ):
        (gateway,) = read_settings({"gateways": [{"url": given}]}).gateways
        assert gateway.url == asked


def test_the_documentation_has_the_options() -> None:
    module = runpy.run_path(str(SOURCE))
    options = yaml.safe_load(module["DOCUMENTATION"])["options"]
    assert {name: row["default"] for name, row in options.items() if name != "gateways"} == {
        name: default for name, (default, _low, _high) in SECONDS.items()
    }
    (example,) = yaml.safe_load(module["EXAMPLES"])
    assert len(read_settings(example["scistream.gateway.stream_events"]).gateways) == 2
