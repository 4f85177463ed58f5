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
    assert len(stream_report(results, "status", uids=["another"])) == 1


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
        "gw-b: nothing to give back",
        "gw-d: no route",
    ]
    assert "would give back" in stream_report(results, "released", check_mode=True)[0]


def test_failed_keeps_the_words_of_the_gateway() -> None:
    lines = stream_report(
        {"gw-a": {"released": [{"uid": UID, "role": "producer"}]}, "gw-b": {"skipped": True}},
        "failed",
        steps=[{"gw-a": {}, "gw-b": {"failed": True, "msg": "proxy: not on offer"}}, {"gw-a": {"skipped": True}}],
    )
    assert lines == ["gw-b: proxy: not on offer", f"given back: gw-a producer {UID}"]


def test_failed_tells_what_could_not_be_given_back() -> None:
    lines = stream_report({"gw-a": {"unreachable": True, "msg": "gone"}}, "failed", steps=[])
    assert "could not be given back: gone" in lines[0]


def test_reports_that_are_none() -> None:
    with pytest.raises(AnsibleFilterError):
        stream_report({}, "weather")
