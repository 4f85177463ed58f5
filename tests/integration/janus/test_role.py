# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role janus, in the playbook that provisions gateways, and a stream over what it prepared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.roles.test_gateway_playbook import Gateway, mode
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import SECRET, call, own_address, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, exchange
from ansible_collections.scistream.gateway.tests.janus.controller import NODE, Controller, image

PROFILE = "made-by-the-role"


@pytest.fixture
def variables(janus: Controller) -> Iterator[dict[str, Any]]:
    """Variables of a gateway that offers HAProxy under Janus."""
    address = own_address()
    yield {
        "s2cs_listen": {"producer": address},
        "s2cs_targets": {"producer": ["127.0.0.0/8"]},
        "s2cs_proxies": {"haproxy": {"runtimes": ["janus"], "settings": {"image": image()}}},
        "s2cs_default_runtime": "janus",
        "s2cs_janus": {"url": janus.url, "node": NODE, "profile": PROFILE},
        "janus_password": janus.password,
    }
    if any(profile["name"] == PROFILE for profile in janus.call("GET", "/profiles/host")):
        janus.call("DELETE", f"/profiles/host/{PROFILE}")


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    """A directory in which nothing has been provisioned."""
    return Gateway(tmp_path)


def _profiles(janus: Controller) -> dict[str, Any]:
    return {profile["name"]: profile["settings"] for profile in janus.call("GET", "/profiles/host")}


def test_a_gateway_and_a_stream(
    gateway: Gateway, janus: Controller, variables: dict[str, Any], application: Application
) -> None:
    checked = gateway.ok("--check", "--diff", **variables)
    assert PROFILE not in _profiles(janus) and not gateway.root.exists()
    done = gateway.ok("--diff", "-vvv", **variables)
    for outcome in (checked, done):
        assert janus.password not in outcome.output
        assert "Bearer e" not in outcome.output
    settings = _profiles(janus)[PROFILE]
    assert settings["mgmt_net"] == "host" and settings["ctrl_ports"] is None
    password = gateway.root / "etc/scistream/janus-password"
    assert mode(password) == 0o600 and password.read_text().strip() == janus.password
    assert gateway.policy["janus"] == {
        "url": janus.url,
        "node": NODE,
        "profile": PROFILE,
        "user": "admin",
        "password_file": str(password),
        "ca": None,
        "verify": True,
        "timeout": 60,
    }
    assert gateway.ok(**{**variables, "janus_password": ""}).changed == 0

    uid, config = own_uid(), str(gateway.config)
    identity = {"config": config, "uid": uid, "role": "producer"}
    found = call("s2cs_request", {**identity, "secret": SECRET, "encryption": "none"})
    call("s2cs_hello", {**identity, "secret": SECRET, "producer_listeners": [application.endpoint]})
    try:
        assert call("s2cs_update", identity).get("changed")
        assert exchange(found["session"]["listeners"][0]) == b"one:hello"
        assert janus.sessions()[0]["request"][0]["profile"] == PROFILE
    finally:
        assert call("s2cs_release", identity)["changed"]


def test_what_does_not_fit(gateway: Gateway, janus: Controller, variables: dict[str, Any]) -> None:
    janus_of = variables["s2cs_janus"]
    wrong: dict[str, tuple[dict[str, Any], str]] = {
        "node": ({"s2cs_janus": {**janus_of, "node": "nowhere"}}, f"has no node nowhere. Its nodes are {NODE}"),
        "down": ({"s2cs_janus": {**janus_of, "url": "http://127.0.0.1:9"}}, "does not answer"),
        "plain": (
            {"s2cs_janus": {**janus_of, "url": "http://198.51.100.1"}},
            "must start with https://; plain http is only allowed for",
        ),
        "unnamed": ({"s2cs_janus": {}}, "s2cs_janus must specify the URL of the controller"),
        "password": ({"janus_password": "Wrong-password"}, "rejected the password of the user admin"),
        "nothing": ({"janus_password": ""}, "The password of the Janus controller is missing"),
        "image": ({"janus_images": ["no/such:1"]}, "has no image no/such:1"),
        "create": ({"janus_create_profile": False}, f"has no profile {PROFILE}"),
        "profile": ({"s2cs_janus": {**janus_of, "profile": "default"}}, "its mgmt_net must be host"),
    }
    hosts = {
        name: {**variables, **change, "s2cs_root": f"{gateway.root}-{name}"} for name, (change, _words) in wrong.items()
    }
    outcome = gateway.provision("--forks", "3", hosts=hosts)
    assert outcome.status != 0
    for name, (_change, words) in wrong.items():
        told = [line for line in outcome.output.splitlines() if line.startswith(f"fatal: [{name}]")]
        assert len(told) == 1 and words in told[0], (name, told)
    assert janus.password not in outcome.output and "Wrong-password" not in outcome.output
    assert PROFILE not in _profiles(janus)
