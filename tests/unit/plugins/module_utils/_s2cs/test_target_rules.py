# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for targets, with addresses in any notation and with host names."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import parse_endpoint, resolve
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.target_rules import parse_rules
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout

EVERYWHERE = ["0.0.0.0/0", "::/0"]
# Rules for larger networks do not allow these.
SPECIAL = [
    *("127.0.0.1:22", "127.255.0.1:22", "[::1]:22", "[::ffff:127.0.0.1]:22", "[::ffff:7f00:1]:22"),
    *("169.254.169.254:80", "[fe80::1]:80", "[::ffff:169.254.169.254]:80", "[::ffff:a9fe:a9fe]:80"),
    *("224.0.0.1:5", "[ff02::1]:5", "255.255.255.255:5"),
    # Cloud metadata services, in addition to 169.254.169.254.
    *("100.100.100.200:80", "168.63.129.16:80", "192.0.0.192:80", "[fd00:ec2::254]:80", "[fd20:ce::254]:80"),
    # Embedded IPv4 addresses: compatible, translated, NAT64, 6to4, Teredo, ISATAP.
    *("[::127.0.0.1]:22", "[::169.254.169.254]:80", "[::ffff:0:127.0.0.1]:22", "[64:ff9b::7f00:1]:22"),
    *("[64:ff9b::169.254.169.254]:80", "[64:ff9b:1::a9fe:a9fe]:80", "[2002:7f00:1::1]:22", "[2002:a9fe:a9fe::]:80"),
    *("[2001:0:7f00:1::f5ff:fffe]:22", "[2001:0:a00:1::5601:5601]:80", "[2001:db8::5efe:127.0.0.1]:22"),
    *("[64:ff9b:1:a9fe:a9:fe00::]:80", "[64:ff9b:1:a9:fe:a9fe::]:80", "[64:ff9b:1:0:7f:0:100:0]:22"),
    *("[64:ff9b:1:0:a9:fea9:fe12:3456]:80", "[fd00:c1::a9fe:a9fe]:80", "[fd00:a9fe:a9fe::1]:80"),
    *("[2001:db8::200:5efe:169.254.169.254]:80", "[64:ff9b::]:22", "[::ffff:0:0.0.0.0]:22"),
]
NO_HOSTS = ["0.0.0.0:22", "0.0.0.1:22", "[::ffff:0.1.2.3]:22", "[::]:22", "[::ffff:0.0.0.0]:22", "[0:0:0:0:0:0:0:0]:22"]


def policy(*rules: str) -> Policy:
    """Return a policy with rules for targets of producers."""
    targets = {"producer": parse_rules("targets.producer", list(rules))}
    return Policy("/etc/s2cs.json", "gw", Layout("/state"), {"producer": "192.0.2.1"}, targets=targets)


def check(of: Policy, target: str) -> None:
    """Check a target like an UPDATE."""
    of.check_target("targets[0]", "producer", resolve(parse_endpoint("targets[0]", target)))


@pytest.mark.parametrize(
    ("rule", "inside", "outside"),
    [
        ("10.1.0.0/16", ["10.1.2.3:1", "10.1.255.255:65535"], ["10.2.0.0:1", "[::1]:1", "11.1.0.1:1"]),
        ("10.1.0.0/16:80", ["10.1.2.3:80"], ["10.1.2.3:79", "10.1.2.3:81", "10.2.2.3:80"]),
        ("10.1.0.0/16:80-90", ["10.1.2.3:80", "10.1.2.3:90"], ["10.1.2.3:79", "10.1.2.3:91"]),
        ("10.1.2.3", ["10.1.2.3:5", "[::ffff:10.1.2.3]:5", "[::ffff:a01:203]:5"], ["10.1.2.4:5"]),
        ("2001:db8::/32", ["[2001:db8::1]:5"], ["[2001:db9::1]:5", "10.1.2.3:5"]),
        ("[2001:db8::/32]:5-6", ["[2001:db8::1]:5"], ["[2001:db8::1]:7"]),
        ("[2001:db8::1]:5", ["[2001:db8::1]:5"], ["[2001:db8::1]:6", "[2001:db8::2]:5"]),
        ("2001:db8::/32:5-6", ["[2001:db8::1]:5"], ["[2001:db8::1]:7"]),
        ("0.0.0.0/0", ["192.0.2.9:1", "[::ffff:192.0.2.9]:1"], ["[2001:db8::1]:1", *SPECIAL, *NO_HOSTS]),
        ("::/0", ["[2001:db8::1]:1"], ["192.0.2.9:1", *SPECIAL, *NO_HOSTS]),
        ("127.0.0.0/8:80", ["127.0.0.1:80", "[::ffff:127.0.0.1]:80"], ["127.0.0.1:81", "[::1]:80"]),
        ("::1", ["[::1]:80", "[0::1]:80"], ["127.0.0.1:80", "[::]:80"]),
        ("169.254.0.0/16", ["169.254.1.1:80"], ["169.253.1.1:80"]),
        ("[fe80::/10]:80", ["[fe80::1]:80"], ["[fe80::1]:81"]),
        ("224.0.0.0/3", ["240.0.0.1:5"], ["224.0.0.1:5", "255.255.255.255:5"]),
        ("239.0.0.0/8", ["239.1.2.3:5"], ["224.0.0.1:5"]),
        ("0.0.0.0", [], NO_HOSTS),
        ("::", [], NO_HOSTS),
    ],
)
def test_rules(rule: str, inside: list[str], outside: list[str]) -> None:
    for target in inside:
        check(policy(rule), target)
    for target in outside:
        with pytest.raises(RefusedError) as error:
            check(policy(rule), target)
        message = str(error.value)
        assert message.startswith("targets[0]: ") and message.endswith(" (policy: targets.producer)")
        assert str(parse_endpoint("x", target)) in message
        assert rule in message or "it is not a host address" in message


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        *(("192.0.2.1:1", True), ("[2001:db8::1]:1", True), ("10.0.0.1:1", True)),
        *(("[64:ff9b::198.51.100.1]:1", True), ("[2002:c633:6401::1]:1", True), ("[2001:0:a00:1::1]:1", True)),
        *((target, False) for target in (*SPECIAL, *NO_HOSTS)),
    ],
)
def test_without_rules(target: str, allowed: bool) -> None:
    without = Policy("/etc/s2cs.json", "gw", Layout("/state"), {"producer": "192.0.2.1"})
    if allowed:
        check(without, target)
        return
    with pytest.raises(RefusedError, match=r"\(policy: targets\.producer\)$"):
        check(without, target)


def test_own_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Own addresses within an allowed network are refused, unless a rule allows exactly that address."""
    module = "ansible_collections.scistream.gateway.plugins.module_utils._s2cs.target_rules.describe_special"
    own = "an address of this gateway itself"
    monkeypatch.setattr(module, lambda address: own if str(address) in ("192.0.2.1", "2001:db8::1") else None)
    without = Policy("/etc/s2cs.json", "gw", Layout("/state"), {"producer": "192.0.2.1"})
    check(without, "192.0.2.2:1")
    with pytest.raises(RefusedError, match=f"{own}, which is allowed only if it is listed"):
        check(without, "192.0.2.1:1")
    for rules in (["192.0.2.0/24"], ["192.0.2.0/31:1-9"], EVERYWHERE, ["192.0.2.1:2", "192.0.2.0/24"]):
        with pytest.raises(RefusedError, match=f"{own}, which requires a rule for this address only"):
            check(policy(*rules), "192.0.2.1:1")
    for target in ("[::ffff:192.0.2.1]:1", "[2001:db8::1]:1", "[64:ff9b::192.0.2.1]:1", "[2002:c000:201::1]:1"):
        with pytest.raises(RefusedError, match=own):
            check(policy(*EVERYWHERE), target)
    check(policy("192.0.2.1:1"), "192.0.2.1:1")
    check(policy("192.0.2.0/24", "192.0.2.1"), "192.0.2.1:1")
    check(policy("2001:db8::/32", "[2001:db8::1]:1"), "[2001:db8::1]:1")


def test_empty_list_allows_nothing() -> None:
    with pytest.raises(RefusedError, match=r"allowed: none \(policy"):
        check(policy(), "192.0.2.1:1")


@pytest.mark.parametrize(
    "spelling",
    [
        *("2130706433", "017700000001", "0177.0.0.1", "127.1", "127.0.1", "0x7f.1", "0x7f.0.0.1", "0177.0.0.01"),
        *("127.0.0.1.", "127.000.000.001", "0", "0.0", "00.0.0.0", "\u0661\u0662\u0667.0.0.1", "127\u30020.0.1"),
    ],
)
def test_unusual_notations_that_are_refused(spelling: str) -> None:
    with pytest.raises((ValueRefused, RefusedError)):
        check(policy(*EVERYWHERE), f"{spelling}:22")


@pytest.mark.parametrize(
    "spelling", ["0x7f000001", "0X7F000001", "0x7f.0x0.0x0.0x1", "127.0.0.0x1", "0x0", "localhost"]
)
def test_unusual_notations_that_the_system_resolves(spelling: str) -> None:
    with pytest.raises((RefusedError, S2DSException)):
        check(policy(*EVERYWHERE), f"{spelling}:22")


@pytest.mark.parametrize(
    ("answer", "used"),
    [
        *(("127.0.0.1", None), ("::1", None), ("0.0.0.0", None), ("::", None), ("::ffff:127.0.0.1", None)),
        *(("169.254.169.254", None), ("fe80::1%lo", None), ("fe80::1", None), ("10.9.9.9", None)),
        *(("10.1.2.3", "10.1.2.3:22"), ("::ffff:10.1.2.3", "10.1.2.3:22")),
    ],
)
def test_resolved_names_are_checked(monkeypatch: pytest.MonkeyPatch, answer: str, used: str | None) -> None:
    """The name is resolved once, and the address that was checked is used."""
    answers = [answer]

    def look_up(host: str, port: int, **options: Any) -> list[Any]:
        family = socket.AF_INET6 if ":" in answer else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (answers.pop(), port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    target = resolve(parse_endpoint("x", "evil.example.org:22"))
    of = policy("10.1.0.0/16")
    if used is None:
        with pytest.raises(RefusedError, match=r"\(policy: targets\.producer\)$"):
            of.check_target("x", "producer", target)
        return
    of.check_target("x", "producer", target)
    assert str(target) == used == str(resolve(target)) and not answers


def test_rules_are_parsed_completely() -> None:
    for rule in ("10.1.0.0/16 ", "10.1.0.0/16:80,90", "10.1.0.0/16:80-", "*", "10.1.*", "::ffff:10.1.0.0/16:x"):
        with pytest.raises(ValueRefused):
            parse_rules("targets.producer", [rule])
