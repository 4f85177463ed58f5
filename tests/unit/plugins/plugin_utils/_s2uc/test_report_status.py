# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people read of sessions."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import report_status
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import fingerprint, make_credentials
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.client import report
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.reports import (
    PRODUCER,
    STREAMS,
    UID,
    session,
)


def test_status_of_encrypted_sessions() -> None:
    now = datetime(2026, 1, 31, 13, 5, tzinfo=timezone.utc)
    old = make_credentials(UID, "producer", now=now - timedelta(days=360)).certificate
    dead = make_credentials(UID, "consumer", now=now - timedelta(days=366)).certificate

    def shown(**more: Any) -> list[str]:
        results = {"gw-a": {"sessions": [session("producer", encryption="tls", running=True, **more)]}}
        return [line.strip() for line in report_status.status(results, now=now)[2:]]

    assert shown(certificate=PRODUCER, peer_certificate=None) == [
        f"tls: certificate sha256 {fingerprint(PRODUCER)}, peer certificate none yet"
    ]
    assert shown(certificate=old, peer_certificate=dead)[:-1] == [
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
    lines = report_status.status(results, now=now)
    assert lines == [
        "gw-a: 1 session, 1 of 101 ports used",
        "  tomography producer: streaming, running, connections 1 open, 4 in all, 2.0 GiB to the consumer, "
        "96 B to the producer, listens on 192.0.2.1:5100, forwards to 10.1.0.5:7000, started 2026-01-31 12:00:00Z, "
        f"age 1h 5m (uid {UID})",
        "    WARNING: not encrypted between the gateways",
    ]


def test_status_shows_owner_and_targets() -> None:
    targets = [f"daq{number}.example.org:7000" for number in range(6)]
    resolved = [f"10.1.0.{number}:7000" for number in range(6)]
    named = session("producer", running=True, owner="ann\x1b[1m", targets=targets, resolved=resolved)
    waiting = session("consumer", state="reserved", owner="bob", targets=[])
    lines = report_status.status({"gw-a": {"sessions": [named]}, "gw-b": {"sessions": [waiting]}})
    assert (
        "forwards to daq0.example.org:7000 (10.1.0.0), daq1.example.org:7000 (10.1.0.1), "
        "daq2.example.org:7000 (10.1.0.2), daq3.example.org:7000 (10.1.0.3) and 2 more, owner ann?[1m, started"
        in lines[1]
    )
    assert "owner bob" in lines[-2] and "forwards" not in lines[-2]


@pytest.mark.parametrize(
    ("connections", "text"),
    [
        (
            {"open": 0, "total": 3, "refused": 1, "failed": 3},
            "connections 0 open, 3 in all, 0 B",
        ),
        ({"open": 0, "total": 3, "refused": 0, "failed": 0}, "connections 0 open, 3 in all, 0 B"),
        ({"open": 1, "total": 3, "refused": None, "failed": None}, "connections 1 open, 3 in all, 0 B"),
        ({"open": None, "total": 3, "refused": 2, "failed": None}, "connections 3 in all, 0 B"),
        ({"open": None, "total": None, "refused": None, "failed": None}, "running, 0 B"),
        (None, "running, 0 B"),
    ],
)
def test_status_shows_connections_that_did_not_come_about(connections: Any, text: str) -> None:
    counters = {"since": 1769860800.0, "connections": connections, "bytes": {}}
    results = {"gw-a": {"sessions": [session("producer", running=True, counters=counters)]}}
    lines = report_status.status(results)
    assert text in lines[1]
    for key, words in (("failed", "failed: the target did not answer"), ("refused", "refused")):
        number = (connections or {}).get(key)
        assert [line for line in lines if line.endswith(f" {words}")] == [
            f"    WARNING: {number} connection{'' if number == 1 else 's'} {words}" for _once in range(bool(number))
        ]


def test_status_tells_of_restarts_and_of_silence() -> None:
    now = datetime(2026, 1, 31, 13, 0, tzinfo=timezone.utc)
    counters: dict[str, Any] = {
        "since": now.timestamp() - 600,
        "restarts": 2,
        "connections": {"open": 1, "total": 4},
        "bytes": {"to_consumer": 1},
        "last_byte": now.timestamp() - 900,
        "exact": False,
    }
    results = {"gw-a": {"sessions": [session("producer", running=True, counters=counters)]}}
    lines = report_status.status(results, now=now)
    assert (
        "at least 1 B to the consumer, 0 B to the producer, 2 restarts of the data server since 2026-01-31 12:50:00Z"
        in lines[1]
    )
    assert lines[2] == "    WARNING: no data transferred for 15m 0s"
    counters["last_byte"] += 300
    assert ", no data transferred for 10m 0s, listens on" in report_status.status(results, now=now)[1]
    counters["last_byte"] -= 300
    counters["connections"]["open"] = 0
    assert len(report_status.status(results, now=now)) == len(lines) - 1


def test_status_of_problems_only() -> None:
    well = session("consumer", running=True, encryption="tls", labels={"stream": "well"})
    paused = session("producer", running=True, encryption="tls", health="paused", reason="its container is paused")
    left = session("producer", running=True, encryption="tls", pending="release", uid="left")
    results: dict[str, Any] = {"gw-a": {"sessions": [well, paused, left]}, "gw-b": {"sessions": [well]}}
    lines = report(results, "status", show="problems")
    assert [line for line in lines if not line.startswith(" ")] == [
        "gw-a: 3 sessions, 2 with problems",
        "gw-b: 1 session, no problems",
    ]
    assert "tomography producer: streaming, PAUSED, " in lines[1]
    assert lines[2] == "    WARNING: its container is paused"
    assert "WARNING: its last action (release) was interrupted" in lines[5]
    assert not any("well" in line for line in lines[1:-1])
    with pytest.raises(ScistreamError, match='show: "some" is not allowed: must be one of all, problems'):
        report(results, "status", show="some")


def test_status_of_what_belongs_to_no_session() -> None:
    orphan = {"uid": UID, "role": "producer", "running": True}
    lines = report({"gw-a": {"sessions": [], "orphans": [orphan], "policy_problems": ["listen: is wrong"]}}, "status")
    assert lines[1:] == [
        "  WARNING: policy: listen: is wrong",
        f"  WARNING: producer of {UID} runs without a session: release it with stream_release -e uid={UID}",
    ]


def test_status_of_a_gateway_whose_store_cannot_be_used() -> None:
    orphan = {"uid": UID, "role": "producer", "running": True}
    answer = {"failed": True, "msg": "the session store is damaged", "orphans": [orphan]}
    assert report({"gw-a": answer}, "status") == [
        "gw-a: no answer",
        f"  WARNING: producer of {UID} runs without a session: release it with stream_release -e uid={UID}",
    ]


def test_status_of_the_dead_and_the_waiting() -> None:
    dead = session("producer", running=False, counters=None, log=[f"line {number}" for number in range(9)])
    waiting = session("consumer", state="reserved", running=True, expires="2026-01-31T12:03:00Z")
    results = {"gw-a": {"sessions": [dead, waiting]}, "gw-b": {"failed": True, "msg": "no policy"}, "gw-c": {}}
    lines = report_status.status(results, now=datetime(2026, 1, 31, 12, 1, tzinfo=timezone.utc))
    assert "NOT RUNNING" in lines[1]
    assert [line.strip() for line in lines[4:9]] == [f"log: line {number}" for number in range(4, 9)]
    assert "expires in 2m 0s" in lines[9]
    assert lines[11:] == ["gw-b: no answer", "gw-c: no answer"]


def test_status_of_chosen_streams() -> None:
    results = {"gw-a": {"sessions": [session("producer"), session("producer", uid="other")]}}
    assert len(report(results, "status")) == 7
    assert len(report(results, "status", streams=STREAMS)) == 4
    assert len(report(results, "status", uids=[UID.upper()])) == 4


def test_status_of_what_is_not_there() -> None:
    results: dict[str, Any] = {"gw-a": {"sessions": [session("producer")]}, "gw-b": {"sessions": []}, "gw-c": {}}
    assert report(results, "status", uids=["another"])[1] == "  no session another here"
    assert report(results, "status", streams=STREAMS)[4:] == [
        "gw-b: 0 sessions",
        f"  no session of tomography here (uid {UID})",
        "gw-c: no answer",
    ]
    results["gw-c"] = {"sessions": []}
    assert report(results, "status", streams=STREAMS)[-1] == "gw-c: 0 sessions"
