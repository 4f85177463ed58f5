# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each gateway is told, and the map of who connects to whom."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.scistream.gateway.plugins.filter.connection_map import connection_map as map_filter
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import new_sessions
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import (
    check_certificate,
    make_credentials,
    not_after,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import load_key, stream_secret
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.pairing import PairingError, connection_map
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import DescriptionError, stream_uid
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.client import (
    hellos,
    problems,
    releases,
    requests,
    updates,
)

UID = stream_uid("tomography", "gw-a", "gw-b")


def streams(**changes: Any) -> list[dict[str, Any]]:
    return [
        {
            "name": "tomography",
            "producer": {"gateway": "gw-a", "listeners": ["10.1.0.5:7000"]},
            "consumer": {"gateway": "gw-b"},
            "encryption": "none",
            **changes,
        }
    ]


def session(role: str, *listeners: str, **more: Any) -> dict[str, Any]:
    return {"uid": UID, "role": role, "listeners": list(listeners), **more}


def answers(*, egress: str | None = "198.51.100.7", consumer: bool = True) -> dict[str, Any]:
    found: dict[str, Any] = {
        "gw-a": {"sessions": [session("producer", "192.0.2.1:5100", producer_listeners=["10.1.0.5:7000"])]}
    }
    if consumer:
        found["gw-b"] = {"sessions": [session("consumer", "10.2.0.1:5200", egress=egress)]}
    return found


@pytest.mark.parametrize(
    ("producer", "consumer", "encryption", "refused"),
    [
        *(("nginx", "s2ds", "tls", True), ("s2ds", "nginx", "tls", True), ("nginx", "s2ds", "none", False)),
        *(("nginx", "nginx", "tls", False), ("haproxy", "s2ds", "tls", False), ("nginx", "haproxy", "tls", False)),
    ],
)
def test_data_servers_that_do_not_go_together(producer: str, consumer: str, encryption: str, refused: bool) -> None:
    found = answers()
    found["gw-a"]["sessions"][0]["proxy"] = producer
    found["gw-b"]["sessions"][0]["proxy"] = consumer
    said = problems(streams(encryption=encryption), "open", ["gw-a", "gw-b"], results=found)
    assert [("nginx and s2ds" in problem, "proxy: s2ds" in problem) for problem in said] == [(True, True)] * refused


def test_map_deals_the_producers_listeners_in_turn() -> None:
    producer = session("producer", "a:1", "a:2", "a:3", producer_listeners=["p:1", "p:2"])
    consumer = session("consumer", "c:1", "c:2", "c:3")
    rows = connection_map(producer, consumer)
    assert [tuple(row.values()) for row in rows] == [
        (1, "c:1", "a:1", "p:1"),
        (2, "c:2", "a:2", "p:2"),
        (3, "c:3", "a:3", "p:1"),
    ]
    assert [row["consumer_listener"] for row in connection_map(producer)] == [None, None, None]


@pytest.mark.parametrize("number", [0, 1, 3])
def test_map_needs_as_many_listeners_on_both_sides(number: int) -> None:
    producer = session("producer", "a:1", "a:2", producer_listeners=["p:1"])
    with pytest.raises(PairingError, match="both must have the same number"):
        connection_map(producer, session("consumer", *[f"c:{index}" for index in range(number)]))


@pytest.mark.parametrize("value", [None, "text", 5, []])
def test_map_filter_refuses_what_is_no_session(value: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="not a session"):
        map_filter(value)
    if value is not None:
        with pytest.raises(AnsibleFilterError, match="not a session"):
            map_filter(session("producer", "a:1"), value)


def test_request_sends_what_was_given_and_leaves_the_rest_to_the_policy() -> None:
    (entry,) = requests(streams(), "gw-a")
    assert len(entry.pop("secret")) == 43
    assert entry == {
        "uid": UID,
        "role": "producer",
        "num_conn": 1,
        "encryption": "none",
        "labels": {"stream": "tomography"},
    }
    (entry,) = requests(streams(rate="1Gbit", proxy="nginx", hello_timeout=9, lifetime="2h"), "gw-b")
    assert (entry["role"], entry["rate"], entry["proxy"], entry["hello_timeout"]) == ("consumer", "1Gbit", "nginx", 9)
    pinned = streams(producer={"gateway": "gw-a", "listeners": ["10.1.0.5:7000"], "ports": 5150})
    assert requests(pinned, "gw-a")[0]["ports"] == [5150] and "ports" not in requests(pinned, "gw-b")[0]
    assert entry["lifetime"] == 7200
    assert "runtime" not in entry


def test_hello_names_the_listeners_of_the_producer_only() -> None:
    (producer,) = hellos(streams(), "gw-a")
    (consumer,) = hellos(streams(), "gw-b")
    assert producer["producer_listeners"] == ["10.1.0.5:7000"]
    assert "producer_listeners" not in consumer


def test_update_joins_both_gateways() -> None:
    (producer,) = updates(streams(), "gw-a", results=answers())
    (consumer,) = updates(streams(), "gw-b", results=answers())
    assert len(producer.pop("secret")) == len(consumer.pop("secret")) == 43
    assert producer == {"uid": UID, "role": "producer", "clients": ["198.51.100.7/32"]}
    assert consumer == {"uid": UID, "role": "consumer", "remote_listeners": ["192.0.2.1:5100"]}


@pytest.mark.parametrize(("egress", "network"), [("2001:db8::7", ["2001:db8::7/128"]), (None, None)])
def test_clients_of_the_producer_are_the_other_gateways_egress(egress: str | None, network: Any) -> None:
    (entry,) = updates(streams(), "gw-a", results=answers(egress=egress))
    assert entry.get("clients") == network


def test_an_address_in_the_description_goes_before_the_egress() -> None:
    given = streams(consumer={"gateway": "gw-b", "address": "203.0.113.0/24", "clients": ["10.2.0.0/16"]})
    assert updates(given, "gw-a", results=answers())[0]["clients"] == ["203.0.113.0/24"]
    assert updates(given, "gw-b", results=answers())[0]["clients"] == ["10.2.0.0/16"]


NOW = datetime.now(timezone.utc).replace(microsecond=0)


def requested(role: str = "producer", **more: Any) -> dict[str, Any]:
    """Return what the gateways answered to REQ, one of them with changes."""
    found = {}
    for gateway, side in (("gw-a", "producer"), ("gw-b", "consumer")):
        entry = session(side, "192.0.2.1:5100", state="reserved", certificate=None, created=NOW.isoformat())
        entry["expires"] = (NOW + timedelta(minutes=3)).isoformat()
        found[gateway] = {"sessions": [{**entry, **(more if side == role else {})}]}
    return found


@pytest.mark.parametrize(("gateway", "role"), [("gw-a", "producer"), ("gw-b", "consumer")])
def test_hello_gives_a_gateway_its_key_where_it_has_none(gateway: str, role: str) -> None:
    encrypted = streams(encryption="tls")
    (entry,) = hellos(encrypted, gateway, results=requested())
    assert check_certificate(entry["certificate"], UID, role)
    assert entry["key"].startswith("-----BEGIN PRIVATE KEY-----")
    # The end of the wait for the HELLO is not that of the session.
    assert not_after(entry["certificate"]) > NOW + timedelta(days=364)
    (again,) = hellos(encrypted, gateway, results=requested())
    assert again["key"] != entry["key"]
    for known in (requested(role, certificate="there"), requested("none", certificate="x") | {gateway: {}}):
        (entry,) = hellos(encrypted, gateway, results=known)
        assert not {"certificate", "key"} & set(entry)
    (entry,) = hellos(streams(), gateway, results=requested())
    assert not {"certificate", "key"} & set(entry)


@pytest.mark.parametrize(
    ("lifetime", "answer", "end"),
    [
        ("2h", {}, NOW + timedelta(seconds=7201)),
        (None, {"lifetime": 3600}, NOW + timedelta(seconds=3601)),
        (None, {"ends": (NOW + timedelta(days=9)).isoformat()}, NOW + timedelta(days=9, seconds=1)),
        # Until when it waits for its UPDATE does not matter.
        (
            "2h",
            {"state": "announced", "expires": NOW.isoformat(), "ends": "2091-01-31T12:00:00Z"},
            datetime(2091, 1, 31, 12, 0, 1, tzinfo=timezone.utc),
        ),
    ],
)
def test_a_certificate_lives_as_long_as_its_session(lifetime: Any, answer: dict[str, Any], end: datetime) -> None:
    given = streams(encryption="tls", **({"lifetime": lifetime} if lifetime else {}))
    (entry,) = hellos(given, "gw-a", results=requested(**answer))
    assert not_after(entry["certificate"]) == end


def test_update_names_the_other_gateways_certificate() -> None:
    results = answers()
    for gateway in results:
        results[gateway]["sessions"][0]["certificate"] = f"certificate of {gateway}"
    for gateway, other in (("gw-a", "gw-b"), ("gw-b", "gw-a")):
        (entry,) = updates(streams(encryption="tls"), gateway, results=results)
        assert entry["peer_certificate"] == f"certificate of {other}"
        (entry,) = updates(streams(), gateway, results=results)
        assert "peer_certificate" not in entry


def test_one_gateway_that_lost_its_session_is_healed() -> None:
    """The other one keeps its key and learns the new certificate."""
    kept = make_credentials(UID, "producer").certificate
    found = requested("producer", certificate=kept, state="streaming", peer_certificate="lost")
    encrypted = streams(encryption="tls")
    (producer,) = hellos(encrypted, "gw-a", results=found)
    (consumer,) = hellos(encrypted, "gw-b", results=found)
    assert "key" not in producer and "key" in consumer
    found["gw-b"]["sessions"][0].update(certificate=consumer["certificate"], egress="198.51.100.7")
    (entry,) = updates(encrypted, "gw-a", results=found)
    assert entry["peer_certificate"] == consumer["certificate"]
    assert entry["clients"] == ["198.51.100.7/32"]


def test_inbound_alone() -> None:
    given = streams(consumer={"gateway": "gw-b", "address": "198.51.100.7"})
    (entry,) = updates(given, "gw-a", purpose="inbound", results=answers(consumer=False))
    assert set(entry) == {"uid", "role", "secret", "clients"} and entry["clients"] == ["198.51.100.7/32"]
    assert requests(given, "gw-b", purpose="inbound") == []


def test_inbound_alone_is_not_open_to_anybody() -> None:
    (problem,) = problems(streams(), "inbound", ["gw-a"])
    assert "consumer.address: it is required without encryption" in problem
    assert problems(streams(encryption="tls"), "inbound", ["gw-a"]) == []


def test_outbound_takes_the_certificate_of_the_ticket() -> None:
    certificate = make_credentials(UID, "producer").certificate
    side = {"gateway": "gw-a", "remote_listeners": ["192.0.2.1:5100"], "certificate": certificate}
    given = streams(producer=side, encryption="tls")
    (entry,) = updates(given, "gw-b", purpose="outbound", results=answers())
    assert entry["peer_certificate"] == certificate


def test_outbound_alone() -> None:
    given = streams(producer={"gateway": "gw-a", "remote_listeners": ["192.0.2.1:5100"]})
    (entry,) = updates(given, "gw-b", purpose="outbound", results=answers())
    assert entry["remote_listeners"] == ["192.0.2.1:5100"]


def test_a_gateway_that_did_not_answer_is_not_guessed() -> None:
    with pytest.raises(PairingError, match="the gateway of its producer did not answer"):
        updates(streams(), "gw-b", results={})


def test_who_takes_no_part_is_told_nothing() -> None:
    assert requests(streams(), "gw-c") == hellos(streams(), "gw-c") == releases(streams(), "gw-c") == []
    assert updates(streams(), "gw-c", results=answers()) == []


def test_one_gateway_does_not_play_both_roles() -> None:
    given = streams(consumer={"gateway": "gw-a", "address": "198.51.100.7"})
    with pytest.raises(DescriptionError, match='gateway are both "gw-a"'):
        requests(given, "gw-a")
    # What another facility calls its gateway is its own affair.
    assert len(requests(given, "gw-a", purpose="inbound")) == 1


def test_sessions_that_were_not_made_are_left_out() -> None:
    unmade = [{"uid": UID, "role": "producer"}]
    assert hellos(streams(), "gw-a", without=unmade) == []
    assert len(hellos(streams(), "gw-b", without=unmade)) == 1


def test_release_of_streams_and_uids() -> None:
    other = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
    assert releases(streams(), "gw-a") == [{"uid": UID, "role": "producer"}]
    assert releases([], "gw-a", uids=[other.upper()]) == [{"uid": other}]
    assert releases(streams(), "gw-a", uids=[UID]) == [{"uid": UID}]
    with pytest.raises(ScistreamError, match="UUID"):
        releases([], "gw-a", uids=["all"])


def test_release_sends_the_secret_where_there_is_a_key(tmp_path: Path) -> None:
    other = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
    path = str(tmp_path / "key")
    assert "secret" not in releases(streams(), "gw-a", key_file=path)[0]
    assert not list(tmp_path.iterdir())
    key = load_key(path)
    found = releases(streams(), "gw-a", uids=[other], key_file=path)
    assert [entry["secret"] for entry in found] == [stream_secret(key, other), stream_secret(key, UID)]


def test_of_a_repeated_request_all_reserved_sessions_are_new() -> None:
    made, found = (session(role, "a:1", state="reserved") for role in ("producer", "consumer"))
    streams_before = session("producer", "a:1", state="streaming")
    answer = {"sessions": [made, found, streams_before], "new_sessions": [{"uid": UID, "role": "producer"}]}
    assert new_sessions(answer) == answer["new_sessions"]
    reserved = [{"uid": UID, "role": role} for role in ("producer", "consumer")]
    assert new_sessions({**answer, "repeated": True}) == reserved
    for nothing in ({}, {"skipped": True}, {"failed": True, "msg": "x"}):
        assert new_sessions(nothing) == []
