# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of a stream with many gateways: its legs, and what is done with these."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.dealt_streams import (
    Dealt,
    deal_streams,
    dealt_plan,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.joined_steps import joined
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import Plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_applied import applied, plan_lines
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_missing import missing
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_opened import opened
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_status import status_lines
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.result_facts import stream_results
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.status_document import status_document
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.status_view import view_status
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import SURPLUS, Stream, leg_uid
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_legs import leg_uids
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_reader import read_streams
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_rounds import Done, Round
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_steps import Step, Wishes, plan_steps
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.throughput import Throughput
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.fleet import Fleet

PRODUCERS, CONSUMERS = ["p-1", "p-2", "p-3"], ["c-1", "c-2", "c-3"]
NOW = datetime.now(timezone.utc)


def described(**changes: Any) -> dict[str, Any]:
    stream: dict[str, Any] = {
        "name": "tomography",
        "producer": {"gateways": PRODUCERS, "listeners": ["10.1.0.5:7000"]},
        "consumer": {"gateways": CONSUMERS},
        "num_conn": 6,
    }
    for key, value in changes.items():
        side, _separator, inner = key.partition("__")
        if inner:
            stream[side] = {**stream[side], inner: value}
        else:
            stream[key] = value
    return stream


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(*PRODUCERS, *CONSUMERS, "p-4")


def dealt(fleet: Fleet, purpose: str = "apply", **changes: Any) -> Dealt:
    """Return what the stream is dealt out to."""
    reads = "release" if purpose in ("release", "drop", "probe", "status") else purpose
    streams = read_streams([described(**changes)], reads, list(fleet.answers))
    return deal_streams(Plan(purpose=purpose, gateways=list(fleet.answers), streams=streams), fleet.answers)


def open_legs(fleet: Fleet, **changes: Any) -> list[Stream]:
    """Open the stream, and return its legs."""
    legs = dealt(fleet, "open", **changes).streams
    for leg in legs:
        fleet.put(leg)
    return legs


def told(found: Dealt) -> list[str]:
    """Return the legs in short."""
    return [
        f"{leg.name} {leg.num_conn} {leg.gateways['producer']} {leg.gateways['consumer']}"
        + ("" if leg.state == "present" else f" {leg.state}")
        for leg in found.streams
    ]


def steps(fleet: Fleet, wishes: Wishes | None = None, **changes: Any) -> list[Step]:
    return plan_steps(dealt(fleet, **changes).streams, fleet.answers, wishes or Wishes(), NOW)


def lines(fleet: Fleet, wishes: Wishes | None = None, **changes: Any) -> list[str]:
    """Return the plan as people read it."""
    return plan_lines(steps(fleet, wishes, **changes))


def test_legs_are_streams_of_their_own(fleet: Fleet) -> None:
    first, *others = dealt(fleet, "open", rate="600Mbit", labels={"run": "7"}, num_conn=6).streams
    uid = read_streams([described()], "open", list(fleet.answers))[0].uid
    assert (first.name, first.uid, first.leg_of, len(others)) == ("tomography/1", leg_uid(uid, 1), uid, 2)
    assert first.labels == {"run": "7", "stream": "tomography/1", "leg_of": uid}
    assert first.rate == "200000000"


def test_a_new_stream_is_opened_as_one(fleet: Fleet) -> None:
    assert lines(fleet) == [
        "tomography: to open: p-1 -> c-1 (2), p-2 -> c-2 (2), p-3 -> c-3 (2)",
        "1 to open",
    ]


@pytest.mark.parametrize("purpose", ["open", "apply"])
def test_what_is_open_is_kept_whatever_the_order_and_the_reports(fleet: Fleet, purpose: str) -> None:
    open_legs(fleet, deal="least_used")
    before = told(dealt(fleet, purpose, deal="least_used"))
    fleet.answers["p-1"]["gateway"]["ports"] = {"used": 90, "total": 101}
    again = dealt(
        fleet, purpose, deal="least_used", producer__gateways=PRODUCERS[::-1], consumer__gateways=["c-3", "c-1", "c-2"]
    )
    assert told(again) == before
    assert (again.notes, again.warnings, again.problems) == ([], [], [])
    assert lines(fleet, deal="least_used") == ["tomography: unchanged", "1 unchanged"]


def test_the_least_used_gateways_get_more(fleet: Fleet) -> None:
    for name, used in (("p-1", 5), ("p-2", 0), ("p-3", 1), ("c-2", 100)):
        fleet.answers[name]["gateway"]["ports"] = {"used": used, "total": 101}
    found = dealt(fleet, "open", deal="least_used")
    assert told(found) == ["tomography/1 3 p-2 c-1", "tomography/2 1 p-2 c-3", "tomography/3 2 p-3 c-3"]
    assert found.notes == [
        "tomography: p-1 gets no connections, as others have more room",
        "tomography: c-2 gets no connections, as others have more room",
    ]
    # What the stream has itself does not count.
    for leg in found.streams:
        fleet.put(leg)
    fleet.answers["p-2"]["gateway"]["ports"]["used"] = 4
    assert told(dealt(fleet, "apply", deal="least_used")) == told(found)


def test_weights(fleet: Fleet) -> None:
    found = dealt(fleet, "open", producer__weights={"p-1": 2, "p-3": 0})
    assert told(found) == ["tomography/1 2 p-1 c-1", "tomography/2 2 p-1 c-2", "tomography/3 2 p-2 c-3"]
    assert found.notes == []


def test_fewer_connections_than_gateways(fleet: Fleet) -> None:
    found = dealt(fleet, "open", num_conn=2)
    assert told(found) == ["tomography/1 1 p-1 c-1", "tomography/2 1 p-2 c-2"]
    assert found.notes == [
        "tomography: p-3 gets no connections, as there are only 2",
        "tomography: c-3 gets no connections, as there are only 2",
    ]


def test_a_lost_gateway_is_replaced(fleet: Fleet) -> None:
    open_legs(fleet)
    kept = list(fleet.sessions("c-2")[0]["listeners"])
    fleet.silence("p-2")
    found = dealt(fleet)
    assert told(found) == ["tomography/1 2 p-1 c-1", "tomography/2 2 p-1 c-2", "tomography/3 2 p-3 c-3"]
    assert found.warnings == ["stream tomography: p-2 does not answer, so others take its part (cannot be reached)"]
    assert lines(fleet) == ["tomography: to repair: its producer side on p-1 is missing", "1 to repair"]
    # The application keeps its addresses.
    assert fleet.sessions("c-2")[0]["listeners"] == kept
    # A gateway that is not used yet takes all of it.
    spare = dealt(fleet, "open", producer__gateways=[*PRODUCERS, "p-4"])
    assert told(spare)[1] == "tomography/2 2 p-4 c-2"


def test_a_gateway_that_returns_without_its_sessions_takes_its_part_again(fleet: Fleet) -> None:
    open_legs(fleet)
    fleet.sessions("p-2").clear()
    assert lines(fleet) == ["tomography: to repair: its producer side on p-2 is missing", "1 to repair"]


def test_a_gateway_that_returns_with_its_sessions_does_not_get_its_part_back(fleet: Fleet) -> None:
    legs = open_legs(fleet)
    fleet.put(Stream.of({**legs[1].document(), "gateways": {"producer": "p-1", "consumer": "c-1"}}))
    fleet.sessions("c-1").pop()
    for session in (fleet.sessions("p-1")[1], fleet.sessions("c-2")[0]):
        session["created"] = "2099-01-01T00:00:00Z"
    # Both sides of the new path fit together.
    new, consumer = fleet.sessions("p-1")[1], fleet.sessions("c-2")[0]
    consumer.update(targets=new["listeners"], peer_certificate=new["certificate"])
    new.update(peer_certificate=consumer["certificate"], clients=[f"{consumer['egress']}/32"])
    (_first, step, _third) = steps(fleet)
    assert (step.action, step.why) == ("repair", ["p-2 has a producer side that is no longer used"])
    assert step.releases == [{"gateway": "p-2", "uid": legs[1].uid, "role": "producer", "described": False}]
    assert "p-2 has a producer side that is no longer used" in dealt(fleet, "open").warnings[0]
    released = dealt(fleet, "release")
    assert [leg.gateways["producer"] for leg in released.streams] == ["p-1", "p-1", "p-3"]
    assert released.others == [{"gateway": "p-2", "uid": legs[1].uid, "role": "producer", "described": True}]
    status = view_status(fleet.answers, (), (), NOW.timestamp())
    (trouble,) = [trouble for trouble in status.troubles if "no longer used" in trouble.problem.message]
    assert (trouble.subject, trouble.problem.command.split()[-3:]) == (
        "tomography/2 (producer, p-2)",
        ["scistream.gateway.streams", "-e", "@streams.yml"],
    )


def test_two_runs_at_once_do_not_release_what_the_other_one_opens(fleet: Fleet) -> None:
    legs = open_legs(fleet)
    fleet.put(Stream.of({**legs[1].document(), "gateways": {"producer": "p-1", "consumer": "c-1"}}))
    fleet.sessions("c-1").pop()
    other = fleet.sessions("p-1")[1]
    assert [step.releases for step in steps(fleet)][1]
    # After a round, it may be what the other run has just opened.
    assert not any(step.acts for step in steps(fleet, Wishes(patient=False)))
    other["state"] = "reserved"
    assert not any(step.acts for step in steps(fleet))


def test_a_gateway_that_is_removed_from_the_description_is_replaced(fleet: Fleet) -> None:
    open_legs(fleet)
    (step,) = [step for step in steps(fleet, producer__gateways=["p-1", "p-3"]) if step.acts]
    assert step.why == ["its producer side on p-1 is missing", "p-2 has a producer side that is no longer used"]
    assert [item["gateway"] for item in step.releases] == ["p-2"]
    # A weight of 0 does the same.
    assert [one.why for one in steps(fleet, producer__weights={"p-2": 0}) if one.acts] == [step.why]


def test_a_lost_gateway_is_omitted(fleet: Fleet) -> None:
    open_legs(fleet)
    fleet.silence("p-2")
    found = dealt(fleet, lost_members="omit")
    assert [(leg.name, leg.state) for leg in found.streams] == [
        ("tomography/1", "present"),
        ("tomography/2", "omitted"),
        ("tomography/3", "present"),
    ]
    assert found.warnings == [
        "stream tomography: p-2 does not answer, so its connections are omitted until it answers (cannot be reached)"
    ]
    assert lines(fleet, Wishes("set", prune=True), lost_members="omit")[-1] == "1 unchanged"
    assert told(dealt(fleet, "open", lost_members="omit")) == ["tomography/1 2 p-1 c-1", "tomography/3 2 p-3 c-3"]
    # The other side of a leg may be lost as well.
    fleet.silence("c-2")
    assert told(dealt(fleet, "open", lost_members="omit")) == ["tomography/1 2 p-1 c-1", "tomography/3 2 p-3 c-3"]


def test_a_new_stream_omits_the_part_of_a_lost_gateway(fleet: Fleet) -> None:
    fleet.silence("p-2")
    assert told(dealt(fleet, "open", lost_members="omit")) == ["tomography/1 2 p-1 c-1", "tomography/3 2 p-3 c-3"]
    assert told(dealt(fleet, "open")) == [
        "tomography/1 2 p-1 c-1",
        "tomography/2 1 p-1 c-2",
        "tomography/3 1 p-3 c-2",
        "tomography/4 2 p-3 c-3",
    ]


def test_no_gateway_of_a_side_answers(fleet: Fleet) -> None:
    open_legs(fleet)
    for name in PRODUCERS:
        fleet.silence(name)
    found = dealt(fleet, "open")
    assert found.problems == [
        'stream "tomography": producer.gateways: none of p-1, p-2, p-3 answers (p-1: cannot be reached)'
    ]
    assert lines(fleet, Wishes("set", prune=True)) == [
        "tomography: left as it is: p-1 does not answer",
        "1 unreachable",
    ]


def test_more_connections_are_added_beside_the_others(fleet: Fleet) -> None:
    open_legs(fleet)
    assert lines(fleet, num_conn=8) == ["tomography: to change: p-1 -> c-1 (1), p-2 -> c-2 (1)", "1 to change"]


def test_fewer_connections(fleet: Fleet) -> None:
    open_legs(fleet)
    assert told(dealt(fleet, num_conn=3)) == [
        "tomography/1 2 p-1 c-1",
        "tomography/2 1 p-2 c-2",
        f"tomography/3 2 p-3 c-3 {SURPLUS}",
    ]
    assert lines(fleet, num_conn=4)[0] == "tomography: to change: it has fewer connections"
    assert "cannot be changed in place: num_conn 2 -> 1" in lines(fleet, num_conn=3)[0]
    assert lines(fleet, Wishes(replace=True), num_conn=3)[-1] == "1 to replace"
    assert dealt(fleet, "open", num_conn=3).problems == [
        'stream "tomography": num_conn: 3 is less than the 6 connections that are open: release it first, or apply the '
        "description with the playbook streams and -e replace=true"
    ]


def test_a_rate_that_is_too_low_for_the_smallest_leg(fleet: Fleet) -> None:
    assert told(dealt(fleet, num_conn=5, rate="40kbit")) == told(dealt(fleet, num_conn=5))
    assert dealt(fleet, num_conn=5, rate="39kbit").problems == [
        'stream "tomography": rate: 39kbit is too low: it is divided among the legs by their numbers of connections, '
        "so it must be at least 40000 bits per second for num_conn 5"
    ]


def test_a_gateway_that_is_added_gets_nothing_until_something_is_dealt(fleet: Fleet) -> None:
    open_legs(fleet)
    four = [*PRODUCERS, "p-4"]
    assert dealt(fleet, producer__gateways=four).notes == [
        "tomography: p-4 gets no connections, as the open stream keeps those that it has"
    ]
    assert lines(fleet, producer__gateways=four)[-1] == "1 unchanged"
    more = told(dealt(fleet, num_conn=8, producer__gateways=four))
    assert more[3:] == ["tomography/4 1 p-4 c-1", "tomography/5 1 p-4 c-2"]


def test_changes_are_those_of_all_legs(fleet: Fleet) -> None:
    open_legs(fleet)
    assert lines(fleet, rate="6Gbit") == ["tomography: to change: rate unlimited -> 2Gbit", "1 to change"]


def test_absent(fleet: Fleet) -> None:
    absent: dict[str, Any] = {"state": "absent"}
    assert lines(fleet, **absent) == ["tomography: unchanged", "1 unchanged"]
    open_legs(fleet)
    assert lines(fleet, **absent) == ["tomography: to release: its state is absent", "1 to release"]
    assert all(len(step.releases) == 2 for step in steps(fleet, **absent))
    # Sessions may be on the gateway that does not answer.
    for name in PRODUCERS + CONSUMERS:
        fleet.silence(name)
    assert lines(fleet, **absent) == ["tomography: left as it is: p-1 does not answer", "1 unreachable"]


def test_what_is_no_longer_described_is_pruned_as_one(fleet: Fleet) -> None:
    open_legs(fleet, labels={"stream_set": "beamline-2"})
    found = plan_steps([], fleet.answers, Wishes("beamline-2", prune=True), NOW)
    assert plan_lines(found) == ["tomography: to release: it is not in the stream set beamline-2", "1 to release"]


def test_the_uid_of_the_stream_stands_for_its_legs(fleet: Fleet) -> None:
    uid = open_legs(fleet)[0].leg_of
    three = [leg_uid(uid, number) for number in (1, 2, 3)]
    assert leg_uids([uid.upper(), "nonsense", leg_uid(uid, 1)], fleet.answers) == three
    plan = Plan(purpose="release", gateways=list(fleet.answers), uids=[uid])
    assert dealt_plan(plan, Dealt(), fleet.answers, str).uids == three
    assert missing(fleet.answers, [uid], strict=True) == []
    status = view_status(fleet.answers, [uid], (), NOW.timestamp())
    assert [stream.name for stream in status.streams] == ["tomography"]


def test_each_leg_is_probed(fleet: Fleet) -> None:
    legs = open_legs(fleet)
    plan = Plan(purpose="probe", gateways=list(fleet.answers), streams=[], probes={legs[0].leg_of: "x"})
    made = dealt_plan(plan, dealt(fleet, "probe"), fleet.answers, lambda: "new")
    assert made.probes == {leg.uid: "new" for leg in legs}


def test_a_gateway_cannot_make_other_sessions_legs(fleet: Fleet) -> None:
    legs = open_legs(fleet)
    fleet.sessions("p-4").append({**fleet.sessions("p-1")[0], "uid": "1b4e28ba-2fa1-41d2-883f-0016d3cca427"})
    released = dealt(fleet, "release")
    assert {leg.uid for leg in released.streams} == {leg.uid for leg in legs} and not released.others
    status = view_status(fleet.answers, (), (), NOW.timestamp())
    assert [stream.name for stream in status.streams] == ["tomography", "tomography/1"]
    # A gateway that is not described does not get secrets.
    fleet.sessions("p-4")[0]["uid"] = legs[0].uid
    assert dealt(fleet, "release").others == [
        {"gateway": "p-4", "uid": legs[0].uid, "role": "producer", "described": False}
    ]


@pytest.mark.parametrize(
    "answer",
    [
        {"sessions": 7},
        {"sessions": [7]},
        {"sessions": [{"uid": []}]},
        {"sessions": None},
        {"sessions": [], "orphans": [{}]},
    ],
)
def test_answers_of_an_unknown_form(fleet: Fleet, answer: dict[str, Any]) -> None:
    open_legs(fleet)
    fleet.answers["p-4"] = answer
    assert len(dealt(fleet).streams) == 3
    fleet.answers["p-1"]["sessions"][0]["num_conn"] = answer
    fleet.answers["c-1"]["sessions"][0]["num_conn"] = -5
    assert len(dealt(fleet).streams) == 3


def test_reports_and_results(fleet: Fleet) -> None:
    legs = open_legs(fleet)
    first, *paths = opened(legs, [fleet.answers], "open")
    assert first.startswith(
        "tomography: streaming (s2ds in process, 6 listeners over 3 producer and 3 consumer gateways, uid "
    )
    assert paths[0].startswith("  consumer connects to 203.0.113.104:5200-5201 (c-1, source address ")
    assert paths[-1] == "  encryption between the gateways: tls, each verifies the certificate of the other"
    found = stream_results(legs, [fleet.answers], "open")
    assert list(found) == ["tomography"] and list(found["tomography"]["legs"]) == [leg.name for leg in legs]
    one = found["tomography"]
    assert one["gateways"] == {"producer": PRODUCERS, "consumer": CONSUMERS}
    assert one["connect_to"] == [
        *("203.0.113.104:5200", "203.0.113.105:5202", "203.0.113.106:5204"),
        *("203.0.113.104:5201", "203.0.113.105:5203", "203.0.113.106:5205"),
    ]
    done = Round(steps(fleet), done={leg.uid: Done("open") for leg in legs})
    assert applied(done, legs, fleet.answers) == [
        "tomography: opened, the consumer connects to 203.0.113.104:5200, 203.0.113.105:5202, 203.0.113.106:5204, "
        "203.0.113.104:5201 and 2 more",
        "1 opened",
    ]


def test_what_a_status_shows(fleet: Fleet) -> None:
    legs = open_legs(fleet)
    for number, name in enumerate(CONSUMERS, 1):
        (session,) = fleet.sessions(name)
        session["counters"] = {
            "running": True,
            "exact": True,
            "connections": {"open": number, "total": 10},
            "bytes": {"to_consumer": 1 << 20, "to_producer": 0},
        }
        session["running"] = True
        session["samples"] = [
            {"time": 100.0, "to_consumer": 0, "to_producer": 0},
            {"time": 101.0, "to_consumer": 1_000_000, "to_producer": 0},
        ]
    for name in PRODUCERS:
        fleet.sessions(name)[0].update(running=True, rate=10**9)
    status = view_status(fleet.answers, (), (), NOW.timestamp())
    text = ["".join(part for part, _style in line) for line in status_lines(status)]
    (row,) = [line for line in text if line.startswith("tomography ")]
    assert re.split(" {2,}", row)[1:6] == ["streaming", "ok", "24.0 Mbit/s", "3.0 MiB", "6/30"]
    assert any("; at most 3.0 Gbit/s; uid " in line for line in text)
    below = [line.strip() for line in text if line.strip().startswith("tomography/")]
    assert [line.partition(":")[0] for line in below] == [leg.name for leg in legs]
    assert "203.0.113.104:5200-5201 (c-1) -> 203.0.113.101:5100-5101 (p-1) -> 10.1.0.5:7000" in below[0]
    throughput = Throughput()
    throughput.add([part for stream in status.streams for part in stream.parts], status.time)
    document = status_document(status, throughput)
    (one,) = document["streams"]
    assert (one["name"], one["connections"], document["totals"]["open"]) == ("tomography", {"open": 6, "total": 30}, 6)
    assert one["gateways"] == {"producer": PRODUCERS, "consumer": CONSUMERS} and len(one["legs"]) == 3
    assert max(document["history"]["to_consumer"]) == 3_000_000
    # A leg that is down is a problem of the stream.
    fleet.sessions("p-1")[0].update(health="down", running=False)
    broken = view_status(fleet.answers, (), (), NOW.timestamp())
    assert broken.troubled() == {legs[0].leg_of}
    shown = ["".join(part for part, _style in line) for line in status_lines(broken, "problems")]
    assert shown[0] == "1 stream, 1 with problems"


def test_actions_of_legs_are_one_action() -> None:
    def action(*actions: str) -> str:
        ((step, _done),) = joined([Step("a/1", str(n), each, leg_of="x") for n, each in enumerate(actions)])
        return step.action

    assert action("open", "open") == "open"
    assert action("open", "unchanged") == "change"
    assert action("repair", "unchanged", "open") == "repair"
    assert action("release", "unchanged") == "change"
    assert action("release", "release") == "release"
    assert action("kept", "release") == "kept"
    assert action("refused", "repair") == "refused"
