# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The roles docker and dockersock, and the modules as Ansible itself sends them, for a gateway under its own root."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.containers.own_engine import OwnEngine
from ansible_collections.scistream.gateway.tests.integration.roles.test_gateway_playbook import PLAYBOOK, Gateway
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import own_address
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, exchange
from ansible_collections.scistream.gateway.tests.testbed.engine import docker


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    """A gateway under a directory, whose Python has the SDK of Docker."""
    return Gateway(tmp_path, sys.executable)


@pytest.fixture
def archive(images: dict[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """The archive of an image that the engine does not have."""
    name = f"scistream-tests/haproxy:{secrets.token_hex(4)}"
    docker("tag", images["haproxy"], name)
    docker("save", "--output", str(tmp_path / "image.tar"), name)
    docker("rmi", name)
    yield {"name": name, "src": str(tmp_path / "image.tar")}
    docker("rmi", name, check=False)


def test_a_gateway_for_containers(gateway: Gateway, images: dict[str, str], archive: dict[str, str]) -> None:
    settings = {"image": archive["name"], "helper_image": images["s2ds"]}
    given: dict[str, Any] = {
        "s2cs_proxies": {"haproxy": {"runtimes": ["docker", "dockersock"], "settings": settings}},
        "s2cs_default_runtime": "docker",
        # It is not looked for where the proxy runs in containers only.
        "haproxy_program": "/nowhere/haproxy",
    }
    missing = gateway.provision(**given)
    assert missing.status and f"The engine has no image {archive['name']}" in missing.output
    loads = {**given, "docker_archives": [archive]}
    gateway.ok(**loads)
    assert docker("image", "ls", "--quiet", archive["name"])
    again = gateway.ok(**loads)
    assert not again.changed
    assert gateway.policy["proxies"]["haproxy"]["settings"] == settings
    checked = gateway.ok("--check", **loads)
    assert not checked.changed


def test_a_socket_that_is_none(gateway: Gateway, tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "s2cs_proxies": {"s2ds": {"runtimes": ["dockersock"]}},
        "s2cs_default_runtime": "dockersock",
        "dockersock_socket": str(tmp_path / "docker.sock"),
    }
    outcome = gateway.provision(**given)
    assert outcome.status and "is not the socket of an engine" in outcome.output
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(given["dockersock_socket"])
        Path(given["dockersock_socket"]).chmod(0o666)
        outcome = gateway.provision(**given)
    assert outcome.status and "Anyone can write to" in outcome.output


@pytest.mark.parametrize(
    ("runtime", "engine", "words"),
    [
        ("docker", {"own_network": True, "options": ("--rootless",)}, "is rootless"),
        ("dockersock", {"own_network": True, "options": ("--rootless",)}, "is rootless"),
        ("dockersock", {"maps_users": True}, "maps user IDs"),
    ],
)
def test_an_engine_that_does_not_fit(gateway: Gateway, runtime: str, engine: dict[str, Any], words: str) -> None:
    """It is refused before anything changes, in check mode too."""
    with OwnEngine(**engine) as own:
        given: dict[str, Any] = {
            "s2cs_proxies": {"haproxy": {"runtimes": [runtime]}},
            "s2cs_default_runtime": runtime,
            f"{runtime}_socket": f"{own.root}/docker.sock",
        }
        # Whether check mode is used makes no difference to the check; each is tried with one of the engines.
        outcome = gateway.provision(*(["--check"] if "maps_users" in engine else []), **given)
        assert outcome.status and words in outcome.output, outcome.output


@pytest.mark.parametrize("runtime", ["docker", "dockersock"])
def test_the_module_as_ansible_sends_it(
    images: dict[str, str], runtime: str, application: Application, tmp_path: Path
) -> None:
    """With the template of the collection, and a helper that gets its code out of what Ansible sent."""
    listener = f"{own_address()}:5998"
    options: dict[str, Any] = {
        "name": f"tests-{secrets.token_hex(4)}",
        "runtime": runtime,
        "image": images["haproxy"],
        "helper_image": images["s2ds"],
        "state_dir": str(tmp_path / "state") if runtime == "docker" else None,
    }
    start = {**options, "listeners": [listener], "targets": [application.endpoint], "encryption": "none"}

    def play(*tasks: dict[str, Any]) -> str:
        path = tmp_path / "play.json"
        named = [{"scistream.gateway.proxy_container": task, "register": f"r{i}"} for i, task in enumerate(tasks)]
        show = [{"ansible.builtin.debug": {"msg": f"{{{{ r{i}.changed }}}}"}} for i in range(len(tasks))]
        variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        play = {"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": [*named, *show]}
        path.write_text(json.dumps([play]))
        done = subprocess.run([PLAYBOOK, str(path)], capture_output=True, text=True, check=False, timeout=300)
        assert not done.returncode, done.stdout + done.stderr
        return done.stdout

    try:
        said = play(start, start)
        assert said.count('"msg": true') == said.count('"msg": false') == 1, said
        assert exchange(listener) == b"one:hello"
    finally:
        said = play({**options, "state": "absent"}, {**options, "state": "absent"})
    assert said.count('"msg": true') == said.count('"msg": false') == 1, said
