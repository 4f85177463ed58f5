# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Events of streams: what follows from two reports of a gateway, in either form, and what no report may do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.monitor import Monitor
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.status_page import status_document
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import timestamp
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.gateway_report import (
    MAX_BYTES,
    ReportError,
    read_report,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_events import GatewayEvents, Limits
from ansible_collections.scistream.gateway.tests.unit.plugins.module_utils._s2cs.service.samples import (
    counters,
    dead,
    info,
    session,
)

NOW = 1_700_000_000.0


def at(seconds: float) -> str:
    """Return a time as s2cs_info does."""
    return str(timestamp(NOW + seconds))


def carried(opened: int, last_byte: float | None, size: int = 1) -> dict[str, Any]:
    """Return the counters of a data server with so many open connections."""
    connections = {"open": opened, "total": 3, "refused": 0, "failed": 0}
    when = None if last_byte is None else NOW + last_byte
    return counters(size, last_byte=when, connections=connections)


def stream(**values: Any) -> dict[str, Any]:
    """Return a session that is streaming, with one connection that transferred its last byte just now."""
    return session(0, **{"counters": carried(1, 0), "expires": None, **values})


class Gateway:
    """A gateway that is asked from time to time."""

    def __init__(self, **limits: float) -> None:
        self.events = GatewayEvents("http://gw/", Limits(**{"stall": 60, "expiring": 100, **limits}))

    def says(self, after: float, *sessions: dict[str, Any]) -> list[str]:
        """Return the types of the events after a report."""
        return [event["type"] for event in self.tells(after, *sessions)]

    def tells(self, after: float, *sessions: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the events after a report."""
        text = json.dumps(info(*sessions)).encode()
        return self.events.report(read_report(text, "", NOW + after))


def test_nothing_happens_to_what_is_right() -> None:
    gateway = Gateway()
    assert [gateway.says(after, stream()) for after in (0, 10, 20)] == [[], [], []]


def test_the_life_of_a_stream() -> None:
    gateway = Gateway()
    reserved = stream(state="reserved", health="waiting", running=False, counters=None, expires=at(50))
    assert gateway.says(0) == []
    assert gateway.says(10, reserved) == []
    (opened,) = gateway.tells(20, stream())
    assert opened["type"] == "opened" and opened["uid"] == stream()["uid"] and opened["role"] == stream()["role"]
    assert opened["gateway"] == info()["gateway"]["name"] and opened["time"] == NOW + 20
    assert gateway.says(30) == ["released"]
    assert gateway.says(40) == []


def test_a_data_server_that_dies_recovers_and_was_restarted() -> None:
    gateway = Gateway()
    gateway.says(0, stream())
    (down,) = gateway.tells(10, dead(0))
    assert down["type"] == "down" and down["reason"] == dead(0)["reason"] and down["health"] == "down"
    assert gateway.says(20, dead(0)) == []
    # While an action is repairing it, nothing is known.
    assert gateway.says(25, dead(0, health="busy")) == []
    (recovered,) = gateway.tells(30, stream())
    assert (recovered["type"], recovered["after"]) == ("recovered", "down")
    assert gateway.says(40, stream(counters={**carried(1, 40), "restarts": 1})) == ["restarted"]


def test_a_stream_stalls_and_goes_on() -> None:
    gateway = Gateway()
    assert gateway.says(0, stream()) == []
    assert gateway.says(59, stream()) == []
    (stalled,) = gateway.tells(61, stream())
    assert (stalled["type"], stalled["seconds"]) == ("stalled", 61)
    assert gateway.says(200, stream()) == []
    assert gateway.says(210, stream(counters=carried(1, 205, 2))) == ["recovered"]
    # Without connections, a stream does not stall, and a new connection has its time.
    idle = stream(counters=carried(0, 205, 2))
    assert [gateway.says(after, idle) for after in (220, 900)] == [[], []]
    again = stream(counters=carried(1, 205, 2))
    assert [gateway.says(after, again) for after in (910, 969, 971)] == [[], [], ["stalled"]]


def test_a_data_server_that_does_not_say_when_it_transferred() -> None:
    gateway = Gateway()
    for after in range(0, 300, 30):
        assert gateway.says(after, stream(counters=carried(1, None, after))) == []
    assert gateway.says(331, stream(counters=carried(1, None, 270))) == ["stalled"]


def test_a_lifetime_that_ends() -> None:
    gateway = Gateway(stall=0)
    assert gateway.says(0, stream(expires=at(150))) == []
    (expiring,) = gateway.tells(55, stream(expires=at(150)))
    assert (expiring["type"], expiring["seconds"]) == ("expiring", 95)
    # It was extended, and comes to its end later.
    assert gateway.says(60, stream(expires=at(300))) == []
    assert gateway.says(250, stream(expires=at(300))) == ["expiring"]
    assert gateway.says(301, stream(health="expired", expires=at(300))) == ["expired"]
    assert gateway.says(310, stream(health="expired", expires=at(300))) == []
    assert gateway.says(320) == []


def test_a_session_that_was_released_because_it_expired() -> None:
    gateway = Gateway(expiring=0)
    gateway.says(0, stream(expires=at(20)))
    assert gateway.says(30) == ["expired"]


def test_problems_that_are_there_from_the_start_are_reported() -> None:
    assert Gateway().says(0, dead(0), stream(expires=at(50), uid="other")) == ["down", "expiring"]
    assert Gateway().says(90, stream()) == ["stalled"]


def test_what_lasts_is_repeated_if_wanted() -> None:
    gateway = Gateway(repeat=100)
    assert [gateway.says(after, dead(0)) for after in (0, 99, 100, 150, 201)] == [["down"], [], ["down"], [], ["down"]]


def test_a_gateway_that_does_not_answer_says_nothing_of_its_streams() -> None:
    gateway = Gateway()
    gateway.says(0, stream())
    (event,) = gateway.events.failure("it is off", NOW + 10)
    name = info()["gateway"]["name"]
    assert event == {"type": "unreachable", "gateway": name, "reason": "it is off", "time": NOW + 10}
    assert gateway.events.failure("it is off", NOW + 20) == []
    assert gateway.says(30, stream()) == ["reachable"]
    assert Gateway().events.failure("it is off", NOW)[0]["gateway"] == "http://gw/"


def test_the_status_page_says_the_same() -> None:
    """Both forms of a report are of the same gateway, so its events must be the same."""
    sessions = [stream(expires=at(50)), dead(1), stream(uid="three", counters=carried(1, -100))]
    answer = info(*sessions)
    document = status_document(Monitor(lambda: answer, clock=lambda: NOW).snapshot())
    found = []
    for text in (json.dumps(answer), json.dumps(document)):
        events = GatewayEvents("", Limits(60, 100))
        found.append(events.report(read_report(text.encode(), "", NOW)))
    assert found[0] == found[1] and [event["type"] for event in found[0]] == ["expiring", "down", "stalled"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("<html>", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "neither"),
        ('{"gateway": {}, "sessions": {}}', "neither"),
        ('{"gateway": [], "sessions": []}', "neither"),
        ('{"gateway": {}, "sessions": [7]}', "not a JSON object"),
        ('{"gateway": {}, "sessions": [{"labels": 7}]}', "not in a known form"),
        ('{"gateway": {}, "sessions": [{"counters": [7]}]}', "not in a known form"),
        ('{"failed": true, "msg": "no store"}', "no store"),
        ('{"error": "S2CS does not answer", "gateway": {}, "sessions": []}', "S2CS does not answer"),
        (" " * (MAX_BYTES + 1), "longer than 16 MiB"),
    ],
)
def test_reports_that_cannot_be_used(text: str, words: str) -> None:
    with pytest.raises(ReportError, match=words):
        read_report(text.encode(), "", NOW)


@pytest.mark.parametrize("value", ["x", [], {}, -1, True, 1e400, "\x1b[2J", None, 10**40])
def test_values_of_a_hostile_gateway_do_no_harm(value: Any) -> None:
    keys = ("name", "state", "health", "reason", "owner", "connections", "transferred", "last_byte", "expires")
    page = {"uid": "u", "role": "producer", "healthy": True, "running": value, "restarts": value}
    plain = stream(counters={"connections": {"open": value}, "bytes": value, "last_byte": value, "restarts": value})
    for item in ({**page, **dict.fromkeys(keys, value)}, plain, stream(expires=value, health=value, reason=value)):
        text = json.dumps({"gateway": {"name": value}, "sessions": [item], "time": value})
        events = GatewayEvents("gw", Limits(60, 100))
        try:
            for _unused in range(2):
                found = events.report(read_report(text.encode(), "", NOW))
                assert "\x1b" not in json.dumps(found) and "\\u001b" not in json.dumps(found)
        except ReportError:
            continue
