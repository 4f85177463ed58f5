# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Problems: each with what is wrong and a command, which a shell takes as it is meant."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.problems import (
    NOTICE,
    PROBLEM,
    gateway_problems,
    session_problems,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_view import session_view
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import timestamp
from ansible_collections.scistream.gateway.tests.unit.plugins.module_utils._s2cs.service.samples import (
    HOSTILE,
    NOW,
    counters,
    dead,
    info,
    session,
)

UID = session()["uid"]


def found(item: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(one.level, one.message, one.command) for one in session_problems(session_view(item), NOW)]


def connections(**numbers: int) -> dict[str, int]:
    return {"open": 0, "total": 9, "refused": 0, "failed": 0, **numbers}


@pytest.mark.parametrize(
    "item",
    [
        session(),
        session(health="busy"),
        session(state="reserved", health="waiting", running=False, counters=None, expires=timestamp(NOW + 100)),
        session(expires=None),
        session(encryption="none"),
    ],
)
def test_a_session_with_which_all_is_well_has_none(item: dict[str, Any]) -> None:
    assert found(item) == []


@pytest.mark.parametrize(
    ("item", "level", "text", "command"),
    [
        (dead(), PROBLEM, "killed by the signal SIGKILL", "stream_open"),
        (dead(reason="", health="unknown"), PROBLEM, "its data server is not running", "stream_open"),
        (session(health="silent", running=False, reason="it is stopped"), PROBLEM, "it is stopped", "s2cs release"),
        (session(health="unfinished", reason="killed"), PROBLEM, "killed", "stream_open"),
        (session(health="expired", state="expired", running=False), NOTICE, "lifetime", f"s2cs release {UID}"),
        (
            session(counters=counters(connections=connections(failed=1))),
            NOTICE,
            "1 connection failed",
            "nc -vz 10.1.0.1 5000",
        ),
        (session(counters=counters(connections=connections(refused=2))), NOTICE, "2 connections refused", "s2cs info"),
        (
            session(role="producer", proxy="nginx", counters=counters(connections=connections(refused=1))),
            NOTICE,
            ", or it left before the handshake was complete, as stream_probe does",
            "s2cs info",
        ),
        (
            session(role="producer", state="announced", counters=counters(connections=connections(refused=1))),
            NOTICE,
            ", as the stream is not open yet",
            "s2cs info",
        ),
        (
            session(proxy="nginx", rate=10**9, counters=counters(connections=connections(refused=2))),
            NOTICE,
            "or there were more than num_conn (1), by which its rate is divided",
            "s2cs info",
        ),
        (
            session(counters=counters(last_byte=NOW - 1000)),
            NOTICE,
            "nothing has been transferred for 16m 40s",
            f"s2cs drop {UID}",
        ),
        (session(expires=timestamp(NOW + 60)), NOTICE, "its lifetime ends in 1m 0s", "stream_open"),
        (
            session(state="announced", health="waiting", running=False, expires=timestamp(NOW + 9)),
            NOTICE,
            "expires soon",
            f"s2cs hello {UID}",
        ),
    ],
)
def test_each_problem_has_its_command(item: dict[str, Any], level: str, text: str, command: str) -> None:
    ((found_level, found_text, found_command),) = found(item)
    assert found_level == level
    assert text in found_text
    assert command in found_command


@pytest.mark.parametrize(
    ("changes", "text", "command"),
    [
        ({"policy_problems": ["limits: bad"]}, "policy: limits: bad", "gateway --limit gw-aps"),
        ({"unreadable": [{"uid": "u", "role": "producer", "why": "it is no JSON"}]}, "no JSON", "s2cs release u"),
        ({"orphans": [{"uid": "u", "role": "producer", "running": True}]}, "is running without", "s2cs release u"),
    ],
)
def test_problems_of_the_gateway(changes: dict[str, Any], text: str, command: str) -> None:
    (problem,) = gateway_problems(info(session(), **changes))
    assert problem.level == PROBLEM
    assert text in problem.message
    assert command in problem.command


@pytest.mark.parametrize(("free", "levels"), [(50, []), (20, [NOTICE]), (0, [PROBLEM])])
def test_ports_that_run_out_are_told(free: int, levels: list[str]) -> None:
    answer = info()
    answer["gateway"]["ports"] = {"total": 202, "used": 202 - free, "free": free}
    assert [problem.level for problem in gateway_problems(answer)] == levels


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_a_command(text: str) -> None:
    answer = info(unreadable=[{"uid": text, "role": text, "why": text}], orphans=[{"uid": text, "role": text}])
    answer["gateway"]["name"] = text
    answer["policy_problems"] = [text]
    for problem in gateway_problems(answer):
        words = shlex.split(problem.command)
        assert words[:3] == ["s2cs", "release", text] or words[:3] == [
            "ansible-playbook",
            "scistream.gateway.gateway",
            "--limit",
        ]
        assert words[-1] == text


def test_a_gateway_that_could_not_be_read_has_none() -> None:
    assert list(gateway_problems({})) == []
