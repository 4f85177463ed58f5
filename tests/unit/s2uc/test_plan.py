# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each gateway is told, and the map of who connects to whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.scistream.gateway.plugins.filter.connection_map import connection_map as map_filter
from ansible_collections.scistream.gateway.plugins.filter.stream_sessions import stream_sessions
from ansible_collections.scistream.gateway.plugins.plugin_utils._plan import PlanError, connection_map, new_sessions
from ansible_collections.scistream.gateway.plugins.plugin_utils._streams import stream_uid

UID = stream_uid("tomography", "gw-a", "gw-b")
KEY: dict[str, Any] = {"key_file": "/nonexistent/key", "create_key": False}


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
    with pytest.raises(PlanError, match="both need as many"):
        connection_map(producer, session("consumer", *[f"c:{index}" for index in range(number)]))


@pytest.mark.parametrize("value", [None, "text", 5, []])
def test_map_filter_refuses_what_is_no_session(value: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="not a session"):
        map_filter(value)
    if value is not None:
        with pytest.raises(AnsibleFilterError, match="not a session"):
            map_filter(session("producer", "a:1"), value)


def test_request_sends_what_was_given_and_leaves_the_rest_to_the_policy() -> None:
    (entry,) = stream_sessions(streams(), "request", "gw-a", **KEY)
    assert len(entry.pop("secret")) == 43
    assert entry == {
        "uid": UID,
        "role": "producer",
        "num_conn": 1,
        "encryption": "none",
        "labels": {"stream": "tomography"},
    }
    (entry,) = stream_sessions(streams(rate="1Gbit", proxy="nginx", hello_timeout=9), "request", "gw-b", **KEY)
    assert (entry["role"], entry["rate"], entry["proxy"], entry["hello_timeout"]) == ("consumer", "1Gbit", "nginx", 9)
    assert "runtime" not in entry


def test_hello_names_the_listeners_of_the_producer_only() -> None:
    (producer,) = stream_sessions(streams(), "hello", "gw-a", **KEY)
    (consumer,) = stream_sessions(streams(), "hello", "gw-b", **KEY)
    assert producer["producer_listeners"] == ["10.1.0.5:7000"]
    assert "producer_listeners" not in consumer


def test_update_joins_both_gateways() -> None:
    assert stream_sessions(streams(), "update", "gw-a", results=answers()) == [
        {"uid": UID, "role": "producer", "clients": ["198.51.100.7/32"]}
    ]
    assert stream_sessions(streams(), "update", "gw-b", results=answers()) == [
        {"uid": UID, "role": "consumer", "remote_listeners": ["192.0.2.1:5100"]}
    ]


@pytest.mark.parametrize(("egress", "network"), [("2001:db8::7", ["2001:db8::7/128"]), (None, None)])
def test_clients_of_the_producer_are_the_other_gateways_egress(egress: str | None, network: Any) -> None:
    (entry,) = stream_sessions(streams(), "update", "gw-a", results=answers(egress=egress))
    assert entry.get("clients") == network


def test_an_address_in_the_description_goes_before_the_egress() -> None:
    given = streams(consumer={"gateway": "gw-b", "address": "203.0.113.0/24", "clients": ["10.2.0.0/16"]})
    assert stream_sessions(given, "update", "gw-a", results=answers())[0]["clients"] == ["203.0.113.0/24"]
    assert stream_sessions(given, "update", "gw-b", results=answers())[0]["clients"] == ["10.2.0.0/16"]


def test_both_gateways_of_an_encrypted_stream_get_one_key(tmp_path: Path) -> None:
    encrypted = streams(encryption="tls", proxy="stunnel")
    keys = [
        stream_sessions(encrypted, "update", gateway, results=answers(), key_file=str(tmp_path / "key"))[0]["psk"]
        for gateway in ("gw-a", "gw-b")
    ]
    assert keys[0] == keys[1] and len(keys[0]) == 64
    assert "psk" not in stream_sessions(streams(), "update", "gw-a", results=answers(), **KEY)[0]


def test_inbound_alone() -> None:
    (entry,) = stream_sessions(streams(), "update", "gw-a", purpose="inbound", results=answers(consumer=False))
    assert entry == {"uid": UID, "role": "producer"}
    assert stream_sessions(streams(), "request", "gw-b", purpose="inbound", **KEY) == []


def test_outbound_alone() -> None:
    given = streams(producer={"gateway": "gw-a", "remote_listeners": ["192.0.2.1:5100"]})
    (entry,) = stream_sessions(given, "update", "gw-b", purpose="outbound", results=answers())
    assert entry["remote_listeners"] == ["192.0.2.1:5100"]
    given[0]["num_conn"] = 2
    with pytest.raises(AnsibleFilterError, match="each connection needs one"):
        stream_sessions(given, "update", "gw-b", purpose="outbound", results=answers())


def test_who_takes_no_part_is_told_nothing() -> None:
    for message in ("request", "hello", "update", "release"):
        assert stream_sessions(streams(), message, "gw-c", results=answers(), **KEY) == []


def test_one_gateway_may_play_both_roles() -> None:
    given = streams(consumer={"gateway": "gw-a"})
    assert [entry["role"] for entry in stream_sessions(given, "request", "gw-a", **KEY)] == ["producer", "consumer"]


def test_sessions_that_were_not_made_are_left_out() -> None:
    unmade = [{"uid": UID, "role": "producer"}]
    assert stream_sessions(streams(), "hello", "gw-a", without=unmade, **KEY) == []
    assert len(stream_sessions(streams(), "hello", "gw-b", without=unmade, **KEY)) == 1


def test_release_of_streams_and_uids() -> None:
    other = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
    assert stream_sessions(streams(), "release", "gw-a") == [{"uid": UID, "role": "producer"}]
    assert stream_sessions([], "release", "gw-a", uids=[other.upper()]) == [{"uid": other}]
    assert stream_sessions(streams(), "release", "gw-a", uids=[UID]) == [{"uid": UID}]
    with pytest.raises(AnsibleFilterError, match="UUID"):
        stream_sessions([], "release", "gw-a", uids=["all"])


def test_messages_that_are_none() -> None:
    with pytest.raises(AnsibleFilterError, match="none of request"):
        stream_sessions(streams(), "goodbye", "gw-a")


def test_new_sessions_are_not_those_that_were_repaired() -> None:
    made, repaired, found = (session(role, "a:1", state="reserved") for role in ("producer", "consumer", "producer"))
    repaired["state"], found["uid"] = "streaming", "other"
    changed = [{"uid": UID, "role": role} for role in ("producer", "consumer")]
    assert new_sessions({"sessions": [made, repaired, found], "changed_sessions": changed}) == changed[:1]
    for nothing in (None, {}, {"skipped": True}, {"failed": True, "msg": "x"}):
        assert new_sessions(nothing) == []
