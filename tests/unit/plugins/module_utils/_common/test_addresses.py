# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Addresses in any input: they are parsed correctly or refused with a readable message."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import (
    Endpoint,
    Networks,
    parse_address,
    parse_endpoint,
    parse_endpoints,
    parse_network,
    parse_networks,
    resolve,
    within,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, ValueRefused

# Similar texts: addresses, their parts, and characters that are special in configuration files and shells.
PIECES = st.sampled_from(
    [
        *(
            "127.0.0.1",
            "::1",
            "fe80::1",
            "::ffff:10.0.0.1",
            "a",
            "host.example.org",
            "[",
            "]",
            ":",
            "/",
            "%",
            ".",
            "-",
            "_",
        ),
        *(
            "0",
            "1",
            "7000",
            "65535",
            "65536",
            "08",
            "\n",
            "\r",
            "\t",
            "\0",
            " ",
            "\u2028",
            "\u00a0",
            "\x85",
            "é",
            "\u0663",
            ";",
        ),
        *("$(id)", "`", "'", '"', "\\", "#", "{", "}", "{{", "%eth0", "/24", "/33", "/255.255.0.0"),
    ]
)
TEXTS = st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=6).map("".join), st.ip_addresses().map(str))
VALUES = st.one_of(
    TEXTS, st.none(), st.integers(), st.floats(), st.booleans(), st.lists(TEXTS, max_size=2), st.binary()
)


def clean(text: str) -> bool:
    """Tell whether a text can be used in any configuration file without quoting."""
    return text.isascii() and text.isprintable() and not set(text) & set(" \"'\\#;$`{}%")


def refusal(error: pytest.ExceptionInfo[ValueRefused] | ValueRefused, option: str) -> None:
    """Check that a message names the option and what is allowed, in one line of limited length."""
    message = str(error.value if isinstance(error, pytest.ExceptionInfo) else error)
    assert message.startswith(f"{option}") and "is not allowed: " in message
    assert message.isprintable() and len(message) < 500


@given(VALUES, st.integers(0, 1))
def test_any_value_as_endpoint(value: Any, min_port: int) -> None:
    try:
        endpoint = parse_endpoint("targets[0]", value, min_port)
    except ValueRefused as error:
        refusal(error, "targets[0]")
    else:
        assert clean(str(endpoint)) and min_port <= endpoint.port <= 65535
        assert parse_endpoint("again", str(endpoint), min_port) == endpoint


@given(st.ip_addresses(), st.integers(1, 65535))
def test_every_address_with_a_port(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    text = f"[{address.exploded}]:{port}" if address.version == 6 else f"{address}:{port}"
    endpoint = parse_endpoint("x", text)
    assert endpoint.port == port and endpoint.address == (getattr(address, "ipv4_mapped", None) or address)


@given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]([a-z0-9-]{0,20}[a-z0-9])?){0,4}", fullmatch=True))
def test_every_host_name(name: str) -> None:
    if name.isdigit():
        return
    endpoint = parse_endpoint("x", f"{name}:80")
    assert endpoint.host == name and endpoint.address is None


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Host.Example.ORG:1", "host.example.org"),
        ("host.example.org.:1", "host.example.org"),
        ("[2001:DB8:0:0::1]:1", "2001:db8::1"),
        ("[::ffff:192.0.2.1]:1", "192.0.2.1"),
        ("a_b:1", "a_b"),
    ],
)
def test_canonical_form(text: str, host: str) -> None:
    assert parse_endpoint("x", text).host == host


@pytest.mark.parametrize(
    "text", ["fe80::1%eth0", "fe80::1%\nx", "[fe80::1%eth0]:1", "1.2.3.4%x:1", "host%x:1", "[::1%]:1", "a" * 64 + ":1"]
)
def test_zones_are_refused(text: str) -> None:
    for parse in (parse_endpoint, parse_address, parse_network):
        with pytest.raises(ValueRefused) as error:
            parse("option", text)
        refusal(error, "option")


@pytest.mark.parametrize("values", [None, "127.0.0.1:1", 5, {"127.0.0.1:1": 1}])
def test_endpoints_not_in_a_list(values: Any) -> None:
    with pytest.raises(ValueRefused, match="list"):
        parse_endpoints("targets", values)


def test_duplicates() -> None:
    for values in (["a:1", "A.:1"], ["[::1]:1", "[0::1]:1"], ["127.0.0.1:1", "[::ffff:127.0.0.1]:1"]):
        with pytest.raises(ValueRefused) as error:
            parse_endpoints("targets", values)
        refusal(error, "targets[1]")
    assert len(parse_endpoints("listeners", ["127.0.0.1:0"] * 2, min_port=0)) == 2


@given(VALUES)
def test_any_value_as_address(value: Any) -> None:
    try:
        address = parse_address("listen", value)
    except ValueRefused as error:
        refusal(error, "listen")
    else:
        assert clean(address) and parse_address("listen", address) == address
        assert not ipaddress.ip_address(address).is_unspecified and not ipaddress.ip_address(address).is_multicast


@given(VALUES)
def test_any_value_as_network(value: Any) -> None:
    try:
        [network] = parse_networks("clients", [value])
    except ValueRefused as error:
        refusal(error, "clients[0]")
    else:
        assert clean(str(network)) and parse_networks("clients", [str(network)] * 2) == [network]


def test_within() -> None:
    outer = parse_networks("x", ["10.0.0.0/8", "2001:db8::/32"])
    for text, expected in (("10.1.0.0/16", True), ("2001:db8:1::/48", True), ("0.0.0.0/0", False), ("::/0", False)):
        assert within(parse_network("x", text), outer) is expected


def test_resolve() -> None:
    assert resolve(Endpoint("192.0.2.1", 5)) == Endpoint("192.0.2.1", 5)
    assert resolve(Endpoint("localhost", 5)).address in (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))
    # Numbers are checked as the addresses to which the C library resolves them.
    assert resolve(Endpoint("0x7f000001", 5)) == Endpoint("127.0.0.1", 5)
    with pytest.raises(S2DSException, match=r"no-such-host\.invalid"):
        resolve(Endpoint("no-such-host.invalid", 5))


def test_networks() -> None:
    found = Networks([parse_network("n", text) for text in ("10.1.0.0/24", "10.1.1.0/24", "10.3.0.7", "2001:db8::/32")])
    for text, inside in {
        **dict.fromkeys(("10.1.0.0/23", "10.1.1.255", "10.3.0.7", "2001:db8::/32", "2001:db8:1::/48"), True),
        **dict.fromkeys(
            ("10.1.0.0/22", "10.0.255.255", "10.1.2.0", "10.3.0.6/31", "0.0.0.0/0", "::/0", "::a01:1"), False
        ),
    }.items():
        assert (parse_network("n", text) in found) == inside, text
    assert parse_network("n", "::1") not in Networks([])


def test_many_networks() -> None:
    """Searching one list for each item of the other would take minutes."""
    many = [ipaddress.ip_network((0x0A000000 + 2 * number, 32)) for number in range(20_000)]
    found = Networks(many)
    assert all(item in found for item in many)
