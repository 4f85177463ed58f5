# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The description of streams: what is taken, and that everything else is refused with a useful sentence."""

from __future__ import annotations

import copy
import uuid
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import DescriptionError, stream_uid
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_reader import read_streams
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.descriptions import (
    GATEWAYS,
    description,
    problems,
    read,
)


def test_defaults() -> None:
    stream = read()
    assert stream.uid == stream_uid("tomography", "gw-a", "gw-b")
    assert (stream.num_conn, stream.rate, stream.proxy, stream.runtime) == (1, None, None, None)
    assert (stream.encryption, stream.lifetime) == ("tls", None)
    assert stream.labels == {"stream": "tomography"}


def test_everything_given() -> None:
    uid = "1B4E28BA-2FA1-11D2-883F-0016D3CCA427"
    stream = read(
        uid=uid,
        num_conn=4,
        rate="10Gbit",
        proxy="haproxy",
        runtime="docker",
        hello_timeout=60,
        lifetime="12h",
        labels={"experiment": 42},
        producer__listeners=["[2001:db8::1]:7000", "daq.example.org:7001"],
        consumer__clients="10.2.0.0/16",
        consumer__address=["198.51.100.7"],
    )
    assert stream.uid == uid.lower()
    assert stream.producer_listeners == ["[2001:db8::1]:7000", "daq.example.org:7001"]
    assert stream.clients == ["10.2.0.0/16"]
    assert (stream.hello_timeout, stream.lifetime) == (60, 12 * 3600)
    assert stream.consumer_address == ["198.51.100.7/32"]
    assert stream.labels == {"stream": "tomography", "experiment": "42"}


def test_ports() -> None:
    stream = read(num_conn=2, producer__ports=[5101, "5100"], consumer__ports=[5100, 5101])
    assert stream.ports == {"producer": [5101, 5100], "consumer": [5100, 5101]}
    assert read(consumer__ports="5100").ports == {"producer": [], "consumer": [5100]}
    # Those of the side that another facility opens do not matter.
    assert read("inbound", consumer__ports="any").ports == {"producer": []}
    (problem,) = problems([description(num_conn=2, consumer__ports=[5100, 5100])])
    assert "consumer.ports[1]: 5100" in problem and "duplicate" in problem


def test_ports_of_several_streams() -> None:
    first = description(producer__ports=5100, consumer__ports=5100)
    problem = problems([first, description(name="other", consumer__ports=5100, producer__ports=5101)])
    assert problem == [
        'stream "other": consumer.ports: 5100 is also specified by stream "tomography"; each stream needs its own'
    ]


def test_uid_never_changes() -> None:
    assert stream_uid("tomography", "gw-aps", "gw-alcf") == "61af1fbf-e7b6-5afe-9b2d-e2561cdab76d"


def test_uid_depends_on_each_part() -> None:
    parts = [("a", "b", "c"), ("ab", "", "c"), ("a", "c", "b"), ("a", "bc", "")]
    assert len({stream_uid(*part) for part in parts}) == len(parts)
    assert uuid.UUID(stream_uid("a", "b", "c")).version == 5


@pytest.mark.parametrize("count", ["4", 4])
def test_numbers_of_templates_are_texts(count: Any) -> None:
    assert read(num_conn=count).num_conn == 4


@pytest.mark.parametrize("value", [None, "", [], {}, "text", 5, {"name": "x"}])
def test_streams_must_be_a_list(value: Any) -> None:
    assert "list of at least one stream" in problems(value)[0]


@pytest.mark.parametrize("purpose", ["open", "inbound", "outbound", "identify", "release"])
def test_missing_streams_are_asked_for(purpose: str) -> None:
    (problem,) = problems([], purpose)
    assert "-e @streams.yml" in problem
    assert ("-e ticket=PATH" in problem) == (purpose not in ("open", "inbound"))


@pytest.mark.parametrize("item", [None, 5, "text", ["name"], []])
def test_stream_must_be_a_dictionary(item: Any) -> None:
    assert problems([item])[0].startswith("streams[0]: ")


HOSTILE = [
    "",
    " ",
    "a b",
    "a\nb",
    "a\0b",
    "-a",
    "a-",
    ".a",
    "../a",
    "a/b",
    "{{ x }}",
    "é",
    "x" * 64,
    5,
    None,
    True,
    [],
    {},
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(name: Any) -> None:
    assert any("name" in problem for problem in problems([description(name=name)]))


@pytest.mark.parametrize("gateway", ["", "a b", "gw\n", "{{ x }}", "gw\x1b[31m", "$(id)", "x" * 300, 5, None, [], {}])
@pytest.mark.parametrize("role", ["producer", "consumer"])
def test_hostile_gateways(role: str, gateway: Any) -> None:
    found = problems([description(**{f"{role}__gateway": gateway})])
    assert any(f"{role}.gateway" in problem for problem in found)
    assert not any(ord(character) < 32 for problem in found for character in problem)


@pytest.mark.parametrize("role", ["producer", "consumer"])
def test_gateway_not_in_the_inventory(role: str) -> None:
    (problem,) = problems([description(**{f"{role}__gateway": "gw-x"})])
    assert problem == (
        f'stream "tomography": {role}.gateway: "gw-x" is not among the gateways of this run, which are: gw-a, gw-b'
    )


@pytest.mark.parametrize(
    "listeners",
    [
        None,
        [],
        "10.1.0.5:7000",
        [""],
        ["10.1.0.5"],
        ["10.1.0.5:0"],
        ["10.1.0.5:99999"],
        ["10.1.0.5:-1"],
        ["10.1.0.5:7000\nserver evil"],
        ["10.1.0.5:7000 "],
        ["256.1.1.1:7000"],
        ["::1:7000"],
        ["a;b:7000"],
        ["{{ x }}:7000"],
        ["10.1.0.5:7000", "10.1.0.5:7000"],
        [7000],
        [None],
        [["10.1.0.5:7000"]],
        {"a": 1},
    ],
)
def test_hostile_listeners(listeners: Any) -> None:
    found = problems([description(producer__listeners=listeners, num_conn=2)])
    assert len(found) == 1
    assert found[0].startswith('stream "tomography": producer.listeners')
    assert "\n" not in found[0]


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "", "x", "-1", "1e3", 10**6, [], {}, "٤"])
def test_hostile_num_conn(count: Any) -> None:
    (problem,) = problems([description(num_conn=count)])
    assert "num_conn" in problem and "from 1 to" in problem


def test_more_listeners_than_connections() -> None:
    (problem,) = problems([description(producer__listeners=["10.1.0.5:7000", "10.1.0.5:7001"])])
    assert "num_conn 1" in problem


@pytest.mark.parametrize("rate", ["fast", "10Gbyte", "-1", "0", 0, "1bit", True, [], {}, "10Gbit\n", "1e9"])
def test_hostile_rates(rate: Any) -> None:
    (problem,) = problems([description(rate=rate)])
    assert "rate" in problem and "10Gbit" in problem


def test_rates_that_cannot_be_limited() -> None:
    (problem,) = problems([description(rate="1Gbit", proxy="stunnel")])
    assert "rate: the proxy stunnel cannot limit the rate" in problem and "choose s2ds, haproxy or nginx" in problem
    for transport in ("udp", "both"):
        given = description(rate="1Gbit", proxy="nginx", transport=transport, encryption="none")
        (problem,) = problems([given])
        assert f"rate: only the rate of tcp can be limited, but transport is {transport}" in problem
    (problem,) = problems([description(rate="20k", proxy="nginx", num_conn=3)])
    assert "rate: 20000 is too low for num_conn 3" in problem and "at least 24000 bits" in problem
    for proxy in ("s2ds", "haproxy", "nginx", None):
        (stream,) = read_streams([description(rate="1Gbit", proxy=proxy)], "open")
        assert (stream.rate, stream.proxy) == ("1Gbit", proxy)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("proxy", "socat", "haproxy"),
        ("proxy", ["s2ds"], "haproxy"),
        ("runtime", "podman", "docker"),
        ("runtime", 1, "docker"),
        ("uid", "tomography", "UUID"),
        ("uid", "1b4e28ba-2fa1-11d2-883f-0016d3cca427\n", "UUID"),
        ("hello_timeout", 0, "from 1"),
        ("hello_timeout", True, "from 1"),
        ("labels", ["a"], "dictionary"),
        ("labels", {"a\n": "b"}, "letters"),
        ("labels", {"a": "b\x1b[31m"}, "printable"),
        ("consumer__clients", ["10.0.0.1/8"], "host bits"),
        ("consumer__clients", "anyone", "network"),
        ("consumer__address", 5, "list"),
        ("consumer__ports", 0, "1 to 65535"),
        ("consumer__ports", 65536, "1 to 65535"),
        ("consumer__ports", "5100-5101", "1 to 65535"),
        ("consumer__ports", [True], "1 to 65535"),
        ("consumer__ports", [[5100]], "1 to 65535"),
        ("consumer__ports", {"5100": 1}, "1 to 65535"),
        ("producer__ports", [5100, 5101], "num_conn is 1"),
        ("producer__ports", [], "num_conn is 1"),
        ("encryption", "rot13", "none, tls"),
        ("encryption", True, "none, tls"),
        ("encryption", "", "none, tls"),
        ("transport", "sctp", "both, tcp, udp"),
        ("lifetime", 0, "12h"),
        ("lifetime", -1, "12h"),
        ("lifetime", True, "12h"),
        ("lifetime", 1.5, "12h"),
        ("lifetime", "1.5h", "12h"),
        ("lifetime", "12 h", "12h"),
        ("lifetime", "12H", "12h"),
        ("lifetime", "12h\n", "12h"),
        ("lifetime", "11y", "12h"),
        ("lifetime", "99999d", "12h"),
        ("lifetime", "٤h", "12h"),
    ],
)
def test_other_hostile_values(key: str, value: Any, allowed: str) -> None:
    (problem,) = problems([description(**{key: value})])
    assert problem.startswith('stream "tomography": ')
    assert key.replace("__", ".") in problem
    assert allowed in problem


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1, 1),
        ("90", 90),
        ("90s", 90),
        ("5m", 300),
        ("12h", 43_200),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("3650d", 315360000),
    ],
)
def test_lifetimes(value: Any, seconds: int) -> None:
    assert read(lifetime=value).lifetime == seconds


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"numconn": 2}, "numconn"), ({"producer__listener": []}, "listener"), ({"consumer__listeners": []}, "listeners")],
)
def test_unknown_keys(changes: dict[str, Any], key: str) -> None:
    (problem,) = problems([description(**changes)])
    assert f'"{key}" is not a key' in problem and "choose from" in problem


def test_all_mistakes_are_named_at_once() -> None:
    found = problems([description(num_conn=0, rate="fast"), description(name="other", proxy="socat", speed=1)])
    assert len(found) == 4
    assert {problem.split(":")[0] for problem in found} == {'stream "tomography"', 'stream "other"'}


@pytest.mark.parametrize("side", [None, "gw-a", [], 5])
@pytest.mark.parametrize("role", ["producer", "consumer"])
def test_sides_must_be_dictionaries(role: str, side: Any) -> None:
    assert any(
        problem.startswith(f'stream "tomography": {role}: ') for problem in problems([description(**{role: side})])
    )


def test_twice_the_same() -> None:
    twin = description(name="twin", uid=stream_uid("tomography", "gw-a", "gw-b"))
    assert "uid" in problems([description(), twin])[0]
    assert problems([description()] * 2) == [
        'stream "tomography": name: "tomography" is used twice; each stream needs its own'
    ]


def test_inbound_needs_no_consumer_gateway_in_the_inventory() -> None:
    item = description(consumer__gateway="elsewhere", consumer__address="198.51.100.7")
    assert read_streams([item], "inbound", ["gw-a"])[0].consumer_address == ["198.51.100.7/32"]
    assert problems([item], "outbound", ["gw-a"])


def test_outbound_needs_the_listeners_of_the_other_gateway() -> None:
    item = description(producer__gateway="elsewhere", producer__remote_listeners=["192.0.2.1:5100"], encryption="none")
    assert read_streams([item], "outbound", GATEWAYS)[0].remote_listeners == ["192.0.2.1:5100"]
    assert "remote_listeners" in problems([description(encryption="none")], "outbound")[0]
    assert "each connection needs one" in problems([{**item, "num_conn": 2}], "outbound")[0]
    assert "remote_listeners" in problems([item], "open", ["elsewhere", "gw-b"])[0]


def test_identify_asks_for_no_more_than_it_needs() -> None:
    item = {"name": "a", "producer": {"gateway": "x"}, "consumer": {"gateway": "y"}, "encryption": "whatever"}
    assert read_streams([item], "identify", GATEWAYS)[0].uid == stream_uid("a", "x", "y")
    assert problems([{"name": "a"}], "identify")


@pytest.mark.parametrize("here", [["gw-a"], ["gw-b"], ["gw-a", "gw-b"], None])
def test_release_needs_one_of_the_gateways(here: list[str] | None) -> None:
    assert read_streams([description()], "release", here)[0].name == "tomography"


@pytest.mark.parametrize("here", [[], ["gw-c", "gw-d"]])
def test_release_without_any_of_the_gateways(here: list[str]) -> None:
    with pytest.raises(DescriptionError) as caught:
        read_streams([description()], "release", here)
    assert caught.value.problems == [
        'stream "tomography": producer.gateway "gw-a" and consumer.gateway "gw-b" are not among the gateways of this '
        f"run, which are: {', '.join(here) or 'none'}"
    ]


def test_the_description_is_left_as_it_was() -> None:
    item = description(num_conn="4", consumer__clients="10.0.0.1")
    before = copy.deepcopy(item)
    read_streams([item], "open", GATEWAYS)
    assert item == before
