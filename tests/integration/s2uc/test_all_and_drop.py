# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything released at once, after a question; connections that are closed without a release; ports that are kept."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import socket
import subprocess
import termios
import time
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2cs.service import serving
from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import PLAYBOOK, Site, ask


def at_a_terminal(site: Site, answer: bytes, *arguments: str) -> tuple[int, str]:
    """Run stream_release at a terminal of its own, and answer the question."""
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    command = [PLAYBOOK, "-i", str(site.inventory), "scistream.gateway.stream_release", *arguments]
    run = subprocess.Popen(
        command,
        env={**site.environment(), "TERM": "dumb"},
        cwd=site.directory,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=take_terminal,
    )
    os.close(theirs)
    said, deadline, answered = "", time.monotonic() + 120, False
    with contextlib.suppress(OSError):
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 1)[0]:
                said += os.read(ours, 10000).decode("utf-8", "replace")
            if not answered and "to cancel:" in said:
                # What was typed before the question is not its answer.
                time.sleep(0.5)
                os.write(ours, answer + b"\r")
                answered = True
    os.close(ours)
    print(said)
    return run.wait(60), said


def test_all(site: Site, producer: int) -> None:
    streams = [site.stream("first", producer), site.stream("second", producer, consumer={"gateway": "gw-c"})]
    opened = site.ok("stream_open", streams=streams)
    everything = ["gw-a/producer", "gw-a/producer", "gw-b/consumer", "gw-c/consumer"]
    would = site.ok("stream_release", "--check", all=True)
    assert would.changed == 3 and would.message.count("would release") == 4
    alone = site.play("stream_release", "-e", "all=true")
    assert alone.status != 0
    assert "Nothing was released. This releases 4 sessions (2 on gw-a, 1 on gw-b, 1 on gw-c) of " in alone.message
    assert "with 0 open connections. Set -e confirm=false" in alone.message
    status, said = at_a_terminal(site, b"no", "-e", "all=true")
    assert status != 0 and "Nothing was released." in said
    assert site.sessions() == everything
    assert ask(site.listener(opened)) == b"PHOTONS"
    status, said = at_a_terminal(site, b"yes", "-e", "all=true", "--limit", "gw-c,localhost")
    assert status == 0 and "This releases 1 session (1 on gw-c)" in said and "gw-c: released second consumer" in said
    assert site.sessions() == everything[:-1]
    released = site.ok("stream_release", all=True, confirm=False)
    assert released.changed == 2 and released.message.count(": released ") == 3
    assert "gw-c: nothing to release" in released.message
    assert site.sessions() == []
    # Without a question, for there is nothing to ask.
    assert site.ok("stream_release", all=True).message.splitlines() == [
        f"{gateway}: nothing to release" for gateway in ("gw-a", "gw-b", "gw-c")
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to call the service as another user")
def test_all_that_a_user_may_release(site: Site, tmp_path: Path) -> None:
    alone = site.write("one.yml", site.hosts("gw-a"))
    consumer = {"gateway": "elsewhere", "address": "127.0.0.1"}
    mine, theirs = (site.stream(name, encryption="none", consumer=consumer) for name in ("mine", "theirs"))
    with serving(site.directory / "gw-a/etc/scistream/s2cs.json") as served:
        program = tmp_path / "s2cs"
        program.write_text(f'#!/bin/sh\nexec runuser -u daemon -- {served.program} "$@"\n')
        program.chmod(0o755)
        service = {"scistream_service": {"program": str(program), "socket": served.socket}}
        site.ok("stream_inbound", inventory=alone, streams=[theirs])
        site.ok("stream_inbound", inventory=alone, streams=[mine], **service)
        # The key of the other user would permit both.
        other = {"scistream_key": "another key, which is not the one of the streams"}
        released = site.ok("stream_release", inventory=alone, all=True, confirm=False, **other, **service)
        assert released.changed == 1 and released.message.count(": released ") == 1
        assert "gw-a: released mine producer" in released.message
        assert "gw-a: kept 1 session of root (1), which only their owners and administrators" in released.message
        assert site.sessions() == ["gw-a/producer"]
        released = site.ok("stream_release", inventory=alone, all=True, confirm=False, **service)
        assert "gw-a: released theirs producer" in released.message
    assert site.sessions() == []


def test_drop(site: Site, producer: int) -> None:
    streams = [site.stream("hanging", producer)]
    opened = site.ok("stream_open", streams=streams)
    site.ok("stream_inbound", streams=[site.stream("waiting", producer)])
    with socket.create_connection(site.listener(opened), 10) as hanging:
        assert site.ok("stream_drop", "--check", streams=streams).message.count("would close 1 connection of") == 2
        hanging.setblocking(False)
        with pytest.raises(BlockingIOError):
            hanging.recv(1)
        dropped = site.play("stream_drop", streams=[*streams, *(site.stream(name) for name in ("waiting", "absent"))])
        assert dropped.calls("gw-a") == dropped.calls("gw-b") == ["info", "drop"] and dropped.calls("gw-c") == ["info"]
        assert "gw-a: closed 1 connection of hanging producer: " in dropped.output
        assert "gw-b: closed 1 connection of hanging consumer: " in dropped.output
        assert "gw-a: waiting producer is announced and has no connections" in dropped.output
        assert dropped.status != 0 and 'stream "absent"' in dropped.message
        hanging.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            assert hanging.recv(1) == b""
    assert ask(site.listener(opened)) == b"PHOTONS"


def test_ports(site: Site, producer: int) -> None:
    described = site.stream("pinned", producer)
    described["consumer"]["ports"] = [5177]
    opened = site.ok("stream_open", streams=[described])
    assert site.listener(opened) == (site.address("gw-b"), 5177)
    moved = {**described, "consumer": {"gateway": "gw-b", "ports": [5178]}}
    other = site.stream("other", producer, consumer={"gateway": "gw-b", "ports": 5177})
    refused = site.play("stream_open", streams=[moved, other])
    assert refused.status != 0 and "ports is [5177], requested [5178]" in refused.message
    assert f"5177 at {site.address('gw-b')} is taken by session" in refused.message
    assert ask(site.listener(opened)) == b"PHOTONS"
    # Without a wish, it has them again.
    site.ok("stream_release", streams=[described])
    del described["consumer"]["ports"]
    assert site.ok("stream_open", streams=[described]).message == opened.message
