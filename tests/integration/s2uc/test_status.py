# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stream_status shows of real streams: in a terminal, live, in a file, and which command repairs what is broken."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
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
    """Run ansible-playbook in a terminal, and press keys when it shows a text; return its status and output."""
    pid, terminal = pty.fork()
    if not pid:
        try:
            os.chdir(site.directory)
            environment = {**site.environment(), "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"}
            environment.pop("COLUMNS", None)
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, WIDTH, 0, 0))
            os.execvpe(PLAYBOOK, [PLAYBOOK, "-i", str(site.inventory), *arguments], environment)
        finally:
            os._exit(127)
    output, deadline = b"", time.monotonic() + 120
    with open(terminal, "r+b", buffering=0) as screen:
        while time.monotonic() < deadline:
            if not select.select([screen], [], [], 1)[0]:
                continue
            try:
                part = screen.read(65536)
            except OSError:
                break
            if not part:
                break
            output += part
            if keys and until.encode() in output:
                screen.write(keys)
                keys = b""
        else:
            os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    text = output.decode(errors="replace").replace("\r\n", "\n")
    print(text)
    return status, text


def test_a_broken_stream_is_repaired_by_the_command_that_is_shown(site: Site, source: int) -> None:
    streams = [site.stream(name, source) for name in ("healthy", "broken")]
    description = site.write("streams.yml", {"streams": streams})
    opened = site.ok("stream_open", streams=streams)
    with receiving(site.listener(opened)):
        deadline = time.monotonic() + 60
        while row(site.ok("stream_status"), "healthy")[5] != "1/1":
            assert time.monotonic() < deadline
        (broken,) = [line for line in opened.message.splitlines() if line.startswith("broken: ")]
        uid = broken.partition("uid ")[2].rstrip(")")
        directory = str(site.directory / f"gw-b/var/lib/scistream/sessions/consumer-{uid}").encode()
        kill_processes(directory)

        status, text = in_terminal(site, "scistream.gateway.stream_status", "-e", f"@{description}")
        assert status == 0 and "2 streams, 1 with problems" in text
        table = text.partition("2 streams, ")[2].partition("ok: [")[0].splitlines()
        assert max(display_width(line) for line in table if not line.startswith("    ansible-playbook")) <= WIDTH
        healthy = next(line for line in table if line.startswith("healthy "))
        assert " streaming " in healthy and " ok " in healthy and "bit/s" in healthy and " 0 bit/s" not in healthy
        assert " ok/down " in next(line for line in table if line.startswith("broken "))
        assert "PROBLEM broken (consumer, gw-b): its data server is not running" in text
        (command,) = [line.strip() for line in table if line.startswith("    ansible-playbook")]
        assert str(site.inventory) in command and command.endswith(f"scistream.gateway.stream_open -e @{description}")

        words = [PLAYBOOK, *shlex.split(command)[1:]]
        subprocess.run(words, env=site.environment(), cwd=site.directory, check=True, timeout=300)
        document = site.directory / "status.json"
        written = site.ok("stream_status", output=str(document))
        assert written.message.endswith(f"Written to {document}")
    found = json.loads(document.read_text())
    assert found["totals"]["problems"] == 0 and [one["name"] for one in found["streams"]] == ["broken", "healthy"]
    healthy_stream = found["streams"][1]
    assert healthy_stream["rates"]["to_consumer"] > 10_000 and healthy_stream["connections"]["open"] == 1
    # The samples of this one call are a curve.
    assert len(healthy_stream["samples"]) == 10 and len(found["history"]["to_consumer"]) >= 9
    assert {side: one["gateway"] for side, one in healthy_stream["sides"].items()} == {
        "producer": "gw-a",
        "consumer": "gw-b",
    }


def kill_processes(mark: bytes) -> None:
    """Kill the processes of a session, as the kernel does when memory runs out."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if mark in Path(f"/proc/{pid}/cmdline").read_bytes() or mark in os.readlink(f"/proc/{pid}/cwd").encode():
                os.kill(int(pid), signal.SIGKILL)


def test_streams_are_followed_until_the_user_ends_it(site: Site, source: int) -> None:
    page = site.directory / "status.html"
    opened = site.ok("stream_open", streams=[site.stream("live", source)])
    with receiving(site.listener(opened)):
        status, text = in_terminal(
            site,
            *("scistream.gateway.stream_status", "-e", "watch=1", "-e", f"output={page}"),
            until="every 1 s",
            keys=b"\x03",
        )
    assert status == 0 and "Ctrl-C or q ends" in text
    assert "Traceback" not in text and "interrupted" not in text and "failed=0" in text
    assert f"Written to {page}" in text.partition("PLAY RECAP")[0]
    # The last one does not wait for another.
    assert '"refresh": 0' in page.read_text() and '"name": "live"' in page.read_text()


def test_without_a_terminal_a_watch_ends_in_time(site: Site) -> None:
    outcome = site.ok("stream_status", watch=1, watch_for="2s")
    assert outcome.output.count("0 streams, no problems") >= 3
    assert "\033" not in outcome.output


def test_a_file_that_cannot_be_written_is_refused_before_anything_else(site: Site) -> None:
    link = site.directory / "link.json"
    link.symlink_to(site.directory / "elsewhere.json")
    outcome = site.play("stream_status", output=str(link), environment={"ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"})
    assert outcome.status != 0 and not outcome.calls("gw-a")
    # Once, and line by line.
    assert outcome.output.count(f"output: {link} is a symbolic link: specify the path of the file itself") == 1
    assert "msg: |-\n        The description of the streams has errors." in outcome.output
