# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has to be done for gateways to match a description."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import make_credentials, not_after
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_applied import left_alone, plan_lines
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_steps import Step, Wishes, left_in_set
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.descriptions import description
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.fleet import SET, Fleet, read

Change = Callable[[dict[str, Any]], Any]


def only(fleet: Fleet, **more: Any) -> Step:
    """Return the step of the only stream."""
    (step,) = fleet.steps(description(**more.pop("stream", {})), **more)
    return step


@pytest.fixture
def fleet() -> Fleet:
    """Gateways on which the stream is open as described."""
    return Fleet().opened(description())


def test_what_is_missing_is_opened_by_the_run_that_reserves_the_producer_side() -> None:
    step = only(Fleet())
    assert (step.action, step.why, step.decides) == ("open", ["gw-a -> gw-b"], "producer")


def test_what_is_right_is_left_alone(fleet: Fleet) -> None:
    step = only(fleet)
    assert (step.action, step.why, step.acts) == ("unchanged", [], False)


def test_what_is_right_needs_no_details() -> None:
    stream = description(
        num_conn=2,
        rate="1Gbit",
        lifetime="12h",
        proxy="s2ds",
        runtime="process",
        transport="tcp",
        labels={"run": 7},
        producer__listeners=["10.1.0.5:7000", "10.1.0.6:7000"],
        consumer__clients=["10.2.0.6", "10.2.0.5"],
        consumer__address="198.51.100.0/24",
    )
    fleet = Fleet().opened(stream)
    fleet.sessions("gw-b")[0]["clients"].reverse()
    assert fleet.steps(stream)[0].why == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rate": "2.5Gbit"}, ["rate unlimited -> 2.5Gbit"]),
        ({"lifetime": "30m"}, ["lifetime unlimited -> 1800s"]),
        ({"labels": {"run": 8}}, ["labels.run none -> 8"]),
        ({"producer__listeners": ["10.1.0.6:7000"]}, ["listeners 10.1.0.5:7000 -> 10.1.0.6:7000"]),
        ({"consumer__clients": ["10.2.0.5"]}, ["clients any -> 10.2.0.5/32"]),
        ({"consumer__address": "203.0.113.7"}, ["address 198.51.100.7/32 -> 203.0.113.7/32"]),
        ({"rate": "8k", "labels": {"run": 8}}, ["rate unlimited -> 8kbit", "labels.run none -> 8"]),
    ],
)
def test_what_differs_is_changed_in_place(fleet: Fleet, changes: dict[str, Any], why: list[str]) -> None:
    step = only(fleet, stream=changes)
    assert (step.action, step.why, step.decides, step.releases) == ("change", why, "", [])


@pytest.mark.parametrize("proxy", ["haproxy", "nginx"])
def test_a_rate_that_open_connections_do_not_get(proxy: str) -> None:
    fleet = Fleet().opened(description(proxy=proxy, encryption="none", rate="1Gbit"))
    (step,) = fleet.steps(description(proxy=proxy, encryption="none", rate="2Gbit"))
    assert (step.action, step.why) == ("change", ["rate 1Gbit -> 2Gbit for new connections"])


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ({"rate": "1Gbit"}, ["rate 1Gbit -> unlimited"]),
        ({"labels": {"run": 7}}, ["labels.run 7 -> none"]),
        ({"consumer__clients": ["10.2.0.5"]}, ["clients 10.2.0.5/32 -> any"]),
        ({"lifetime": "12h"}, []),
    ],
)
def test_what_was_removed_from_the_description(before: dict[str, Any], why: list[str]) -> None:
    assert only(Fleet().opened(description(**before))).why == why


def test_clients_of_the_policy_apply_where_none_are_described(fleet: Fleet) -> None:
    fleet.answers["gw-b"]["gateway"]["clients"] = {"consumer": ["10.2.0.0/16"]}
    assert only(fleet).why == ["clients any -> 10.2.0.0/16"]
    # The policy has an error there.
    fleet.answers["gw-b"]["gateway"]["clients"] = None
    assert only(fleet).action == "unchanged"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"num_conn": 2}, "num_conn 1 -> 2"),
        ({"encryption": "none"}, "encryption tls -> none"),
        ({"proxy": "haproxy"}, "proxy s2ds -> haproxy"),
        ({"runtime": "docker"}, "runtime process -> docker"),
        ({"consumer__ports": 5300}, "consumer.ports 5200 -> 5300"),
    ],
)
def test_what_cannot_be_changed_is_replaced_on_demand_only(fleet: Fleet, changes: dict[str, Any], why: str) -> None:
    step = only(fleet, stream=changes)
    assert (step.action, step.why, step.acts) == ("kept", [why], False)
    step = only(fleet, stream=changes, replace=True)
    assert (step.action, step.why, step.decides) == ("replace", [why], "producer")
    assert [(item["gateway"], item["role"], item["described"]) for item in step.releases] == [
        ("gw-a", "producer", True),
        ("gw-b", "consumer", True),
    ]


def test_a_lifetime_cannot_exceed_the_certificates(fleet: Fleet) -> None:
    assert only(fleet, stream={"lifetime": "364d"}).action == "change"
    step = only(fleet, stream={"lifetime": "1000d"})
    assert (step.action, step.why) == ("kept", ["lifetime unlimited -> 86400000s"])


def test_an_expired_certificate_requires_another_session(fleet: Fleet) -> None:
    end = not_after(fleet.session("producer")["certificate"])
    step = only(fleet, now=end + timedelta(seconds=1))
    assert step.action == "kept"
    assert step.why[0] == f"the certificate of its producer side expired at {end:%Y-%m-%d %H:%M:%SZ}"


def other_certificate(session: dict[str, Any]) -> None:
    session["certificate"] = make_credentials(session["uid"], session["role"]).certificate


@pytest.mark.parametrize(
    ("role", "damage", "why"),
    [
        ("consumer", {"health": "down", "reason": "it exited."}, "the data server is down on gw-b (it exited)"),
        ("producer", {"health": "unfinished"}, "an action was killed on gw-a"),
        ("consumer", {"targets": ["192.0.2.1:5199"]}, "gw-b does not forward to the listeners of gw-a"),
        ("producer", {"targets": ["10.1.0.9:1"]}, "gw-a does not forward to the listeners that were announced"),
        ("producer", other_certificate, "gw-b does not have the certificate of gw-a"),
        ("consumer", {"peer_certificate": None}, "gw-b does not have the certificate of gw-a"),
    ],
)
def test_drift_is_repaired(fleet: Fleet, role: str, damage: Any, why: str) -> None:
    session = fleet.session(role)
    damage(session) if callable(damage) else session.update(damage)
    step = only(fleet)
    assert (step.action, step.why, step.decides, step.waits) == ("repair", [why], "", False)


@pytest.mark.parametrize(("role", "gateway"), [("producer", "gw-a"), ("consumer", "gw-b")])
@pytest.mark.parametrize("gone", ["released", "expired", "orphan"])
def test_a_side_that_is_gone_is_repaired(fleet: Fleet, role: str, gateway: str, gone: str) -> None:
    session = fleet.session(role)
    if gone == "expired":
        session["state"] = "expired"
    else:
        fleet.sessions(gateway).clear()
    if gone == "orphan":
        fleet.answers[gateway]["orphans"] = [{"uid": session["uid"], "role": role, "running": True}]
    step = only(fleet)
    assert (step.action, step.why, step.decides) == ("repair", [f"its {role} side on {gateway} is missing"], role)


def test_changes_are_shown_with_repairs(fleet: Fleet) -> None:
    fleet.session("consumer")["health"] = "down"
    assert only(fleet, stream={"rate": "1Gbit"}).why == [
        "the data server is down on gw-b",
        "rate unlimited -> 1Gbit",
    ]


@pytest.mark.parametrize("state", [{"state": "reserved", "health": "waiting"}, {"health": "busy"}])
def test_what_another_run_may_be_opening_is_left_to_it_at_first(fleet: Fleet, state: dict[str, Any]) -> None:
    fleet.session("consumer").update(state)
    step = only(fleet)
    assert (step.action, step.acts) == ("unopened", False)
    step = only(fleet, patient=False)
    assert (step.action, step.sends, step.waits) == ("repair", True, True)


def test_a_row_that_cannot_be_read_is_replaced(fleet: Fleet) -> None:
    session = fleet.sessions("gw-a").pop()
    fleet.answers["gw-a"]["unreadable"] = [{"uid": session["uid"], "role": "producer", "why": "it is not JSON"}]
    assert only(fleet).why == ["the session store cannot read its producer side"]
    assert len(only(fleet, replace=True).releases) == 2


def test_names_are_resolved_again() -> None:
    stream = description(producer__listeners=["daq.example.org:7000"])
    (step,) = Fleet().opened(stream).steps(stream)
    assert (step.action, step.renewed, step.sends) == ("unchanged", True, True)
    six = description(producer__listeners=["[2001:db8::a]:7000"])
    assert not Fleet().opened(six).steps(six)[0].renewed


def test_absent_streams_are_released(fleet: Fleet) -> None:
    gone = {"state": "absent", "producer": {"gateway": "gw-a"}, "consumer": {"gateway": "gw-b"}}
    step = only(fleet, stream=gone)
    assert (step.action, len(step.releases), step.why) == ("release", 2, ["its state is absent"])
    fleet.session("producer")["state"] = "expired"
    assert [item["role"] for item in only(fleet, stream=gone).releases] == ["consumer"]
    assert only(Fleet(), stream=gone).action == "unchanged"


def test_a_gateway_that_does_not_answer_concerns_its_streams_only(fleet: Fleet) -> None:
    fleet.silence("gw-c")
    away = description(name="away", consumer__gateway="gw-c")
    gone = description(name="gone", state="absent", consumer__gateway="gw-c")
    here, there, released = fleet.steps(description(), away, gone)
    assert (here.action, there.action, released.action) == ("unchanged", "unreachable", "unreachable")
    assert there.why == ["gw-c does not answer"] and not there.acts
    # What can be released is released.
    fleet.opened(gone).silence("gw-c")
    assert [item["gateway"] for item in fleet.steps(gone)[0].releases] == ["gw-a"]


def test_only_what_has_the_name_of_the_set_is_pruned() -> None:
    fleet = Fleet().opened(description()).opened(description(name="old"))
    fleet.opened(description(name="foreign"), stream_set="beamline-3").opened(description(name="plain"), stream_set="")
    assert [step.name for step in fleet.steps(description())] == ["tomography"]
    _kept, old = fleet.steps(description(), prune=True)
    assert (old.name, old.action, old.why) == ("old", "release", [f"it is not in the stream set {SET}"])
    assert [(item["gateway"], item["described"]) for item in old.releases] == [("gw-a", False), ("gw-b", False)]
    assert [step.name for step in fleet.steps(prune=True)] == ["old", "tomography"]


def test_what_is_pruned_is_shown_in_the_order_of_the_numbers() -> None:
    fleet = Fleet()
    for name in ("scan-10", "scan-9", "9", "scan", "scan-9b"):
        fleet.opened(description(name=name))
    assert [step.name for step in fleet.steps(prune=True)] == ["scan", "scan-9", "scan-9b", "scan-10", "9"]


def test_a_gateway_cannot_make_others_release_what_is_not_of_the_set(fleet: Fleet) -> None:
    victim = Fleet().opened(description(name="victim"), stream_set="")
    for name in ("gw-a", "gw-b"):
        fleet.sessions(name).extend(victim.sessions(name))
    claimed = {**victim.session("producer"), "labels": {"stream": "victim", "stream_set": SET}}
    fleet.sessions("gw-c").append(claimed)
    _kept, step = fleet.steps(description(), prune=True)
    assert [(item["gateway"], item["described"]) for item in step.releases] == [("gw-c", False)]
    (step,) = fleet.steps(description(name="victim", consumer__gateway="gw-c"), replace=True)
    assert {item["gateway"] for item in step.releases} == {"gw-c"}


def test_a_stream_with_other_gateways_is_moved_on_demand_only(fleet: Fleet) -> None:
    moved = description(consumer__gateway="gw-c")
    for prune in (False, True):
        (step,) = fleet.steps(moved, prune=prune)
        assert (step.action, step.why) == ("kept", ["consumer.gateway gw-b -> gw-c"])
    (step,) = fleet.steps(moved, replace=True)
    assert (step.action, [item["gateway"] for item in step.releases]) == ("replace", ["gw-a", "gw-b"])
    assert not any(item["described"] for item in step.releases)
    # A remainder of it is pruned.
    fleet.opened(moved)
    assert [step.action for step in fleet.steps(moved, prune=True)] == ["unchanged", "release"]
    assert [step.action for step in fleet.steps(moved)] == ["unchanged"]


def test_without_a_set_nothing_is_known_about_other_gateways() -> None:
    fleet = Fleet().opened(description(), stream_set="")
    assert fleet.steps(description(consumer__gateway="gw-c"), stream_set="")[0].action == "open"


def test_connections_that_are_cut_are_told(fleet: Fleet) -> None:
    for role, number in (("producer", 2), ("consumer", 3)):
        fleet.session(role)["counters"] = {"connections": {"open": number, "total": 9}}
    gone = only(fleet, stream={"state": "absent"})
    assert gone.why == ["its state is absent", "this cuts 3 open connections"]
    assert fleet.steps(prune=True)[0].why[1:] == ["this cuts 3 open connections"]
    larger = {"num_conn": 2}
    assert only(fleet, stream=larger, replace=True).why == ["num_conn 1 -> 2", "this cuts 3 open connections"]
    assert only(fleet, stream=larger).why == ["num_conn 1 -> 2"]
    # The data server does not answer.
    for role in ("producer", "consumer"):
        fleet.session(role)["counters"] = {"connections": {"open": None}}
    assert only(fleet, stream={"state": "absent"}).why == ["its state is absent"]


def test_the_plan_as_a_person_reads_it(fleet: Fleet) -> None:
    fleet.opened(description(name="larger")).opened(description(name="old"))
    steps = fleet.steps(
        description(), description(name="new"), description(name="larger", num_conn=4), prune=True, replace=False
    )
    assert plan_lines(steps) == [
        "tomography: unchanged",
        "new: to open: gw-a -> gw-b",
        "larger: cannot be changed in place: num_conn 1 -> 4; -e replace=true releases it and opens it again",
        f"old: to release: it is not in the stream set {SET}",
        "1 to open, 1 to release, 1 unchanged, 1 cannot be changed in place",
    ]
    assert plan_lines(steps, everything=False) == plan_lines(steps)[1:]
    assert plan_lines([]) == ["no streams"]


def test_what_prune_would_release_is_told(fleet: Fleet) -> None:
    fleet.opened(description(name="old"))

    def told(*names: str, **options: Any) -> list[str]:
        streams = read(*(description(name=name) for name in names))
        return left_alone(left_in_set(streams, fleet.answers, Wishes(SET, **options)), SET)

    assert told("tomography", "old") == told("tomography", prune=True) == []
    assert told("tomography") == [
        f"old: left alone: in the stream set {SET}, but not described; -e prune=true releases it"
    ]
    assert told("other")[0].startswith("old, tomography: left alone: ") and told("other")[0].endswith("releases them")
    assert left_in_set(read(description()), fleet.answers, Wishes("")) == []


def test_forty_streams_with_as_many_connections_each_are_compared_at_once() -> None:
    streams = [description(name=f"stream-{number}", num_conn=64) for number in range(40)]
    fleet = Fleet()
    for stream in streams:
        fleet.opened(stream)
    assert {step.action for step in fleet.steps(*streams, prune=True)} == {"unchanged"}


def test_foreign_text_is_harmless(fleet: Fleet) -> None:
    fleet.session("producer").update(health="down\x1b[2J", reason="\x1b]0;x\x07" * 1000)
    fleet.session("consumer")["labels"]["stream_set"] = "\x1b"
    step = only(fleet)
    assert "\x1b" not in " ".join(step.why)
    fleet.session("producer").update(health="down", reason="first\nother: to open")
    assert len(plan_lines([only(fleet)])) == len("\n".join(plan_lines([only(fleet)])).splitlines()) == 2


def test_no_time_zone_is_assumed() -> None:
    assert read(description())[0].uid
    assert Fleet().opened(description()).steps(description(), now=datetime.now(timezone.utc))[0].why == []
