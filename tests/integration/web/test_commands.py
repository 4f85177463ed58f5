# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands that display sessions, with a real service, a real stream, and the user of the web server."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import web as web_server
from ansible_collections.scistream.gateway.tests.integration.proxies.certificates import of_gateway
from ansible_collections.scistream.gateway.tests.integration.s2cs.identity import ANN, OPERATOR
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_address, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, eventually, exchange
from ansible_collections.scistream.gateway.tests.integration.s2cs.service import PYTHON, Service
from ansible_collections.scistream.gateway.tests.integration.web.conftest import page

# The user of the web server, if the tests can start it as another user.
WEB_USER = OPERATOR if os.geteuid() == 0 else ""
# Memory of an idle part of the service, in kilobytes.
MAX_MEMORY = 24000


# A web server of a gateway whose policy changes.
CHANGES = """
import functools, sys
from {package} import display_commands, web
addresses = iter({addresses})
web.serve = functools.partial(web.serve, interval=0.1)
call = lambda: {{"sessions": [], "gateway": {{"status_address": next(addresses)}}}}
display_commands.run_web(call, None, sys.argv[1])
"""


@pytest.fixture
def served(s2cs: S2CS) -> S2CS:
    s2cs.serve(*(["--viewer", WEB_USER] if WEB_USER else []))
    return s2cs


@pytest.fixture
def service(served: S2CS) -> Service:
    assert served.service is not None
    return served.service


@pytest.fixture
def session(served: S2CS, application: Application) -> dict[str, Any]:
    """A session that has transferred bytes."""
    found = served.stream(application.endpoint, labels={"stream": "tomography"})
    assert exchange(found["listeners"][0]) == b"one:hello"
    return found


@pytest.fixture
def web(service: Service) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A web server with the address in the policy."""
    (service.programs / "status.html").write_text(page())
    address = f"{own_address()}:5900"
    policy = json.loads(service.config.read_text())
    service.config.write_text(json.dumps({**policy, "status_address": address}))
    user: dict[str, Any] = {}
    if WEB_USER:
        user = {"user": WEB_USER, "group": pwd.getpwnam(WEB_USER).pw_gid, "extra_groups": []}
    process = subprocess.Popen(
        [PYTHON, "-IS", service.program, "web", "--socket", service.socket],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **user,
    )
    eventually("the web server responds", lambda: fetch(address, "/metrics"))
    yield address, process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=30)[0]
    assert (process.returncode, output) == (0, b"")


def fetch(address: str, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=30) as response:
            text: str = response.read().decode()
            return text
    except OSError:
        return ""


def test_info_is_a_table(service: Service, session: dict[str, Any]) -> None:
    done = service.run("info")
    assert done.returncode == 0
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith("gw-test: 1 session, 1 of ")
    assert lines[1].split()[:3] == ["STREAM", "ROLE", "STATE"]
    assert lines[2].split()[:4] == ["tomography", "producer", "streaming", "ok"]
    assert lines[2].endswith(session["uid"])


@pytest.mark.parametrize("command", ["info", "metrics"])
def test_readers_may_exit_early(service: Service, command: str) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [PYTHON, "-IS", service.program, command, "--socket", service.socket],
        check=False,
        stdout=write,
        stderr=subprocess.PIPE,
        cwd="/",
        timeout=60,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_top_needs_a_terminal(service: Service) -> None:
    done = service.run("top")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"or s2cs info" in done.stderr


def test_metrics_of_a_real_session(service: Service, session: dict[str, Any]) -> None:
    done = service.run("metrics")
    assert (done.returncode, done.stderr) == (0, b"")
    labels = f'uid="{session["uid"]}",role="producer"'
    lines = done.stdout.decode().splitlines()
    for line in (
        "scistream_up 1",
        f'scistream_session_bytes_total{{{labels},direction="to_producer"}} 5',
        f'scistream_session_bytes_total{{{labels},direction="to_consumer"}} 9',
        f"scistream_session_connections_total{{{labels}}} 1",
        f'scistream_session_state{{{labels},state="streaming"}} 1',
    ):
        assert line in lines
    assert re.search(r'^scistream_session_info\{.*stream="tomography".*\} 1$', done.stdout.decode(), re.MULTILINE)


def test_metrics_of_real_certificates(served: S2CS, service: Service) -> None:
    uid = own_uid()
    options: dict[str, Any] = {"uid": uid, "role": "producer", "secret": SECRET}
    served.done("request", **options)
    served.done("hello", **options, producer_listeners=["127.0.0.1:7000"], **of_gateway("producer", uid).hello)
    name = "scistream_session_certificate_expiry_timestamp_seconds"
    line = f'^{name}\\{{uid="{uid}",role="producer",certificate="own"\\}} ([0-9]+)$'
    found = re.search(line, service.run("metrics").stdout.decode(), re.MULTILINE)
    assert found and int(found[1]) > time.time()


def test_metrics_in_a_file(service: Service, session: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "scistream.prom"
    path.write_text("old")
    assert service.run("metrics", "--output", str(path)).returncode == 0
    assert "scistream_up 1" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.glob("*.prom*")) == [path]
    done = service.run("metrics", "--output", str(tmp_path / "missing/scistream.prom"))
    assert done.returncode == 1 and b"missing" in done.stderr


def test_metrics_in_a_file_without_a_service(s2cs: S2CS, tmp_path: Path) -> None:
    s2cs.serve()
    assert s2cs.service is not None
    for process in (s2cs.service.frontend, s2cs.service.backend):
        process.send_signal(signal.SIGTERM)
        process.wait(100)
    done = s2cs.service.run("metrics", "--output", str(tmp_path / "scistream.prom"))
    assert done.returncode == 1 and b"no service answers" in done.stderr
    assert (tmp_path / "scistream.prom").read_text().splitlines()[-1] == "scistream_up 0"
    s2cs.service.start_backend()
    s2cs.service.start_frontend()


def test_web(service: Service, web: tuple[str, subprocess.Popen[bytes]], session: dict[str, Any]) -> None:
    address, _process = web
    eventually("the session is shown", lambda: "tomography" in fetch(address, "/status.json"))
    (shown,) = json.loads(fetch(address, "/status.json"))["sessions"]
    assert (shown["uid"], shown["health"], shown["transferred"]["to_consumer"]) == (session["uid"], "ok", 9)
    assert "scistream_up 1" in fetch(address, "/metrics")
    assert "<!DOCTYPE html>" in fetch(address, "/")


def test_web_needs_little_memory(web: tuple[str, subprocess.Popen[bytes]]) -> None:
    address, process = web
    for path in ("/", "/metrics", "/status.json"):
        assert fetch(address, path)
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    assert found and int(found[1]) < MAX_MEMORY


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to call as several users")
def test_web_user_may_only_view(served: S2CS, service: Service, session: dict[str, Any]) -> None:
    assert service.result("info", {}, user=WEB_USER)["sessions"]
    for action in ("release", "drop"):
        refused = service.result(action, {"uid": session["uid"]}, user=WEB_USER)
        assert refused["failed"], action
    assert service.result("info", {}, user=ANN)["sessions"]


def test_web_without_an_address(service: Service) -> None:
    done = service.run("web")
    assert done.returncode == 1
    assert b"the policy has no status_address: set s2cs_status_address" in done.stderr


def test_web_without_a_page(service: Service) -> None:
    done = service.run("web", "--listen", f"{own_address()}:5900")
    assert done.returncode == 1
    assert b"status.html" in done.stderr and b"No such file" in done.stderr


def test_web_address_in_use(service: Service, web: tuple[str, subprocess.Popen[bytes]]) -> None:
    done = service.run("web", "--listen", web[0])
    assert done.returncode == 1
    assert web[0].encode() in done.stderr and b"Address already in use" in done.stderr


def test_web_exits_if_its_address_changes(tmp_path: Path) -> None:
    (tmp_path / "status.html").write_text(page())
    address = f"{own_address()}:5900"
    program = CHANGES.format(package=web_server.__package__, addresses=[address] * 3 + ["192.0.2.1:5900"] * 9)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "status.html")], check=False, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_web_stays_without_a_service(service: Service, web: tuple[str, subprocess.Popen[bytes]]) -> None:
    address, _process = web
    service.frontend.send_signal(signal.SIGTERM)
    service.frontend.wait(100)
    eventually("the service is down", lambda: "scistream_up 0" in fetch(address, "/metrics"))
    assert "no service answers" in json.loads(fetch(address, "/status.json"))["error"]
    service.start_frontend()
    eventually("the service is up", lambda: "scistream_up 1" in fetch(address, "/metrics"))
