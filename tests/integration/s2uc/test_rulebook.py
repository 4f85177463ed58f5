# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The event source and the example rulebook with the real ansible-rulebook: a stream that dies is opened again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import parse_endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.info_result import gather
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.monitor import Monitor
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.web import StatusServer
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import kill, processes
from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import PLAYBOOK, Site, ask

RULEBOOK = os.environ.get("ANSIBLE_RULEBOOK") or shutil.which("ansible-rulebook")
SECONDS = 150.0
# The search path of this process, which the rulebook does not have.
MODULES = f"PYTHONPATH={os.pathsep.join(sys.path)}"
# What "s2cs info --json" prints, of a gateway that has no service.
INFO = f"import json, sys; from {gather.__module__} import gather; print(json.dumps(gather(sys.argv[1], {{}})))"


@contextlib.contextmanager
def serving(server: Any) -> Iterator[None]:
    """Serve in a thread."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Chat(HTTPServer):
    """Where the rulebook posts what happens."""

    def __init__(self) -> None:
        self.said: list[str] = []
        super().__init__(("127.0.0.1", 0), Hook)


class Hook(BaseHTTPRequestHandler):
    """Takes what is posted."""

    def do_POST(self) -> None:
        assert isinstance(self.server, Chat)
        self.server.said.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""


def config(site: Site, gateway: str) -> str:
    """Return the path of the policy of a gateway."""
    return str(site.directory / gateway / "etc/scistream/s2cs.json")


@contextlib.contextmanager
def rulebook(site: Site, inventory: Path, **variables: Any) -> Iterator[Callable[[], str]]:
    """Run the example rulebook; yields what returns its output, and fails if it has ended."""
    assert RULEBOOK, "there is no ansible-rulebook: install requirements/eda.txt, or name it in ANSIBLE_RULEBOOK"
    output = site.directory / "rulebook.log"
    # As a user has it: nothing but the installed collection, and programs in the search path.
    environment = {key: value for key, value in site.environment().items() if key != "PYTHONPATH"}
    environment["PATH"] = os.pathsep.join([str(Path(PLAYBOOK).parent), environment["PATH"]])
    # What it was doing when it ended stays there.
    scratch = site.directory / "tmp"
    scratch.mkdir(exist_ok=True)
    environment["TMPDIR"] = str(scratch)
    values = site.write("rulebook.json", variables)
    command = [RULEBOOK, "-i", str(inventory), "-r", "scistream.gateway.streams", "--vars", str(values)]
    with output.open("w") as file:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=site.directory,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )

    def said() -> str:
        assert process.poll() is None, output.read_text()
        return output.read_text()

    try:
        yield said
        said()
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        # With the playbook that it runs, if there is one.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait(what: str, condition: Callable[[], bool], output: Callable[[], str]) -> None:
    """Wait until something holds, as long as the rulebook runs."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"never: {what}\n{output()}"
        output()
        time.sleep(0.2)


def test_a_stream_that_dies_is_opened_again_and_somebody_is_told(site: Site, producer: int) -> None:
    hosts = site.hosts("gw-a", "gw-b")
    hosts["gateways"]["vars"] = {"scistream_streams": [site.stream("tomography", producer)]}
    hosts["ungrouped"] = {"hosts": {"localhost": {"ansible_connection": "local"}}}
    inventory = site.write("rulebook.yml", hosts)
    listener = site.listener(site.ok("streams", inventory=inventory))
    asked: list[str] = []

    def info() -> dict[str, Any]:
        asked.append("info")
        return gather(config(site, "gw-a"), {})

    page = site.directory / "page.html"
    page.write_text("")
    server = StatusServer(parse_endpoint("address", "127.0.0.1:0", 0), Monitor(info), str(page))
    chat = Chat()
    gateways: list[dict[str, Any]] = [
        {"url": f"http://127.0.0.1:{server.server_address[1]}/"},
        {"name": "the other one", "command": ["env", MODULES, sys.executable, "-c", INFO, config(site, "gw-b")]},
    ]
    webhook = f"http://127.0.0.1:{chat.server_address[1]}/"
    with serving(server), serving(chat), rulebook(site, inventory, gateways=gateways, webhook=webhook) as output:
        wait("both rules have seen the stream", lambda: len(asked) >= 2, output)
        # With its supervisor, so that nothing but the rulebook starts it again.
        found = processes(str(site.session("gw-a", "producer")))
        for pid in sorted(found):
            kill(pid)
        assert found
        # Each rule asks for itself, so the one that posts may come too late to see that the stream is down.
        wait("somebody is told", lambda: any("tomography restarted" in text for text in chat.said), output)
        assert ask(listener) == b"PHOTONS"
        assert {text.partition(":")[0] for text in chat.said} == {"gw-a"}, chat.said
