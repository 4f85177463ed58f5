# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Host names with several addresses: the first one that the policy allows and that can be reached is used."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint, resolve
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.target_resolution import resolve_targets
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.target_rules import parse_rules
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout

APP = Endpoint("app.example.org", 7000)
SESSION = Session(
    *("the-uid", "producer", "s2ds", "process", "tls", 1, None, 180, {}, "ann", "hash", 1700000000.0),
    expires=None,
    listeners=["192.0.2.1:5100"],
)


def policy(*rules: str) -> Policy:
    targets = {"producer": parse_rules("targets.producer", list(rules))} if rules else {}
    return Policy("/etc/s2cs.json", "gw", Layout("/state"), {"producer": "192.0.2.1"}, targets=targets)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of the host name, in the order of preference of the system."""
    found: list[str] = []

    def look_up(host: str, port: int, **options: Any) -> list[Any]:
        assert host == APP.host
        return [(socket.AF_INET6 if ":" in item else socket.AF_INET, 1, 6, "", (item, port)) for item in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return found


@pytest.mark.parametrize(
    ("addresses", "rules", "egress", "used"),
    [
        (["::1", "10.1.0.5"], [], None, "10.1.0.5:7000"),
        (["2001:db8::5", "10.1.0.5"], [], "10.1.0.1", "10.1.0.5:7000"),
        (["2001:db8::5", "10.1.0.5"], [], None, "[2001:db8::5]:7000"),
        (["10.1.0.5", "2001:db8::5"], [], "2001:db8::1", "[2001:db8::5]:7000"),
        (["10.9.0.5", "10.1.0.5"], ["10.1.0.0/16"], None, "10.1.0.5:7000"),
        (["fe80::1%eth0", "169.254.169.254", "10.1.0.5", "10.1.0.6"], ["0.0.0.0/0", "::/0"], None, "10.1.0.5:7000"),
        (["10.1.0.5", "10.1.0.5"], ["10.1.0.5:7000"], "10.1.0.1", "10.1.0.5:7000"),
    ],
)
def test_first_suitable_address(
    known: list[str], addresses: list[str], rules: list[str], egress: str | None, used: str
) -> None:
    known += addresses
    found = resolve_targets(policy(*rules), replace(SESSION, egress=egress), "targets", [APP])
    assert [str(item) for item in found] == [used]


def test_message_names_all_addresses(known: list[str]) -> None:
    known += ["::1", "10.9.0.5", "2001:db8::5"]
    session = replace(SESSION, egress="10.1.0.1")
    with pytest.raises(RefusedError) as error:
        resolve_targets(policy("10.1.0.0/16", "2001:db8::/32"), session, "targets", [APP])
    message = str(error.value)
    assert message.startswith("targets[0]: app.example.org:7000 does not resolve to an address that is allowed")
    assert all(address in message for address in known) and message.endswith("(policy: targets.producer)")
    assert "[2001:db8::5]:7000, it cannot be reached from the egress address 10.1.0.1" in message
    known[:] = ["2001:db8::5"]
    with pytest.raises(RefusedError, match=r"10\.1\.0\.1.*\(policy: egress\.producer\)$"):
        resolve_targets(policy(), session, "targets", [APP])
    with pytest.raises(
        S2DSException, match=r"^egress: 10\.1\.0\.1 cannot reach targets app.*2001:db8::5: use addresses"
    ):
        resolve(APP, "10.1.0.1")
    assert str(resolve(APP, "2001:db8::1")) == "[2001:db8::5]:7000"


def test_previous_address_is_kept(known: list[str]) -> None:
    """Name servers may return addresses in a different order, but a second run must not change anything."""
    known += ["10.1.0.6", "10.1.0.5"]
    session = replace(SESSION, targets=[str(APP)], resolved=["10.1.0.5:7000"])
    assert str(resolve_targets(policy(), session, "targets", [APP])[0]) == "10.1.0.5:7000"
    assert str(resolve_targets(policy("10.1.0.6"), session, "targets", [APP])[0]) == "10.1.0.6:7000"
    known.remove("10.1.0.5")
    assert str(resolve_targets(policy(), session, "targets", [APP])[0]) == "10.1.0.6:7000"


def test_impossible_addresses(known: list[str]) -> None:
    with pytest.raises(ValueRefused, match="a loop"):
        resolve_targets(policy("192.0.2.1"), SESSION, "targets", [Endpoint("192.0.2.1", 5100)])
    with pytest.raises(ValueRefused, match="cannot be reached from the egress address"):
        resolve_targets(policy(), replace(SESSION, egress="10.1.0.1"), "targets", [Endpoint("2001:db8::5", 7000)])
    with pytest.raises(ValueRefused, match=r"same IP version \(policy: egress\.producer\)$"):
        resolve_targets(policy(), replace(SESSION, egress="1::"), "targets", [Endpoint("10.1.0.5", 7002)])
    with pytest.raises(S2DSException, match=r"^egress: 1:: cannot reach targets\[1\] 127\.0\.0\.1:7002: use addresses"):
        resolve(Endpoint("127.0.0.1", 7002), "1::", "targets[1]")
    known += ["192.0.2.1"]
    with pytest.raises(RefusedError, match="a loop"):
        resolve_targets(policy("192.0.2.1"), SESSION, "targets", [Endpoint(APP.host, 5100)])
