# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""S2CS inside of a container that has the engine's socket and nothing else of its host: the runtime dockersock."""

from __future__ import annotations

import json
import secrets
import ssl
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.containers.harness import offer
from ansible_collections.scistream.gateway.tests.integration.proxies.certificates import of_gateway
from ansible_collections.scistream.gateway.tests.integration.proxies.harness import encryption, encrypts, program
from ansible_collections.scistream.gateway.tests.integration.proxies.tls import DATA, context, talk
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import (
    COLLECTION,
    SECRET,
    own_address,
    own_uid,
)
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, ask, connect, exchange
from ansible_collections.scistream.gateway.tests.testbed.engine import docker

MODULE = """
import importlib, json, sys
from ansible.module_utils import basic
basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = sys.argv[2].encode(), "legacy"
importlib.import_module("ansible_collections.scistream.gateway.plugins.modules." + sys.argv[1]).main()
"""


class Inside:
    """A control server in a container."""

    def __init__(self, images: dict[str, str], root: Path) -> None:
        self.name = f"scistream-tests-{secrets.token_hex(4)}"
        self.address = own_address()
        policy: dict[str, Any] = {
            "state_dir": "/var/lib/s2cs",
            "template_dir": "/templates",
            "listen": {"producer": self.address},
            "targets": {"producer": ["127.0.0.0/8"]},
            "proxies": offer(images),
            "supervisor": "process",
            "dedicated_users": False,
        }
        (root / "s2cs.json").write_text(json.dumps(policy))
        templates = root / "templates"
        templates.mkdir()
        for path in COLLECTION.glob("roles/*/files/*.j2"):
            (templates / path.name).write_text(path.read_text())
        packages = sysconfig.get_path("purelib")
        docker(
            *("run", "--detach", "--init", "--name", self.name, "--network", "host"),
            *("--volume", "/var/run/docker.sock:/var/run/docker.sock", "--tmpfs", "/var/lib/s2cs"),
            # Its programs; nothing of a session is below any of these.
            *("--volume", f"{COLLECTION}:/collections/ansible_collections/scistream/gateway:ro"),
            *("--volume", f"{packages}:/packages:ro", "--env", "PYTHONPATH=/collections:/packages"),
            *("--volume", f"{root}/s2cs.json:/etc/scistream/s2cs.json:ro", "--volume", f"{templates}:/templates:ro"),
            *("--entrypoint", "sleep", images["s2ds"], "1000"),
        )

    def run(self, action: str, **options: Any) -> dict[str, Any]:
        """Run a module in there, which must not fail."""
        arguments = json.dumps({"ANSIBLE_MODULE_ARGS": options})
        command = ["docker", "exec", self.name, "python3", "-c", MODULE, f"s2cs_{action}", arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert not done.returncode, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
def inside(images: dict[str, str], tmp_path: Path) -> Iterator[Inside]:
    """A control server in a container; nothing of it may be left."""
    found = Inside(images, tmp_path)
    yield found
    docker("rm", "--force", "--volumes", found.name)


def test_a_stream_from_inside(
    inside: Inside, kind: str, application: Application, other_application: Application, tmp_path: Path
) -> None:
    uid = own_uid()
    session = {"uid": uid, "role": "producer"}
    own, peer = of_gateway("producer", uid), of_gateway("consumer", uid)
    hello = own.hello if encrypts(kind) else {}
    more = {"peer_certificate": peer.certificate} if encrypts(kind) else {}
    request = {"proxy": program(kind), "runtime": "dockersock", "encryption": encryption(kind)}
    inside.run("request", secret=SECRET, **request, **session)
    inside.run("hello", secret=SECRET, producer_listeners=[application.endpoint], **hello, **session)
    try:
        opened = inside.run("update", **session, **more)["session"]
        listener = opened["listeners"][0]
        assert listener.startswith(inside.address)
        if encrypts(kind):
            assert talk(listener, context(ssl.PROTOCOL_TLS_CLIENT, tmp_path, peer)) == b"one:" + DATA
            assert talk(listener, context(ssl.PROTOCOL_TLS_CLIENT, tmp_path, own)) == b""
        else:
            with connect(listener) as established:
                assert ask(established, b"x") == b"one:x"
                moved = inside.run("update", remote_listeners=[other_application.endpoint], **session)
                assert moved["changed"]
                assert exchange(listener) == b"two:hello"
                assert ask(established, b"y") == b"y"
                (seen,) = inside.run("info", uid=uid)["sessions"]
                assert seen["running"] and seen["counters"]["connections"]["open"] == 1
    finally:
        assert inside.run("release", uid=uid)["changed"]
    label = f"label=scistream.uid={uid}"
    assert not docker("volume", "ls", "--quiet", "--filter", label)
    purposes = docker("ps", "--all", "--filter", label, "--format", '{{.Label "scistream.purpose"}}').split()
    assert set(purposes) <= {"helper"}
