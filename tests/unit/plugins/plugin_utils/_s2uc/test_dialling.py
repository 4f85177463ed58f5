# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams whose producer's gateway connects to the consumer's: descriptions, messages, tickets and reports."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import make_credentials
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.exchange_file import exchange_fingerprint
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.inputs import Inputs
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.pairing import PairingError, connection_map
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import DescriptionError, Stream, stream_uid
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_differences import differences
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_reader import read_streams
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc import descriptions
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.client import (
    problems,
    report,
    requests,
    stream_facts,
    tickets,
    updates,
)

UID = stream_uid("tomography", "gw-a", "gw-b")
PRODUCER, CONSUMER = (make_credentials(UID, role).certificate for role in ("producer", "consumer"))
PEERS = ["198.51.100.1:5101"]


def stream(**changes: Any) -> dict[str, Any]:
    return descriptions.description(**{"dial": "producer", **changes})


def session(role: str, **more: Any) -> dict[str, Any]:
    own = {
        "producer": {
            "listeners": [],
            "targets": ["10.1.0.5:7000"],
            "producer_listeners": ["10.1.0.5:7000"],
            "clients": [],
            "peer_egress": "192.0.2.1",
            "certificate": PRODUCER,
        },
        "consumer": {
            "listeners": ["10.2.0.1:5100"],
            "targets": [],
            "clients": [],
            "peer_listeners": PEERS,
            "peer_clients": ["192.0.2.1/32"],
            "certificate": CONSUMER,
        },
    }[role]
    return {
        "uid": UID,
        "role": role,
        "state": "streaming",
        "dial": "producer",
        "num_conn": 1,
        "proxy": "s2ds",
        "runtime": "process",
        "encryption": "tls",
        "transport": "tcp",
        "labels": {"stream": "tomography"},
        "created": "2026-01-31T12:00:00Z",
        "health": "ok",
        **own,
        **more,
    }


def answers(**more: Any) -> dict[str, Any]:
    return {
        "gw-a": {"sessions": [session("producer", **more)]},
        "gw-b": {"sessions": [session("consumer", **more)]},
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dial": "both"}, 'dial: "both" is not allowed: must be one of consumer, producer'),
        ({"proxy": "haproxy"}, "dial: the proxy haproxy does not support producer: choose s2ds, or omit dial"),
        ({"proxy": "stunnel"}, "dial: the proxy stunnel does not support producer: choose s2ds, or omit dial"),
        ({"runtime": "janus", "encryption": "none"}, "dial: the runtime janus does not support producer: "),
        ({"transport": "both", "encryption": "none"}, "dial: producer is not supported with transport both: use tcp"),
        ({"producer__ports": [5150]}, "producer.ports: with 'dial: producer', nothing connects to the producer's gate"),
        ({"consumer__address": "192.0.2.1"}, "consumer.address: with 'dial: producer', nothing connects to the prod"),
        ({"producer__address": "host"}, 'producer.address[0]: "host" is not allowed'),
        ({"consumer__peer_listeners": PEERS}, "consumer.peer_listeners: only valid for stream_inbound"),
        ({"dial": "consumer", "producer__address": "192.0.2.1"}, "producer.address: only valid with 'dial: producer'"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_changes(changes: dict[str, Any], expected: str) -> None:
    found = descriptions.problems([stream(**changes)])
    assert any(line.startswith(f'stream "tomography": {expected}') for line in found), found


def test_a_variable_of_the_run_is_the_default_for_its_streams() -> None:
    given = [{"name": "one"}, {"name": "two", "dial": "consumer"}, "no stream"]
    inputs = Inputs({"streams": given, "dial": "producer"}, ("streams", "dial"))
    assert inputs.streams() == [{"name": "one", "dial": "producer"}, {"name": "two", "dial": "consumer"}, "no stream"]
    assert Inputs({"streams": given}, ("streams",)).streams() == given


def test_messages_of_a_run_with_both_gateways() -> None:
    streams = [stream(consumer__clients=["10.2.0.5"])]
    assert [entry["dial"] for name in ("gw-a", "gw-b") for entry in requests(streams, name)] == ["producer"] * 2
    assert "dial" not in requests([descriptions.description()], "gw-a")[0]
    (producer,), (consumer,) = (updates(streams, name, answers()) for name in ("gw-a", "gw-b"))
    assert producer["peer_listeners"] == PEERS and producer["peer_certificate"] == CONSUMER
    assert not {"clients", "remote_listeners", "peer_clients"} & set(producer)
    assert consumer["clients"] == ["10.2.0.5/32"] and consumer["peer_clients"] == ["192.0.2.1/32"]
    assert not {"remote_listeners", "peer_listeners"} & set(consumer)


def test_the_map_leads_from_both_ends_to_the_consumers_gateway() -> None:
    row = {
        "connection": 1,
        "consumer_listener": "10.2.0.1:5100",
        "peer_listener": PEERS[0],
        "producer_listener": None,
        "target": "10.1.0.5:7000",
    }
    assert connection_map(session("producer"), session("consumer")) == [row]
    alone = connection_map(session("producer", peer_listeners=PEERS))
    assert alone == [{**row, "consumer_listener": None}]
    with pytest.raises(PairingError, match="has 2 connections"):
        connection_map(session("producer", num_conn=2), session("consumer"))


def test_reports_show_who_connects_to_whom() -> None:
    lines = report(answers(), "opened", streams=[stream()], purpose="open")
    assert lines[1] == (
        "  consumer connects to 10.2.0.1:5100 -> gw-b at 198.51.100.1:5101 <- gw-a (source address 192.0.2.1) -> "
        "producer 10.1.0.5:7000"
    )
    assert not [line for line in lines if "WARNING" in line]
    plain = report(answers(peer_clients=[]), "opened", streams=[stream(encryption="none")], purpose="open")
    assert any("WARNING: anyone who can reach gw-b can connect in place of gw-a" in line for line in plain)
    fact = stream_facts([stream()], [answers()])["tomography"]
    assert fact["connect_to"] == ["10.2.0.1:5100"] and fact["peer_listeners"] == PEERS
    assert fact["listeners"] == {"producer": [], "consumer": ["10.2.0.1:5100"]}


def written(path: Path, kind: str, made: dict[str, Any]) -> str:
    """Write a ticket or reply with changes, and with the fingerprint of these."""
    made = {key: value for key, value in made.items() if key != "fingerprint"}
    path.write_text(yaml.safe_dump({"fingerprint": exchange_fingerprint(kind, made), **made}))
    return str(path)


@pytest.mark.parametrize("encryption", ["tls", "none"])
def test_a_ticket_and_its_reply(tmp_path: Path, encryption: str) -> None:
    certificates = {} if encryption == "tls" else {"certificate": None}
    near = [stream(encryption=encryption)]
    announced = session("producer", state="announced", encryption=encryption, **certificates)
    (ticket,) = tickets(near, [{"gw-a": {"sessions": [announced]}}])
    document = yaml.safe_load(ticket["text"])
    assert document["dial"] == "producer"
    assert document["producer"]["listeners"] == [] and document["producer"]["address"] == "192.0.2.1"
    # Without the reply, the producer's gateway does not know where to connect.
    assert updates(near, "gw-a", {"gw-a": {"sessions": [announced]}}, "inbound") == []

    (tmp_path / "ticket.yml").write_text(ticket["text"])
    far = [{"ticket": str(tmp_path / "ticket.yml"), "encryption": encryption}]
    (read,) = read_streams(far, "outbound", ["gw-b"])
    assert read.is_turned and read.producer_address == ["192.0.2.1/32"]
    own = session("consumer", encryption=encryption, **certificates)
    (update,) = updates(far, "gw-b", {"gw-b": {"sessions": [own]}}, "outbound")
    assert update["peer_clients"] == ["192.0.2.1/32"] and "remote_listeners" not in update
    (reply,) = tickets(far, [{"gw-b": {"sessions": [own]}}], "outbound")
    answered = yaml.safe_load(reply["text"])
    assert answered["dial"] == "producer" and answered["consumer"]["peer_listeners"] == PEERS

    path = tmp_path / "reply.yml"
    path.write_text(reply["text"])
    assert problems(near, "inbound", ["gw-a"], [str(path)], {"gw-a": {"sessions": [announced]}}) == []
    (admitted,) = updates(near, "gw-a", {"gw-a": {"sessions": [announced]}}, "inbound", [str(path)])
    assert admitted["peer_listeners"] == PEERS
    assert admitted.get("peer_certificate") == (CONSUMER if encryption == "tls" else None)

    consumer = answered["consumer"]
    for changes, expected in (
        ({"consumer": {**consumer, "peer_listeners": ["198.51.100.1"]}}, 'consumer.peer_listeners[0]: "198.51.100.1"'),
        ({"consumer": {**consumer, "peer_listeners": []}}, "it has 0 listeners for num_conn 1"),
        ({"consumer": {**consumer, "peer_listeners": "x"}}, 'consumer.peer_listeners is "x", not a list of strings'),
        ({"dial": "consumer"}, 'it is for dial "consumer", but the description says producer'),
    ):
        with pytest.raises(DescriptionError) as caught:
            read_streams(near, "inbound", ["gw-a"], [written(path, "reply", {**answered, **changes})])
        assert expected in str(caught.value)
    # A reply to another ticket.
    other = written(path, "reply", {**answered, "answers": "0000"})
    results = {"gw-a": {"sessions": [announced]}}
    assert "the reply is for another ticket" in problems(near, "inbound", ["gw-a"], [other], results)[0]


def test_a_ticket_decides_who_connects(tmp_path: Path) -> None:
    announced = session("producer", state="announced", peer_egress=None, encryption="none", certificate=None)
    (ticket,) = tickets([stream(encryption="none")], [{"gw-a": {"sessions": [announced]}}])
    (tmp_path / "ticket.yml").write_text(ticket["text"])
    given = {"ticket": str(tmp_path / "ticket.yml"), "encryption": "none"}
    assert "producer.address: it is required without encryption" in problems([given], "outbound", ["gw-b"])[0]
    (read,) = read_streams([{**given, "producer": {"address": "192.0.2.0/24"}}], "outbound", ["gw-b"])
    assert read.producer_address == ["192.0.2.0/24"]
    for more, expected in (
        ({"dial": "consumer"}, 'it says dial "producer", but here it is "consumer": omit dial'),
        ({"producer": {"gateway": "gw-x"}}, "it may only have an address in addition to the ticket"),
    ):
        assert expected in problems([{**given, **more}], "outbound", ["gw-b"])[0]


def compared(described: dict[str, Any], producer: dict[str, Any], consumer: dict[str, Any]) -> Any:
    (read,) = read_streams([described], "open", ["gw-a", "gw-b"])
    policies: dict[str, Any] = {role: {"clients": {}} for role in ("producer", "consumer")}
    return differences(read, {"producer": producer, "consumer": consumer}, policies, datetime.now(timezone.utc))


def test_differences_of_sessions_from_a_description() -> None:
    peered = {"peer_certificate": CONSUMER, "peer_listeners": PEERS}
    producer = session("producer", **peered)
    consumer = session("consumer", peer_certificate=PRODUCER)
    found = compared(stream(), producer, consumer)
    assert (found.fixed, found.changes, found.drift) == ([], [], [])
    assert compared(descriptions.description(), producer, consumer).fixed == ["dial producer -> consumer"]
    old = {"dial": "consumer"}
    assert compared(stream(), {**producer, **old}, {**consumer, **old}).fixed == ["dial consumer -> producer"]
    moved = compared(stream(), {**producer, "peer_listeners": ["198.51.100.1:5199"]}, consumer)
    assert moved.drift == ["gw-a does not connect to the listeners of gw-b"]
    narrowed = compared(stream(producer__address="192.0.2.7"), producer, consumer)
    assert narrowed.changes == ["address 192.0.2.1/32 -> 192.0.2.7/32"]


def test_a_stream_keeps_what_it_says_between_tasks() -> None:
    (read,) = read_streams([stream(producer__address="192.0.2.1")], "open", ["gw-a", "gw-b"])
    assert Stream.of(read.document()) == read
    (plain,) = read_streams([descriptions.description()], "open", ["gw-a", "gw-b"])
    assert not {"dial", "producer_address", "peer_listeners"} & set(plain.document())
