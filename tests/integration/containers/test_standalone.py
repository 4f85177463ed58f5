# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module proxy_container: check mode, do, the same again, change, stop, start, absent, absent again."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.proxies.certificates import of_gateway
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import COLLECTION, call, own_address
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, ask, connect, exchange
from ansible_collections.scistream.gateway.tests.testbed.engine import docker
from ansible_collections.scistream.gateway.tests.testbed.proxies import STREAM_MODULE

CONFIGURATIONS = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf", "stunnel": "stunnel.conf"}


class Instance:
    """One instance by its options."""

    def __init__(self, images: dict[str, str], runtime: str, root: Path, proxy: str = "haproxy", **more: Any) -> None:
        self.options: dict[str, Any] = {
            "name": f"tests-{secrets.token_hex(4)}",
            "proxy": proxy,
            "runtime": runtime,
            "image": images[proxy],
            "helper_image": images["s2ds"],
            "listeners": [f"{own_address()}:5999"],
            "_ansible_tmpdir": str(root),
            **more,
        }
        if runtime == "docker":
            self.options["state_dir"] = str(root / "state")
        if proxy in CONFIGURATIONS:
            path = COLLECTION / "roles" / proxy / "files" / f"{CONFIGURATIONS[proxy]}.j2"
            self.options["template"] = path.read_text()
        if proxy == "nginx":
            self.options["settings"] = {"stream_module": STREAM_MODULE}
        if proxy in ("stunnel", "nginx"):
            own, peer = of_gateway("producer", "tests"), of_gateway("consumer", "tests")
            self.options.update(role="producer", peer_certificate=peer.certificate, **own.hello)
        else:
            self.options["encryption"] = "none"

    @property
    def listener(self) -> str:
        """Where it listens."""
        return str(self.options["listeners"][0])

    def run(self, check: bool = False, **more: Any) -> dict[str, Any]:
        """Run the module, which must not fail."""
        result = call("proxy_container", {**self.options, **more}, check)
        assert not result.get("failed"), result["msg"]
        return result

    def left(self) -> str:
        """Return what the engine still has of it."""
        label = f"label=scistream.name=proxy-{self.options['name']}"
        containers = docker("ps", "--all", "--format", '{{.Names}} {{.Label "scistream.purpose"}}', "--filter", label)
        names = [line for line in containers.splitlines() if not line.endswith("helper")]
        return " ".join([*names, docker("volume", "ls", "--quiet", "--filter", label)]).strip()


@pytest.fixture
def instance(images: dict[str, str], runtime: str, proxy: str, tmp_path: Path) -> Iterator[Instance]:
    """An instance of each proxy in each runtime."""
    found = Instance(images, runtime, tmp_path, proxy)
    yield found
    found.run(state="absent")
    assert not found.left()


def test_the_whole_life(
    instance: Instance, proxy: str, tmp_path: Path, application: Application, other_application: Application
) -> None:
    one: dict[str, Any] = {"targets": [application.endpoint]}
    two: dict[str, Any] = {"targets": [other_application.endpoint]}
    assert instance.run(check=True, **one)["changed"]
    assert not instance.left()
    started = instance.run(**one)
    found = started["proxy_container"]
    assert started["changed"] and found["running"] and found["listeners"] == [instance.listener]
    assert started["diff"]["before"]["state"] == "absent" and started["diff"]["after"]["state"] == "started"
    if "key" in instance.options:
        assert instance.options["key"].splitlines()[1] not in json.dumps(started)
    for check in (True, False):
        assert not instance.run(check=check, **one)["changed"]
    if "key" not in instance.options:
        with connect(instance.listener) as established:
            assert ask(established, b"x") == b"one:x"
            assert instance.run(check=True, **two)["changed"]
            assert exchange(instance.listener) == b"one:hello"
            assert instance.run(**two)["changed"]
            assert exchange(instance.listener) == b"two:hello"
            assert ask(established, b"y") == b"y"
    assert instance.run(check=True, state="stopped")["changed"]
    stopped = instance.run(state="stopped")
    assert stopped["changed"] and stopped["proxy_container"]["state"] == "stopped"
    assert not instance.run(state="stopped")["changed"]
    again = instance.run(**one)
    assert again["changed"] and again["proxy_container"]["running"]
    # Another limit needs another container.
    limit: dict[str, Any] = {"settings": {**instance.options.get("settings", {}), "memory": 300}}
    assert instance.run(check=True, **one, **limit)["changed"]
    assert instance.run(**one, **limit)["changed"]
    assert not instance.run(**one, **limit)["changed"]
    assert instance.run(check=True, state="absent")["changed"]
    assert instance.run(state="absent")["changed"]
    assert not instance.left()
    assert not instance.run(state="absent")["changed"]
    assert not list(tmp_path.glob("proxy-container-*"))


@pytest.mark.parametrize("proxy", ["haproxy"])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"targets": []}, "targets"),
        ({"encryption": "tls"}, "role: it is missing"),
        ({"encryption": "tls", "role": "producer"}, "certificate: it is missing"),
        ({"name": "No!"}, "name"),
        ({"listeners": []}, "listeners"),
        ({"engine": "file:///x"}, "settings.engine"),
        ({"image": "a b"}, "settings.image"),
        ({"image": "scistream-tests/none:1"}, "has no image scistream-tests/none:1"),
        ({"engine": "unix:///run/no-engine.sock"}, "does not answer"),
        ({"settings": {"memory": 1}}, "settings.memory"),
        ({"settings": {"speed": 1}}, "speed"),
    ],
)
@pytest.mark.parametrize("runtime", ["docker"])
def test_refused(instance: Instance, wrong: dict[str, Any], words: str, application: Application) -> None:
    options = {**instance.options, "targets": [application.endpoint], **wrong}
    result = call("proxy_container", options)
    assert result.get("failed") and words in result["msg"], result
    assert not instance.left()
