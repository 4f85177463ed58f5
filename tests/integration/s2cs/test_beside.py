# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A data server without a control server, on a host that has a policy."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import host_policy
from ansible_collections.scistream.gateway.tests.integration.s2cs.identity import ANN, OPERATOR
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, own_address, start

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can come in as several users")


@pytest.fixture
def policy(make_s2cs: Callable[..., S2CS], monkeypatch: pytest.MonkeyPatch) -> S2CS:
    """The control server of this host."""
    s2cs = make_s2cs(targets={"producer": ["127.0.0.1:7000-7009"], "consumer": []}, administrators=[OPERATOR])
    monkeypatch.setattr(host_policy, "HOST_POLICY", str(s2cs.config))
    return s2cs


def run(policy: S2CS, user: str, **options: Any) -> dict[str, Any]:
    """Run the module in check mode, which decides as always."""
    listen = policy.policy["listen"]["producer"]
    common = {
        "name": "beside",
        "state_dir": str(policy.root / "beside"),
        "program_dir": str(policy.programs),
        "supervisor": "process",
        "encryption": "none",
        "dedicated_user": False,
        "listeners": [f"{listen}:6100"],
        "targets": ["127.0.0.1:7000"],
    }
    return start("s2ds", {**common, **options}, check=True, user=user).result()


def test_within_the_policy(policy: S2CS) -> None:
    listen = policy.policy["listen"]["producer"]
    assert not run(policy, ANN).get("failed")
    assert not run(policy, ANN, listeners=[f"{own_address()}:5105"]).get("failed")
    refused: list[tuple[dict[str, Any], str]] = [
        ({"listeners": [f"{listen}:5105"]}, "(policy: port_range)"),
        ({"listeners": [f"{listen}:0"], "port_range": [5000, 5100]}, "(policy: port_range)"),
        ({"targets": ["127.0.0.1:22"]}, "(policy: targets.consumer)"),
        ({"targets": ["169.254.169.254:80"]}, "(policy: targets.consumer)"),
        ({"targets": ["127.0.0.1:22"], "role": "producer"}, "(policy: targets.producer)"),
        ({"targets": ["127.0.0.1:7000"], "role": "consumer"}, "(policy: targets.consumer)"),
    ]
    for options, rule in refused:
        for check in ({}, {"egress": None}):
            result = run(policy, ANN, **options, **check)
            assert result.get("failed") and result["msg"].endswith(rule), result
        for administrator in (OPERATOR, ""):
            assert not run(policy, administrator, **options).get("failed")
    assert not run(policy, ANN, state="absent", listeners=None, targets=[]).get("failed")


def test_policy_that_cannot_be_used(policy: S2CS) -> None:
    policy.config.write_text("{")
    assert run(policy, ANN)["failed"]
    assert not run(policy, "").get("failed")


def test_host_without_a_policy(policy: S2CS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_policy, "HOST_POLICY", str(tmp_path / "none.json"))
    assert not run(policy, ANN, targets=["127.0.0.1:22"]).get("failed")
