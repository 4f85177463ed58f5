# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people read."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.scistream.gateway.plugins.filter.stream_report import stream_report
from ansible_collections.scistream.gateway.plugins.plugin_utils import _report
from ansible_collections.scistream.gateway.plugins.plugin_utils._streams import stream_uid

UID = stream_uid("tomography", "gw-a", "gw-b")
STREAMS = [
    {
        "name": "tomography",
        "producer": {"gateway": "gw-a", "listeners": ["10.1.0.5:7000"]},
        "consumer": {"gateway": "gw-b"},
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
    assert _report.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0s"), (59.9, "59s"), (60, "1m 0s"), (3700, "1h 1m"), (90000, "1d 1h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert _report.duration(seconds) == text


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


def test_opened_says_where_the_ticket_is() -> None:
    def last(state: str, check_mode: bool) -> str:
        results = {"gw-a": {"sessions": [session("producer", state=state)]}}
        return stream_report(
            results, "opened", streams=STREAMS, purpose="inbound", ticket_dir="/tickets", check_mode=check_mode
        )[-1].strip()

    assert last("streaming", False) == last("streaming", True) == "ticket: /tickets/tomography.ticket.yml"
    assert last("reserved", True) == "ticket (would be written): /tickets/tomography.ticket.yml"
    assert not any("ticket" in line for line in stream_report({}, "opened", streams=STREAMS, ticket_dir="/tickets"))


def test_status_is_one_line_for_a_session() -> None:
    counters = {"connections": {"open": 1, "total": 4}, "bytes": {"to_consumer": 2**31, "to_producer": 96}}
    results = {
        "gw-a": {
            "sessions": [session("producer", running=True, counters=counters)],
            "gateway": {"ports": {"used": 1, "total": 101}},
        }
    }
    now = datetime(2026, 1, 31, 13, 5, tzinfo=timezone.utc)
    lines = _report.status(results, now=now)
    assert lines == [
        "gw-a: 1 session(s), 1 of 101 ports used",
        "  tomography producer: streaming, running, connections 1 open, 4 in all, 2.0 GiB to the consumer, "
        f"96 B to the producer, listens on 192.0.2.1:5100, age 1h 5m (uid {UID})",
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
    assert text in _report.status(results)[1]


def test_status_of_the_dead_and_the_waiting() -> None:
    dead = session("producer", running=False, counters=None, log=[f"line {number}" for number in range(9)])
    waiting = session("consumer", state="reserved", running=True, expires="2026-01-31T12:03:00Z")
    results = {"gw-a": {"sessions": [dead, waiting]}, "gw-b": {"failed": True, "msg": "no policy"}, "gw-c": {}}
    lines = _report.status(results, now=datetime(2026, 1, 31, 12, 1, tzinfo=timezone.utc))
    assert "NOT RUNNING" in lines[1]
    assert [line.strip() for line in lines[2:7]] == [f"log: line {number}" for number in range(4, 9)]
    assert "expires in 2m 0s" in lines[7]
    assert lines[8:] == ["gw-b: no policy", "gw-c: no answer"]


def test_status_of_chosen_streams() -> None:
    results = {"gw-a": {"sessions": [session("producer"), session("producer", uid="other")]}}
    assert len(stream_report(results, "status")) == 3
    assert len(stream_report(results, "status", streams=STREAMS)) == 2
    assert len(stream_report(results, "status", uids=[UID.upper()])) == 2


def test_status_of_what_is_not_there() -> None:
    results: dict[str, Any] = {"gw-a": {"sessions": [session("producer")]}, "gw-b": {"sessions": []}, "gw-c": {}}
    assert stream_report(results, "status", uids=["another"])[1] == "  no session another here"
    assert stream_report(results, "status", streams=STREAMS)[2:] == [
        "gw-b: 0 session(s)",
        f"  no session of tomography here (uid {UID})",
        "gw-c: no answer",
    ]
    results["gw-c"] = {"sessions": []}
    assert stream_report(results, "status", streams=STREAMS)[-1] == "gw-c: 0 session(s)"


def test_released() -> None:
    given_back = [{"uid": UID, "role": "producer", "listeners": ["192.0.2.1:5100"]}]
    results = {
        "gw-a": {"released": given_back},
        "gw-b": {"released": []},
        "gw-c": {"skipped": True},
        "gw-d": {"unreachable": True, "msg": "no route"},
    }
    assert stream_report(results, "released", streams=STREAMS) == [
        f"gw-a: gave back tomography producer: 192.0.2.1:5100 (uid {UID})",
        f"gw-b: nothing to give back of tomography (uid {UID})",
        "gw-d: no route",
    ]
    assert "would give back" in stream_report(results, "released", check_mode=True)[0]


def test_released_of_uids() -> None:
    results = {"gw-a": {"released": [{"uid": UID, "role": "producer", "listeners": []}]}, "gw-b": {"released": []}}
    assert stream_report(results, "released", uids=[UID.upper()]) == [
        f"gw-a: gave back stream producer: no listeners (uid {UID})",
        f"gw-b: nothing to give back of stream (uid {UID})",
    ]


def test_released_says_which_side_is_out_of_reach() -> None:
    results: dict[str, Any] = {"gw-a": {"released": []}}
    assert stream_report(results, "released", streams=STREAMS, gateways=["gw-a"]) == [
        f"gw-a: nothing to give back of tomography (uid {UID})",
        "gateway gw-b is not in this run: its side of tomography is not released",
    ]


OTHER = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (f'sessions[0] ("{UID}"): num_conn: 0 is', 'stream "tomography": num_conn: 0 is'),
        (f"producer of {UID}: rate: too much", 'stream "tomography": producer: rate: too much'),
        (
            f"uid: session {UID} (producer) exists with other parameters",
            f'stream "tomography": uid: session {UID} (producer) exists with other parameters',
        ),
        (
            f"producer of {UID}: gone; consumer of {OTHER}: gone",
            f'stream "tomography": producer: gone; consumer of {OTHER}: gone',
        ),
        ("proxy: not on offer", "proxy: not on offer"),
    ],
)
def test_gateways_know_uids_and_people_know_names(message: str, text: str) -> None:
    refused = {"gw-a": {"failed": True, "msg": message}}
    assert stream_report({}, "failed", steps=[refused], streams=STREAMS)[0] == f"gw-a: {text}"
    assert stream_report({}, "failed", steps=[refused])[0] == f"gw-a: {message}"
    assert stream_report(refused, "released", streams=STREAMS) == [f"gw-a: {text}"]


def test_failed_names_what_was_given_back() -> None:
    lines = stream_report({"gw-a": {"released": [{"uid": UID, "role": "producer"}]}}, "failed", streams=STREAMS)
    assert lines == ["given back: gw-a producer of tomography"]


@pytest.mark.parametrize(
    ("tickets", "lines"),
    [
        ({"failed": True, "msg": "no template"}, ["a ticket could not be written: no template"]),
        (
            {
                "failed": True,
                "results": [{"item": {"name": "a"}}, {"item": {"name": "b"}, "failed": True, "msg": "full"}],
            },
            ["the ticket of b could not be written: full"],
        ),
        ({"results": [{"item": {"name": "a"}}]}, []),
        ({}, []),
    ],
)
def test_failed_says_why_there_is_no_ticket(tickets: dict[str, Any], lines: list[str]) -> None:
    assert stream_report({}, "failed", tickets=tickets)[:-1] == lines


def test_failed_keeps_the_words_of_the_gateway() -> None:
    lines = stream_report(
        {"gw-a": {"released": [{"uid": UID, "role": "producer"}]}, "gw-b": {"skipped": True}},
        "failed",
        steps=[{"gw-a": {}, "gw-b": {"failed": True, "msg": "proxy: not on offer"}}, {"gw-a": {"skipped": True}}],
    )
    assert lines == ["gw-b: proxy: not on offer", f"given back: gw-a producer of {UID}"]


def test_failed_tells_what_could_not_be_given_back() -> None:
    lines = stream_report({"gw-a": {"unreachable": True, "msg": "gone"}}, "failed", steps=[])
    assert "could not be given back: gone" in lines[0]


def test_reports_that_are_none() -> None:
    with pytest.raises(AnsibleFilterError):
        stream_report({}, "weather")
