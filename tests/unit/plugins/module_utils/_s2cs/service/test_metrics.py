# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics: what a gateway and its sessions are like, in Prometheus' text format whatever their users call them."""

from __future__ import annotations

import re

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import metrics
from ansible_collections.scistream.gateway.tests.unit.plugins.module_utils._s2cs.service.samples import (
    HOSTILE,
    NOW,
    counters,
    dead,
    info,
    session,
)

# A line of the format, by its specification.
SAMPLE = re.compile(
    r'(?P<name>[a-z_]+)(?:\{(?P<labels>(?:[a-z_]+="(?:[^"\\\n]|\\[\\n"])*",?)*)\})? (?P<value>-?[0-9.e+-]+)'
)
UID = '{uid="00000000-0000-0000-0000-000000000001",role="consumer"'


def lines(*sessions: dict[str, object], **changes: object) -> list[str]:
    return metrics.render(info(*sessions, **changes), NOW).splitlines()


def test_bytes_and_connections_of_a_session_are_counted() -> None:
    seen = {"open": 2, "total": 7, "refused": 1, "failed": 4}
    found = lines(session(0, counters=counters(1 << 60, connections=seen, restarts=3)))
    for line in (
        f'scistream_session_bytes_total{UID},direction="to_consumer"}} {1 << 60}',
        f'scistream_session_bytes_total{UID},direction="to_producer"}} {(1 << 60) // 1000}',
        f"scistream_session_connections_open{UID}}} 2",
        f"scistream_session_connections_total{UID}}} 7",
        f"scistream_session_connections_refused_total{UID}}} 1",
        f"scistream_session_connections_failed_total{UID}}} 4",
        f"scistream_session_restarts_total{UID}}} 3",
        f"scistream_session_last_byte_timestamp_seconds{UID}}} {NOW - 0.5}",
        f"scistream_session_idle_seconds{UID}}} 0.5",
        f"scistream_session_expiry_timestamp_seconds{UID}}} {NOW + 86400:.0f}",
        f'scistream_session_state{UID},state="streaming"}} 1',
        f'scistream_session_health{UID},health="ok"}} 1',
        f"scistream_session_running{UID}}} 1",
        f"scistream_session_counters_exact{UID}}} 1",
    ):
        assert line in found, line


def test_the_gateway_is_described() -> None:
    found = lines(session(0), session(1), dead(2), policy_problems=["bad"], orphans=[{}])
    for line in (
        "scistream_up 1",
        'scistream_gateway_info{gateway="gw-aps",version="0.1.0",python_version="3.11.2",supervisor="systemd"} 1',
        'scistream_gateway_sessions{role="producer",state="streaming"} 2',
        "scistream_gateway_ports_used 3",
        "scistream_gateway_ports_free 199",
        "scistream_gateway_sessions_limit 256",
        "scistream_gateway_session_lifetime_limit_seconds 604800",
        "scistream_gateway_policy_problems 1",
        "scistream_gateway_orphans 1",
        "scistream_gateway_unreadable_sessions 0",
    ):
        assert line in found, line


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_of_a_stream_leaves_its_label(name: str) -> None:
    for line in lines(session(0, labels={"stream": name}, owner=name)):
        assert line.startswith("# ") or SAMPLE.fullmatch(line), line


def test_each_metric_is_described_once_and_stands_together() -> None:
    names = [line.split()[2] for line in lines(session(0), session(1), dead(2)) if line.startswith("# TYPE")]
    assert len(names) == len(set(names)) > 25
    order = [line.split("{")[0].split()[0] for line in lines(session(0), session(1)) if not line.startswith("#")]
    assert [name for index, name in enumerate(order) if not index or order[index - 1] != name] == names


def test_what_is_not_known_is_left_out() -> None:
    nothing = dict.fromkeys(("name", "ports", "limits", "versions", "supervisor"))
    found = lines(dead(0, counters=None, expires=None), gateway=nothing)
    text = "\n".join(found)
    assert f"scistream_session_running{UID}}} 0" in found
    for name in ("bytes_total", "connections", "last_byte", "idle", "expiry", "ports", "limit", "exact", "restarts"):
        assert not re.search(f"^scistream_(gateway|session)_{name}", text, re.MULTILINE), name
    assert "None" not in text


def test_s2cs_that_does_not_answer_is_down() -> None:
    assert metrics.render(None, NOW).splitlines()[-1] == "scistream_up 0"
