# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stream with 64 connections over eight gateways a side, one of which is lost and replaced."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2cs import machine
from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import GATEWAYS, Site

PRODUCERS, CONSUMERS = ([f"gw-{letter}" for letter in letters] for letters in ("abcdefgh", "ijklmnop"))
ALL = [*PRODUCERS, *CONSUMERS]


@pytest.fixture
def sixteen(site: Site) -> Iterator[Site]:
    """Sixteen gateways. Most of them are copies of the first one."""
    before, copies = site.directory / "gw-a", [name for name in ALL if name not in GATEWAYS]
    for name in copies:
        root = site.directory / name
        shutil.copytree(before, root, symlinks=True)
        policy = root / "etc/scistream/s2cs.json"
        text = policy.read_text().replace(f"{before}/", f"{root}/")
        policy.write_text(text.replace(f'"{site.address("gw-a")}"', f'"{site.address(name)}"'))
    yield site
    for name in copies:
        kill(site, name)
        shutil.rmtree(site.directory / name)


def kill(site: Site, name: str) -> None:
    """Kill the data servers of a gateway."""
    for pid in machine.processes(f"{site.state(name)}/"):
        machine.kill(pid)


def inventory(site: Site, lost: str = "") -> Path:
    """Return an inventory with a group for each side, in which one gateway may be out of reach."""
    document = site.hosts(*ALL)
    if lost:
        away = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
        document["gateways"]["hosts"][lost].update(away)
    groups = {"producers": PRODUCERS, "consumers": CONSUMERS}
    document["gateways"]["children"] = {
        group: {"hosts": {name: dict[str, Any]() for name in names}} for group, names in groups.items()
    }
    return site.write("without-one.yml" if lost else "sixteen.yml", document)


@pytest.fixture
def application(site: Site) -> Iterator[list[str]]:
    """Four listeners of a producer application, which return what they receive; yields their addresses."""
    servers = [socket.create_server((f"{site.network}.1", 0)) for _number in range(4)]

    def serve(server: socket.socket) -> None:
        while True:
            try:
                connection, _peer = server.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as file:
                received = file.read()
                connection.sendall(f"{server.getsockname()[1]} {hashlib.sha256(received).hexdigest()}".encode())

    threads = [threading.Thread(target=serve, args=(server,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    yield [f"{site.network}.1:{server.getsockname()[1]}" for server in servers]
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)


def arrives(listeners: list[str]) -> Counter[str]:
    """Send different data through each listener, and return how often each producer listener received it unchanged."""
    counts: Counter[str] = Counter()
    for listener in listeners:
        data = os.urandom(40_000)
        with machine.connect(listener) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as file:
                port, digest = file.read().decode().split()
        assert digest == hashlib.sha256(data).hexdigest(), listener
        counts[port] += 1
    return counts


def test_a_stream_over_eight_gateways_a_side(sixteen: Site, application: list[str], tmp_path: Path) -> None:
    site, file = sixteen, tmp_path / "listeners.json"
    stream: dict[str, Any] = {
        "name": "tomography",
        "producer": {"gateways": "producers", "listeners": application},
        "consumer": {"gateways": CONSUMERS},
        "num_conn": 64,
    }
    streams: dict[str, Any] = {"streams": [stream], "scistream_probe": False, "listeners_file": str(file)}
    everything = inventory(site)
    opened = site.ok("stream_open", "--forks=16", inventory=everything, **streams)
    assert site.sessions() == sorted(f"{name}/{'producer' if name in PRODUCERS else 'consumer'}" for name in ALL)
    assert "64 listeners over 8 producer and 8 consumer gateways" in opened.message
    (written,) = json.loads(file.read_text())["streams"]
    listeners = [item["listener"] for item in written["listeners"]]
    assert len(set(listeners)) == 64
    assert {item["gateway"] for item in written["listeners"][:8]} == set(CONSUMERS)
    assert list(arrives(listeners).values()) == [16] * 4

    # A gateway is lost. That the order of the others changes does not matter.
    kill(site, "gw-c")
    fewer = inventory(site, lost="gw-c")
    stream["producer"]["gateways"] = PRODUCERS[::-1]
    before = file.read_text()
    repaired = site.ok("streams", "--forks=16", inventory=fewer, **streams)
    assert "stream tomography: gw-c does not answer, so others take its part" in " ".join(repaired.output.split())
    assert "tomography: repaired: its producer side on gw-h is missing\n" in repaired.message
    told = {name: repaired.calls(name) for name in ALL if name not in ("gw-c", "gw-h", "gw-k")}
    assert set(map(tuple, told.values())) == {("info", "info")}
    # The applications need not know.
    assert file.read_text() == before
    assert list(arrives(listeners).values()) == [16] * 4

    # It is back, with what it had.
    site.ok("stream_release", "--forks=16", inventory=everything, streams=[stream])
    assert site.sessions() == []


def test_producers_that_dial(site: Site, application: list[str], tmp_path: Path) -> None:
    file = tmp_path / "listeners.json"
    stream: dict[str, Any] = {
        "name": "detector",
        "dial": "producer",
        "producer": {"gateways": ["gw-a", "gw-b"], "listeners": application},
        "consumer": {"gateways": ["gw-c"]},
        "num_conn": 4,
    }
    site.ok("stream_open", streams=[stream], listeners_file=str(file))
    listeners = [item["listener"] for item in json.loads(file.read_text())["streams"][0]["listeners"]]
    assert len(listeners) == 4 and list(arrives(listeners).values()) == [1] * 4
    assert "changed=0" in site.ok("stream_open", streams=[stream]).output
    site.ok("stream_release", streams=[stream])
    assert site.sessions() == []
