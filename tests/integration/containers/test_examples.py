# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The EXAMPLES of proxy_container as they are written; the engine of this machine is that of the gateway."""

from __future__ import annotations

import grp
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES
from ansible_collections.scistream.gateway.tests.integration.accounts import account
from ansible_collections.scistream.gateway.tests.integration.examples.returned import differences, documented
from ansible_collections.scistream.gateway.tests.integration.examples.site import CALLBACKS
from ansible_collections.scistream.gateway.tests.testbed.engine import docker

# What the documentation calls these images, and the gateway and its address.
OFFICIAL = {name: PROXIES[name].image for name in ("haproxy", "s2ds")}
# Port 22 of the gateway is that of the server of this test.
RELAY = """\
import os, socket, sys, threading
server = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def send():
    while data := os.read(0, 65536):
        server.sendall(data)
    server.shutdown(socket.SHUT_WR)
threading.Thread(target=send, daemon=True).start()
while data := server.recv(65536):
    os.write(1, data)
"""
GATEWAY, ADDRESS = "gw-aps.example.org", "192.0.2.1"


@pytest.fixture
def gateway(images: dict[str, str], engine: str, tmp_path: Path) -> Iterator[None]:
    """The machine as the examples expect it."""
    # An address of this machine's own is root's to give; the run counts and shows what it left out.
    if os.geteuid():
        pytest.skip("only root can have the address of the example")
    found = re.fullmatch(r"ssh://(\w+)@([\w.]+):(\d+)", engine)
    assert found
    key = tmp_path / "ssh" / "id"
    relay = tmp_path / "relay.py"
    relay.write_text(RELAY)
    (tmp_path / "home" / ".ssh" / "config").write_text(
        f"Host {GATEWAY}\n  ProxyCommand {sys.executable} {relay} {found[2]} {found[3]}\n  IdentityFile {key}\n"
    )
    host_key = (tmp_path / "ssh" / "host.pub").read_text()
    (tmp_path / "home" / ".ssh" / "known_hosts").write_text(f"{GATEWAY} {host_key}")
    group = grp.getgrgid(os.stat("/var/run/docker.sock").st_gid).gr_name
    state = Path("/var/lib/scistream")
    with ExitStack() as stack:
        stack.enter_context(account("ops", "--shell", "/bin/sh", "--password", "*", "--groups", group))
        if not state.exists():
            stack.callback(subprocess.run, ["rm", "-rf", str(state)], check=True)
        for proxy, name in OFFICIAL.items():
            stack.enter_context(tagged(images[proxy], name))
        subprocess.run(["ip", "address", "add", f"{ADDRESS}/32", "dev", "lo"], check=True)
        stack.callback(subprocess.run, ["ip", "address", "del", f"{ADDRESS}/32", "dev", "lo"], check=True)
        yield


@contextmanager
def tagged(image: str, name: str) -> Iterator[None]:
    """Give an image another name, unless that name has an image of its own already."""
    if docker("image", "ls", "--quiet", name):
        yield
        return
    docker("tag", image, name)
    try:
        yield
    finally:
        docker("image", "rm", name)


def test_examples(gateway: None, tmp_path: Path) -> None:
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"gateways": {"hosts": {"gw-aps": local, "localhost": local}}}))
    tasks = documented("modules", "proxy_container", "EXAMPLES")
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play, sort_keys=False))
    results = tmp_path / "results.jsonl"
    found: list[dict[str, Any]] = []
    for _time in range(2):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", "play.yml"],
            cwd=tmp_path,
            env={
                **os.environ,
                "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
                "ANSIBLE_CALLBACKS_ENABLED": "results",
                "SCISTREAM_TEST_RESULTS": str(results),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout
    for row in map(json.loads, results.read_text().splitlines()):
        if row["action"] == "scistream.gateway.proxy_container":
            found.append(row["result"])
    assert len(found) == 8
    assert differences(documented("modules", "proxy_container", "RETURN"), found) == []
