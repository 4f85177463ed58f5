# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stream_status shows of real streams: in a terminal, live and in a file, and which command repairs a stream."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import select
import shlex
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.text import display_width
from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import PLAYBOOK, Site, row

WIDTH = 100


@pytest.fixture
def source(whole_site: Site) -> Iterator[int]:
    """A producer application that sends until its connections are closed; yields its port."""
    with socket.create_server((f"{whole_site.network}.1", 0)) as server:

        def send(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                while True:
                    connection.sendall(b"x" * 16384)
                    time.sleep(0.01)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=send, args=(server.accept()[0],), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@contextlib.contextmanager
def receiving(address: tuple[str, int]) -> Iterator[None]:
    """Receive through a stream."""
    with socket.create_connection(address, 10) as connection:
        assert connection.recv(1)

        def receive() -> None:
            with contextlib.suppress(OSError):
                while connection.recv(1 << 16):
                    pass

        thread = threading.Thread(target=receive, daemon=True)
        thread.start()
        yield
        connection.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def in_terminal(site: Site, *arguments: str, until: str = "", keys: bytes = b"") -> tuple[int, str]:
    """Run ansible-playbook in a terminal, and press keys after it shows a text; return its status and output."""
    environment = {**site.environment(), "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"}
    environment.pop("COLUMNS", None)
    ours, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, WIDTH, 0, 0))
    command = ["setsid", "--ctty", "--wait", PLAYBOOK, "-i", str(site.inventory), *arguments]
    process = subprocess.Popen(command, env=environment, cwd=site.directory, stdin=its, stdout=its, stderr=its)
    os.close(its)
    output = b""
    with open(ours, "r+b", buffering=0) as screen:
        while select.select([screen], [], [], 120)[0]:
            try:
                part = screen.read(65536)
            except OSError:
                break
            output += part
            if keys and until.encode() in output:
                # Ansible reads keys from now on.
                time.sleep(0.3)
                screen.write(keys)
                keys = b""
    text = output.decode(errors="replace").replace("\r\n", "\n")
    print(text)
    return process.wait(60), text


def kill_processes(mark: bytes) -> None:
    """Kill the processes of a session, as the kernel does when memory runs out."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if mark in Path(f"/proc/{pid}/cmdline").read_bytes() or mark in os.readlink(f"/proc/{pid}/cwd").encode():
                os.kill(int(pid), signal.SIGKILL)


def test_streams_in_a_terminal_and_in_files(site: Site, source: int) -> None:
    streams = [site.stream(name, source) for name in ("healthy", "broken")]
    description = site.write("streams.yml", {"streams": streams})
    opened = site.ok("stream_open", streams=streams)
    # Nothing but Ansible's recap follows what was opened.
    assert "healthy: streaming (" in opened.output.partition("TASK [Show the streams]")[2].partition("PLAY RECAP")[0]
    (broken,) = [line for line in opened.message.splitlines() if line.startswith("broken: ")]
    uid = broken.partition("uid ")[2].rstrip(")")
    kill_processes(str(site.directory / f"gw-b/var/lib/scistream/sessions/consumer-{uid}").encode())

    with receiving(site.listener(opened)):
        status, text = in_terminal(site, "scistream.gateway.stream_status", "-e", f"@{description}")
        assert status == 0 and "2 streams, 1 with problems" in text
        table = text.partition("2 streams, ")[2].partition("ok: [")[0].splitlines()
        assert max(display_width(line) for line in table if not line.startswith("    ansible-playbook")) <= WIDTH
        healthy = next(line for line in table if line.startswith("healthy "))
        assert re.search(r" streaming +ok +[0-9.]+ [kM]bit/s ", healthy)
        assert " ok/down " in next(line for line in table if line.startswith("broken "))
        assert "PROBLEM broken (consumer, gw-b): its data server is not running" in text
        (command,) = [line.strip() for line in table if line.startswith("    ansible-playbook")]
        assert str(site.inventory) in command and command.endswith(f"scistream.gateway.stream_open -e @{description}")

        # The command repairs it.
        words = [PLAYBOOK, *shlex.split(command)[1:]]
        subprocess.run(words, env=site.environment(), cwd=site.directory, check=True, timeout=300)
        document = site.directory / "status.json"
        written = site.ok("stream_status", output=str(document), watch=1, watch_for="2s")
        assert written.message.endswith(f"Written to {document}")
        # Without a terminal, the tables follow each other.
        assert written.output.count("2 streams, no problems") >= 3 and "\033" not in written.output
        assert row(written, "broken")[1:3] == ["streaming", "ok"]

        page = site.directory / "status.html"
        arguments = ("scistream.gateway.stream_status", "-e", "watch=1", "-e", f"output={page}")
        status, text = in_terminal(site, *arguments, until="Every 1 s", keys=b"\x03")
    assert status == 0 and "Ctrl-C or q ends" in text and "failed=0" in text
    assert "Traceback" not in text and "interrupted" not in text
    assert f"Written to {page}" in text.partition("PLAY RECAP")[0]
    # The last one does not wait for another.
    assert '"refresh": 0' in page.read_text() and '"name": "healthy"' in page.read_text()

    found = json.loads(document.read_text())
    assert found["totals"]["problems"] == 0 and [one["name"] for one in found["streams"]] == ["broken", "healthy"]
    one = found["streams"][1]
    assert one["rates"]["to_consumer"] > 10_000 and one["connections"]["open"] == 1
    assert {role: side["gateway"] for role, side in one["sides"].items()} == {"producer": "gw-a", "consumer": "gw-b"}
    assert len(one["samples"]) > 1 and max(filter(None, found["history"]["to_consumer"])) > 10_000


def test_a_file_that_cannot_be_written_is_refused_before_anything_else(site: Site) -> None:
    link = site.directory / "link.json"
    link.symlink_to(site.directory / "elsewhere.json")
    outcome = site.play("stream_status", output=str(link), environment={"ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"})
    assert outcome.status != 0 and not outcome.calls("gw-a")
    # Once, and as text.
    assert outcome.output.count(f"output: {link} is a symbolic link: specify the path of the file itself") == 1
    assert "    msg: |-\n        output: " in outcome.output
