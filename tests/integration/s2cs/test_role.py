# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The policy that the role s2cs writes is the one that S2CS reads."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.limits import Limits
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy_file import load_policy
from ansible_collections.scistream.gateway.tests.integration.s2cs.test_ansible import LOCAL


def provision(tmp_path: Path, **variables: Any) -> tuple[int, str, Path]:
    """Run the role below a directory; returns the exit status, the output, and the path of the policy."""
    root = tmp_path / "gateway"
    play = {
        "hosts": "all",
        "gather_facts": False,
        "roles": ["scistream.gateway.s2cs"],
        "vars": {**LOCAL, "s2cs_root": str(root), "s2cs_listen": {"producer": "127.0.0.1"}, **variables},
    }
    book = tmp_path / "playbook.json"
    book.write_text(json.dumps([play]))
    done = subprocess.run(
        ["ansible-playbook", "-i", "host,", book],
        env={**os.environ, "ANSIBLE_HOME": str(tmp_path / "home"), "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, root / "etc/scistream/s2cs.json"


@pytest.mark.parametrize(
    ("variables", "limits"),
    [
        ({}, Limits(owner_sessions=128, owner_num_conn=64, by_default=frozenset(("owner_sessions", "owner_num_conn")))),
        (
            {
                "s2cs_limits": {"sessions": "8", "lifetime": "60", "owner": {"sessions": "2", "num_conn": "3"}},
                "s2cs_administrators": ["operator", "DOMAIN\\operator"],
                "s2cs_encryption": ["tls"],
            },
            Limits(sessions=8, lifetime=60, owner_sessions=2, owner_num_conn=3),
        ),
    ],
)
def test_policy(tmp_path: Path, variables: dict[str, Any], limits: Limits) -> None:
    status, output, config = provision(tmp_path, **variables)
    assert status == 0, output
    policy = load_policy(str(config))
    assert policy.limits == limits
    assert list(policy.encryption) == variables.get("s2cs_encryption", ["tls", "none"])
    assert list(policy.administrators) == variables.get("s2cs_administrators", [])
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    for directory in (policy.layout.state_dir, policy.layout.sessions_dir):
        assert not stat.S_IMODE(Path(directory).stat().st_mode) & 0o067, "others can look into the state"
    assert json.loads(config.read_text())["encryption"] == list(policy.encryption)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"s2cs_encryption": []}, "s2cs_encryption: [] is not allowed"),
        ({"s2cs_administrators": ["a b"]}, "s2cs_administrators[0]: "),
        ({"s2cs_limits": {"owner": {"sessions": -1}}}, "s2cs_limits.owner.sessions: -1 is not allowed"),
        ({"s2cs_limits": {"owner": {"people": 1}}}, "people"),
    ],
)
def test_wrong_values(tmp_path: Path, variables: dict[str, Any], words: str) -> None:
    status, output, config = provision(tmp_path, **variables)
    assert status == 2 and words in output, output
    assert not config.exists()


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFqFh0T1hJ3Zr8b6u1cQ2mY9xW7vK5dN4pL0sG3eR2tB"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([{"account": "beamline@site", "key": f"{KEY} of the beamline\n"}], "s2cs_hello_keys requires s2cs_service"),
        ([{"account": "beamline", "key": f'command="sh" {KEY}'}], "must be a list of account"),
    ],
    ids=["good", "options"],
)
def test_keys_for_hello(tmp_path: Path, keys: list[dict[str, str]], message: str) -> None:
    status, output, _config = provision(tmp_path, s2cs_hello_keys=keys)
    assert status != 0 and message in output
