# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration of the native forwarder where the producer's gateway dials, and what its status returns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import parse_endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import replies
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.s2ds import NativeProxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec, Dial

PEERS = [parse_endpoint("peers", f"198.51.100.1:{port}") for port in (5002, 5003)]
WAITS = Dial("waits", PEERS, allow=["192.0.2.1"])
DIALS = Dial("dials", PEERS, source="192.0.2.1")


def written(tmp_path: Path, dial: Dial, settings: dict[str, Any] | None = None, **values: Any) -> dict[str, Any]:
    """Return the configuration of a gateway."""
    role = "consumer" if dial.role == "waits" else "producer"
    listeners = [parse_endpoint("listeners", f"10.0.0.1:{port}") for port in (5100, 5101)] if role == "consumer" else []
    spec = DataServerSpec(f"{role}-x", listeners, role=role, dial=dial, **values)
    document: dict[str, Any] = json.loads(NativeProxy(Layout(str(tmp_path)), settings or {}).files(spec)["s2ds.json"])
    return document


def test_gateway_that_waits(tmp_path: Path) -> None:
    before = written(tmp_path, WAITS, encryption="tls")
    assert before["tls"] is None
    assert before["dial"] == {
        "role": "waits",
        "listeners": [{"address": "198.51.100.1", "port": 5002}, {"address": "198.51.100.1", "port": 5003}],
        "allow": ["192.0.2.1"],
        "open": False,
    }
    after = written(tmp_path, Dial("waits", PEERS, open=True), encryption="tls")
    assert after["tls"]["side"] == "connect"
    assert after["dial"]["open"] is True


def test_gateway_that_dials(tmp_path: Path) -> None:
    target = parse_endpoint("targets", "10.1.0.5:7000")
    found = written(tmp_path, DIALS, {"dial_pool": 5}, targets=[target], encryption="tls")
    assert found["listeners"] == []
    assert found["tls"]["side"] == "accept"
    legs = [{"peer": ["198.51.100.1", port], "target": ["10.1.0.5", 7000]} for port in (5002, 5003)]
    assert found["dial"] == {"role": "dials", "legs": legs, "source": "192.0.2.1", "pool": 5}
    assert "dial_pool" not in found
    before = written(tmp_path, Dial("dials"), encryption="tls")
    assert (before["tls"], before["dial"]["legs"]) == (None, [])


def test_settings_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(S2DSException, match=r"settings\.kernel_tls: true must be false or \"auto\""):
        written(tmp_path, WAITS, {"kernel_tls": True})
    with pytest.raises(ValueRefused, match="dial_pool"):
        written(tmp_path, DIALS, {"dial_pool": 0})


def test_status() -> None:
    dial = {"role": "dials", "waiting": 2, "without": ["198.51.100.1:5002"], "since": 5.5, "error": "refused\x1b"}
    found = replies.dial({"dial": dial})
    assert found is not None
    assert {**found, "error": None} == {**dial, "error": None}
    assert "\x1b" not in found["error"]
    assert replies.dial({}) is None


@pytest.mark.parametrize(
    "wrong",
    [{"role": "x"}, {"waiting": -1}, {"without": ["x"]}, {"without": None}, {"since": "x"}, {"error": 5}],
)
def test_status_that_is_invalid(wrong: dict[str, Any]) -> None:
    dial = {"role": "dials", "waiting": 2, "without": [], "since": None, "error": None, **wrong}
    with pytest.raises(replies.InvalidReply, match=next(iter(wrong))):
        replies.dial({"dial": dial})
