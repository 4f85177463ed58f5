# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people read."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.scistream.gateway.plugins.filter.stream_report import stream_report
from ansible_collections.scistream.gateway.plugins.plugin_utils import _report_status, _words
from ansible_collections.scistream.gateway.plugins.plugin_utils._certificate import fingerprint, make_credentials
from ansible_collections.scistream.gateway.plugins.plugin_utils._stream import stream_uid

UID = stream_uid("tomography", "gw-a", "gw-b")
STREAMS = [
    {
        "name": "tomography",
        "producer": {"gateway": "gw-a", "listeners": ["10.1.0.5:7000"]},
        "consumer": {"gateway": "gw-b", "address": "198.51.100.7"},
        "encryption": "none",
    }
]


def session(role: str, **more: Any) -> dict[str, Any]:
    listeners = {"producer": ["192.0.2.1:5100"], "consumer": ["10.2.0.1:5200"]}[role]
    return {
        "uid": UID,
        "role": role,
        "state": "streaming",
        "listeners": listeners,
        "targets": ["10.1.0.5:7000"] if role == "producer" else ["192.0.2.1:5100"],
        "clients": ["198.51.100.7/32"],
        "proxy": "s2ds",
        "runtime": "process",
        "encryption": "none",
        "labels": {"stream": "tomography"},
        "created": "2026-01-31T12:00:00Z",
        "expires": None,
        **more,
    }


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (None, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (2**31, "2.0 GiB"), (2**50, "1024.0 TiB")],
)
def test_sizes(count: Any, text: str) -> None:
    assert _words.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0s"), (59.9, "59s"), (60, "1m 0s"), (3700, "1h 1m"), (90000, "1d 1h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert _words.duration(seconds) == text


def test_opened_shows_the_whole_path_and_warns() -> None:
    results = {
        "gw-a": {"sessions": [session("producer")]},
        "gw-b": {"sessions": [session("consumer", egress="198.51.100.7")]},
    }
    lines = stream_report(results, "opened", streams=STREAMS)
    assert lines[0] == f"tomography: streaming (s2ds in process, 1 connection(s), uid {UID})"
    assert lines[1].strip() == (
        "consumer connects to 10.2.0.1:5200 (gw-b, leaves from 198.51.100.7) -> 192.0.2.1:5100 (gw-a)"
        " -> producer 10.1.0.5:7000"
    )
    assert "encryption between the gateways: none" in lines[2]
    assert "WARNING" in lines[3]


def test_opened_shows_each_half_as_far_as_it_is_known() -> None:
    (_head, inbound, *_rest) = stream_report(
        {"gw-a": {"sessions": [session("producer")]}}, "opened", streams=STREAMS, purpose="inbound"
    )
    assert inbound.strip() == "consumer gateway (gw-b) -> 192.0.2.1:5100 (gw-a) -> producer 10.1.0.5:7000"
    given = [{**STREAMS[0], "producer": {"gateway": "gw-a", "remote_listeners": ["192.0.2.1:5100"]}}]
    (_head, outbound, *_rest) = stream_report(
        {"gw-b": {"sessions": [session("consumer")]}}, "opened", streams=given, purpose="outbound"
    )
    assert outbound.strip() == "consumer connects to 10.2.0.1:5200 (gw-b) -> 192.0.2.1:5100 (gw-a) -> its producer"


ENCRYPTED = [{key: value for key, value in STREAMS[0].items() if key != "encryption"}]
PRODUCER, CONSUMER = (make_credentials(UID, role).certificate for role in ("producer", "consumer"))


def half(purpose: str, encryption: str = "tls", check_mode: bool = False, **more: Any) -> list[str]:
    """Return what one half of a stream shows, without the lines that all share."""
    role, gateway = {"inbound": ("producer", "gw-a"), "outbound": ("consumer", "gw-b")}[purpose]
    stream: dict[str, Any] = {**STREAMS[0], "encryption": encryption}
    if purpose == "outbound":
        stream["producer"] = {"gateway": "gw-a", "remote_listeners": ["192.0.2.1:5100"]}
        if encryption == "tls":
            stream["producer"]["certificate"] = PRODUCER
    found = {gateway: {"sessions": [session(role, encryption=encryption, **more)]}}
    # What this gateway was told last is not among the newest answers: nothing was updated.
    lines = stream_report(
        {}, "opened", steps=[found], streams=[stream], purpose=purpose, ticket_dir="/tickets/", check_mode=check_mode
    )
    return [lines[0], *(line.strip() for line in lines[2:])]


def test_opened_says_that_it_is_encrypted() -> None:
    results = {"gw-a": {"sessions": [session("producer")]}, "gw-b": {"sessions": [session("consumer")]}}
    lines = stream_report(results, "opened", streams=ENCRYPTED)
    assert lines[2:] == ["  encryption between the gateways: tls, each knows the other by its certificate"]


def test_a_producer_side_waits_for_the_reply() -> None:
    lines = half("inbound", state="announced", certificate=PRODUCER, peer_certificate=None)
    assert lines[0] == f"tomography: waits for the reply to its ticket (s2ds in process, 1 connection(s), uid {UID})"
    assert lines[2:] == [
        f"certificate of gw-a (producer): sha256 {fingerprint(PRODUCER)}",
        "ticket: /tickets/tomography.ticket.yml",
        "next: hand tomography.ticket.yml to the operator of gw-b, for stream_outbound -e "
        "ticket=tomography.ticket.yml, and compare the fingerprints by telephone",
        "then: when you have their tomography.reply.yml, run stream_inbound as now, with -e reply=tomography.reply.yml "
        "added",
    ]


def test_a_producer_side_that_got_the_reply_is_done() -> None:
    lines = half("inbound", certificate=PRODUCER, peer_certificate=CONSUMER)
    assert lines[0].startswith("tomography: streaming ")
    assert lines[2:] == [
        f"certificate of gw-a (producer): sha256 {fingerprint(PRODUCER)}",
        f"certificate of gw-b (consumer): sha256 {fingerprint(CONSUMER)}",
        "ticket: /tickets/tomography.ticket.yml",
    ]


def test_a_consumer_side_shows_what_to_do_with_the_reply() -> None:
    lines = half("outbound", certificate=CONSUMER, peer_certificate=PRODUCER)
    assert lines[2:] == [
        f"certificate of gw-b (consumer): sha256 {fingerprint(CONSUMER)}",
        f"certificate of gw-a (producer): sha256 {fingerprint(PRODUCER)}",
        "reply: /tickets/tomography.reply.yml",
        "next: hand tomography.reply.yml back to whom the ticket came from, and compare the fingerprints by telephone; "
        "data flows when they have run stream_inbound again with -e reply=tomography.reply.yml",
    ]


def test_a_listener_that_is_open_to_anybody_is_warned_of() -> None:
    results = {"gw-a": {"sessions": [session("producer", clients=[])]}, "gw-b": {"sessions": [session("consumer")]}}
    lines = stream_report(results, "opened", streams=STREAMS, purpose="open")
    assert [line for line in lines if "WARNING: whoever reaches gw-a may connect" in line]


def test_halves_that_are_not_encrypted_have_one_ticket() -> None:
    lines = half("inbound", "none")
    assert "WARNING" in lines[2]
    assert lines[3:] == [
        "ticket: /tickets/tomography.ticket.yml",
        "next: hand tomography.ticket.yml to the operator of gw-b, for stream_outbound -e ticket=tomography.ticket.yml "
        "-e encryption=none",
    ]
    assert not any("reply" in line for line in half("outbound", "none"))


def test_halves_in_check_mode() -> None:
    for purpose, kind in (("inbound", "ticket"), ("outbound", "reply")):
        lines = half(purpose, check_mode=True, state="reserved", certificate=None)
        assert lines[0].startswith("tomography: would be opened (")
        assert lines[2:] == [f"{kind} (would be written): /tickets/tomography.{kind}.yml"]
    assert not any("ticket" in line for line in stream_report({}, "opened", streams=STREAMS, ticket_dir="/tickets"))


def test_ansible_warns_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("ansible.utils.display.Display.warning", lambda _self, text: told.append(text))
    stream_report({}, "opened", streams=STREAMS)
    stream_report({}, "opened", streams=ENCRYPTED)
    other = session("producer", encryption="tls", labels={"stream": "other"})
    results = {"gw-a": {"sessions": [session("producer"), other]}, "gw-b": {"sessions": [session("consumer")]}, "c": {}}
    stream_report(results, "status")
    stream_report(results, "status", uids=["another"])
    stream_report(results, "released")
    assert told == ["Not encrypted between the gateways: tomography."] * 2


def test_status_of_encrypted_sessions() -> None:
    now = datetime(2026, 1, 31, 13, 5, tzinfo=timezone.utc)
    old = make_credentials(UID, "producer", now=now - timedelta(days=360)).certificate
    dead = make_credentials(UID, "consumer", now=now - timedelta(days=366)).certificate

    def shown(**more: Any) -> list[str]:
        results = {"gw-a": {"sessions": [session("producer", encryption="tls", running=True, **more)]}}
        return [line.strip() for line in _report_status.status(results, now=now)[2:]]

    assert shown(certificate=PRODUCER, peer_certificate=None) == [
        f"tls: certificate sha256 {fingerprint(PRODUCER)}, that of the other gateway none yet"
    ]
    assert shown(certificate=old, peer_certificate=dead)[1:] == [
        f"WARNING: certificate sha256 {fingerprint(old)} expires in 5d 0h: release the stream and open it again",
        f"WARNING: certificate sha256 {fingerprint(dead)} has expired: release the stream and open it again",
    ]
    assert len(shown(certificate=old, peer_certificate=None, expires="2026-02-05T13:05:00Z")) == 1
    assert len(shown(certificate=old, peer_certificate=None, expires="2026-03-05T13:05:00Z")) == 2
    assert "unreadable" in shown(certificate="x")[0]


def test_status_is_one_line_for_a_session() -> None:
    counters = {"connections": {"open": 1, "total": 4}, "bytes": {"to_consumer": 2**31, "to_producer": 96}}
    results = {
        "gw-a": {
            "sessions": [session("producer", running=True, counters=counters)],
            "gateway": {"ports": {"used": 1, "total": 101}},
        }
    }
    now = datetime(2026, 1, 31, 13, 5, tzinfo=timezone.utc)
    lines = _report_status.status(results, now=now)
    assert lines == [
        "gw-a: 1 session(s), 1 of 101 ports used",
        "  tomography producer: streaming, running, connections 1 open, 4 in all, 2.0 GiB to the consumer, "
        f"96 B to the producer, listens on 192.0.2.1:5100, age 1h 5m (uid {UID})",
        "    WARNING: not encrypted between the gateways",
    ]


@pytest.mark.parametrize(
    ("connections", "text"),
    [
        (
            {"open": 0, "total": 3, "refused": 1, "failed": 3},
            "connections 0 open, 3 in all, 3 failed (the target did not answer), 1 refused, 0 B",
        ),
        ({"open": 0, "total": 3, "refused": 0, "failed": 0}, "connections 0 open, 3 in all, 0 B"),
        ({"open": 1, "total": 3, "refused": None, "failed": None}, "connections 1 open, 3 in all, 0 B"),
        ({"open": None, "total": 3, "refused": 2, "failed": None}, "connections 3 in all, 2 refused, 0 B"),
        ({"open": None, "total": None, "refused": None, "failed": None}, "running, 0 B"),
        (None, "running, 0 B"),
    ],
)
def test_status_shows_connections_that_did_not_come_about(connections: Any, text: str) -> None:
    counters = {"since": 1769860800.0, "connections": connections, "bytes": {}}
    results = {"gw-a": {"sessions": [session("producer", running=True, counters=counters)]}}
    assert text in _report_status.status(results)[1]


def test_status_of_the_dead_and_the_waiting() -> None:
    dead = session("producer", running=False, counters=None, log=[f"line {number}" for number in range(9)])
    waiting = session("consumer", state="reserved", running=True, expires="2026-01-31T12:03:00Z")
    results = {"gw-a": {"sessions": [dead, waiting]}, "gw-b": {"failed": True, "msg": "no policy"}, "gw-c": {}}
    lines = _report_status.status(results, now=datetime(2026, 1, 31, 12, 1, tzinfo=timezone.utc))
    assert "NOT RUNNING" in lines[1]
    assert [line.strip() for line in lines[3:8]] == [f"log: line {number}" for number in range(4, 9)]
    assert "expires in 2m 0s" in lines[8]
    assert lines[10:] == ["gw-b: no policy", "gw-c: no answer"]


def test_status_of_chosen_streams() -> None:
    results = {"gw-a": {"sessions": [session("producer"), session("producer", uid="other")]}}
    assert len(stream_report(results, "status")) == 5
    assert len(stream_report(results, "status", streams=STREAMS)) == 3
    assert len(stream_report(results, "status", uids=[UID.upper()])) == 3


def test_status_of_what_is_not_there() -> None:
    results: dict[str, Any] = {"gw-a": {"sessions": [session("producer")]}, "gw-b": {"sessions": []}, "gw-c": {}}
    assert stream_report(results, "status", uids=["another"])[1] == "  no session another here"
    assert stream_report(results, "status", streams=STREAMS)[3:] == [
        "gw-b: 0 session(s)",
        f"  no session of tomography here (uid {UID})",
        "gw-c: no answer",
    ]
    results["gw-c"] = {"sessions": []}
    assert stream_report(results, "status", streams=STREAMS)[-1] == "gw-c: 0 session(s)"


def test_reports_that_are_none() -> None:
    with pytest.raises(AnsibleFilterError):
        stream_report({}, "weather")
