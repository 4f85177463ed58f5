# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module s2cs_policy: only a policy that every action takes is put in place, as a whole and at once."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy_file import load_policy
from ansible_collections.scistream.gateway.tests.integration.s2cs.identity import ANN, BOB
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, call, own_uid

POLICY: dict[str, Any] = {
    "gateway": "gw-aps",
    "state_dir": "/var/lib/scistream",
    "listen": {"producer": "192.0.2.1"},
    "proxies": {"s2ds": None, "haproxy": {"settings": {"threads": "4"}, "runtimes": "process"}},
    "targets": {"producer": "10.1.0.0/16:5000-5100, 10.2.0.1"},
    "encryption": "tls",
    "limits": {"lifetime": "604800", "owner": {"sessions": None}},
    "hello_timeout": "60",
    "dedicated_users": "yes",
}


def write(config: Path, check: bool = False, group: str | None = None, **changes: Any) -> dict[str, Any]:
    """Run the module; a change of ... removes a key."""
    policy = {key: value for key, value in {**POLICY, **changes}.items() if value is not ...}
    return call("s2cs_policy", {"config": str(config), "policy": policy, "group": group}, check)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Where the policy is to be."""
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc" / "s2cs.json"


def test_check_write_again_change(config: Path) -> None:
    planned = write(config, check=True)
    assert planned["changed"] and not config.exists()
    done = write(config)
    assert done["changed"] and done["diff"] == planned["diff"] and done["diff"]["before"] == ""
    assert config.read_text() == done["diff"]["after"]
    about = config.stat()
    assert (about.st_uid, stat.S_IMODE(about.st_mode)) == (os.geteuid(), 0o640)
    policy = load_policy(str(config))
    assert policy.limits.lifetime == 604800 and policy.limits.owner_sessions is None and policy.hello_timeout == 60
    assert policy.proxies["haproxy"] == {"runtimes": ["process"], "settings": {"threads": 4}}
    assert [rule.text for rule in policy.targets["producer"]] == ["10.1.0.0/16:5000-5100", "10.2.0.1"]
    assert not write(config)["changed"] and not write(config, check=True)["changed"]
    changed = write(config, hello_timeout=61)
    assert changed["changed"] and '"hello_timeout": 60' in changed["diff"]["before"]
    assert sorted(path.name for path in config.parent.iterdir()) == ["s2cs.json"]


def test_what_is_allowed_is_told(config: Path) -> None:
    told = write(config)["allowed"]
    assert told[0].startswith(
        "producer: listens on 192.0.2.1, ports 5100-5200, for ANY client; forwards to 10.1.0.0/16"
    )
    assert "encryption: tls only" in told and "administrators: root" in told
    assert any("UNLIMITED sessions and 64 connections" in line for line in told)
    told = write(config, targets=..., encryption=..., limits={}, clients={"producer": ["198.51.100.0/24"]})["allowed"]
    assert "for 198.51.100.0/24; forwards to ANY address" in told[0]
    assert "encryption: tls, none: streams may be UNENCRYPTED" in told
    assert any("UNLIMITED lifetime" in line for line in told)
    assert "forwards nowhere" in write(config, targets={"producer": []})["allowed"][0]


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({"listen": {}}, ["listen has no address"]),
        ({"listen": ...}, ["missing keys: listen"]),
        ({"state_dir": ...}, ["missing keys: state_dir"]),
        ({"tragets": {}, "encryption": ["psk"]}, ['there is no "tragets": did you mean targets?', "encryption[0]: "]),
        ({"proxies": {"haproxy": {"settings": {"thread": 4, "threads": "x", "idle_timeout": 1}}}}, ["", "", ""]),
        ({"proxies": {"s2ds": {"runtimes": ["janus"]}}, "default_runtime": "janus"}, ["janus must specify"]),
        (
            {"proxies": {"stunnel": {"runtimes": ["process", "janus"]}}, "default_proxy": "stunnel"},
            ["proxies.stunnel.runtimes: the proxy stunnel cannot run in janus", "janus must specify"],
        ),
        ({"port_range": [80, 100]}, ["port_range must be two ports"]),
        ({"limits": {"owner": {"session": 1}}}, ["limits.owner: "]),
    ],
)
def test_wrong_policy_changes_nothing(config: Path, changes: dict[str, Any], problems: list[str]) -> None:
    write(config)
    before = config.stat()
    for check in (True, False):
        result = write(config, check, **changes)
        assert result["failed"] and len(result["problems"]) == len(problems), result
        assert all(any(word in item for item in result["problems"]) for word in problems)
    assert config.stat() == before


def test_place_that_others_can_write(config: Path) -> None:
    config.parent.chmod(0o777)
    result = write(config)
    assert result["failed"] and "is writable by everyone" in result["problems"][0] and not config.exists()
    assert write(config.parent / "missing" / "s2cs.json")["failed"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have files of others")
def test_file_that_somebody_else_planted(config: Path) -> None:
    """It is replaced, not written into: whoever has it open, or linked to it, has nothing of the new one."""
    config.write_text("{}")
    os.chown(config, 65534, 65534)
    config.chmod(0o666)
    with config.open() as stream:
        assert write(config)["changed"]
        assert stream.read() == "{}"
    about = config.stat()
    assert (about.st_uid, about.st_gid, stat.S_IMODE(about.st_mode)) == (0, 0, 0o640)
    # Only who may read it is different now.
    assert write(config, group="daemon")["changed"] and not write(config, group="daemon")["changed"]
    assert write(config, group="no-such-group")["failed"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can come in as several users")
def test_one_user_leaves_room_for_others(make_s2cs: Callable[..., S2CS]) -> None:
    """With a policy that says nothing of owners, and the input that took all ports but five."""
    s2cs = make_s2cs(port_range=[5100, 5200])
    request = {"role": "producer", "encryption": "none", "secret": SECRET, "num_conn": 32}
    with s2cs.used_by(ANN):
        for _unused in range(2):
            s2cs.request(own_uid(), num_conn=32)
        message = s2cs.refused("request", ANN, "64", uid=own_uid(), **request)
        assert message.endswith("(policy: limits.owner.num_conn)")
    with s2cs.used_by(BOB):
        s2cs.request(own_uid(), num_conn=36)
    # Root may use what is left: it has no others to leave room for.
    s2cs.done("release", sessions=[{"uid": row[0]} for row in s2cs.rows()])
    s2cs.request(own_uid(), num_conn=64)
    s2cs.request(own_uid(), num_conn=37)
    assert json.loads(s2cs.config.read_text()).get("limits") is None
