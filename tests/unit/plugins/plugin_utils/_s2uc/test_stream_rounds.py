# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rounds of a run that makes gateways match a description, and its report."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_applied import (
    applied,
    differing,
    plan_lines,
    unanswered,
    unencrypted,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.round_answers import Sent
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_rounds import (
    Round,
    given_round,
    next_round,
    predicted,
)
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.descriptions import description
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.fleet import Fleet, read

NEW = description(name="new")
OLD = description(name="old")
UIDS = {stream.name: stream.uid for stream in read(NEW, OLD)}
DO_NOT = "The gateways do not match the description of all streams:"


class Run:
    """A run on a fleet: each round is told what the gateways answered meanwhile."""

    def __init__(self, fleet: Fleet, *streams: dict[str, Any], **wishes: Any) -> None:
        self.fleet, self.streams, self.wishes = fleet, streams, wishes
        self.now = Round(fleet.steps(*streams, **wishes))

    def carry_out(self, **answers: Any) -> Run:
        """Go on to the next round. Of messages without an answer it is only known that they were not refused."""
        sent = Sent(**{name: answers.get(name, {}) for name in ("release", "request", "hello", "update", "undo")})
        steps = self.fleet.steps(*self.streams, patient=False, **self.wishes)
        silent = [name for name, answer in self.fleet.answers.items() if answer.get("refused")]
        self.now = next_round(self.now, steps, read(*self.streams), sent, silent)
        return self

    def acts(self) -> bool:
        return self.now.acts

    def waits(self) -> bool:
        return self.now.waits > 0

    def actions(self) -> list[str]:
        return [step.action for step in self.now.steps]

    def report(self) -> list[str]:
        return applied(self.now, read(*self.streams), self.fleet.answers)

    def wrong(self) -> list[str]:
        return differing(self.now, self.fleet.answers)


def created(*names: str, role: str = "producer") -> dict[str, Any]:
    return {"new_sessions": [{"uid": UIDS[name], "role": role} for name in names]}


def refused(name: str, msg: str = "no", **more: Any) -> dict[str, Any]:
    failed = [{"uid": UIDS[name], "role": "producer", "msg": msg}]
    return {"refused": True, "msg": msg, "failed_sessions": failed, **more}


def test_a_run_that_goes_well() -> None:
    run = Run(Fleet().opened(description(name="third")), NEW, description(name="third", rate="1Gbit"))
    assert run.acts() and not run.waits()
    run.fleet.opened(NEW)
    for role in ("producer", "consumer"):
        run.fleet.session(role)["rate"] = 10**9
    run.carry_out(request={"gw-a": created("new"), "gw-b": created("new", role="consumer")})
    assert not run.acts() and run.wrong() == []
    assert run.report() == [
        "new: opened, the consumer connects to 198.51.100.7:5201",
        "third: changed: rate unlimited -> 1Gbit",
        "1 opened, 1 changed",
    ]


def test_totals_of_released_streams() -> None:
    run = Run(Fleet().opened(OLD), prune=True)
    counters = {"connections": {"total": 3, "open": 0}, "bytes": {"to_consumer": 2048, "to_producer": 0}}
    entries = [{"uid": UIDS["old"], "role": role, "counters": counters} for role in ("consumer", "producer")]
    entries[1] = {**entries[1], "counters": {}}
    for name in ("gw-a", "gw-b"):
        run.fleet.sessions(name).clear()
    run.carry_out(release={"gw-a": {"released": entries[1:]}, "gw-b": {"released": entries[:1]}})
    assert run.report() == [
        "old: released: 3 connections in all, 2.0 KiB to the consumer, 0 B to the producer",
        "1 released",
    ]
    assert run.wrong() == []


def test_a_refused_stream_does_not_hold_up_others() -> None:
    run = Run(Fleet(), NEW, OLD)
    run.carry_out(request={"gw-a": refused("old", "clients: not allowed"), "gw-b": {}})
    assert run.actions() == ["open", "refused"] and run.acts()
    assert [step.uid for step in run.now.steps if step.sends] == [UIDS["new"]]
    run.fleet.opened(NEW)
    run.carry_out(request={"gw-a": created("new"), "gw-b": {}})
    assert run.report()[-1] == "1 opened, 1 refused"
    assert run.wrong() == [DO_NOT, "  old: gw-a: producer: clients: not allowed"]


def test_streams_that_are_refused_one_by_one() -> None:
    names = [f"bad-{number}" for number in range(5)]
    streams = [NEW, *(description(name=name) for name in names)]
    run = Run(Fleet(), *streams)
    uids = {step.name: step.uid for step in run.now.steps}
    for number, name in enumerate(names):
        failed = [{"uid": uids[name], "role": "producer", "msg": "no"}]
        run.carry_out(request={"gw-a": {"refused": True, "msg": "no", "failed_sessions": failed}})
        assert run.actions().count("refused") == number + 1 and run.acts()
    run.fleet.opened(NEW)
    run.carry_out(request={"gw-a": created("new")})
    assert run.report()[-1] == "1 opened, 5 refused" and not run.acts()


def test_rounds_end() -> None:
    run = Run(Fleet(), NEW)
    stopped = {"gw-c": {"refused": True, "msg": "no reason that concerns a stream"}}
    while run.acts():
        run.carry_out(request=stopped)
    assert run.now.number == 9
    assert run.wrong() == [DO_NOT, "  new: still to open: gw-a -> gw-b"]


def test_a_gateway_that_is_lost_in_the_middle_does_not_hold_up_others() -> None:
    away = description(name="away", consumer__gateway="gw-c")
    run = Run(Fleet(), NEW, away)
    run.fleet.silence("gw-c")
    run.carry_out(request={"gw-a": created("new"), "gw-c": {"refused": True, "lost": True, "msg": "timed out"}})
    assert run.actions() == ["open", "refused"]
    assert run.now.steps[1].why == ["gw-c: timed out"]
    run.fleet.opened(NEW)
    run.carry_out(request={"gw-a": created("new")})
    assert run.report()[-1] == "1 opened, 1 refused"


def test_the_reason_of_a_gateway_is_told_once() -> None:
    fleet = Fleet().silence("gw-a")
    run = Run(fleet, NEW, OLD)
    assert not run.acts()
    assert run.wrong() == [DO_NOT, "  new, old: left as it is: gw-a does not answer", "  gw-a: cannot be reached"]


def test_a_gateway_that_does_not_answer_may_have_something_to_prune() -> None:
    fleet = Fleet().opened(OLD).silence("gw-c")
    now = Run(fleet, OLD, prune=True).now
    assert differing(now, fleet.answers) == []
    assert differing(now, fleet.answers, prune=True) == [DO_NOT, "  gw-c: cannot be reached"]


def test_problems_of_pairs_concern_their_streams() -> None:
    run = Run(Fleet(), NEW, OLD)
    problem = 'stream "old": its gateways use haproxy and stunnel'
    run.carry_out(update={name: {"refused": True, "problems": [problem], "msg": problem} for name in ("gw-a", "gw-b")})
    assert run.actions() == ["open", "refused"]
    assert run.now.steps[1].why == ["its gateways use haproxy and stunnel"]


def test_a_change_that_is_refused_leaves_the_stream_open() -> None:
    run = Run(Fleet().opened(OLD), description(name="old", rate="1Gbit"))
    run.carry_out(request={"gw-a": refused("old", "rate: haproxy has no limit", alone=True)})
    assert not run.acts()
    assert run.wrong() == [DO_NOT, "  old: gw-a: producer: rate: haproxy has no limit"]


def test_a_release_that_is_refused() -> None:
    run = Run(Fleet().opened(OLD), prune=True)
    run.carry_out(release={"gw-a": refused("old", "it is of ann")})
    assert run.wrong() == [DO_NOT, "  old: gw-a: producer: it is of ann"]
    # The sessions are gone, but not by this run.
    run = Run(Fleet().opened(OLD), prune=True)
    run.fleet.silence("gw-a").silence("gw-b")
    run.carry_out(release={"gw-a": {"refused": True, "lost": True, "msg": "timed out"}})
    assert run.wrong() == [DO_NOT, "  old: gw-a: timed out"]
    run.carry_out()
    assert run.wrong() == [DO_NOT, "  old: gw-a: timed out"]


def test_what_is_gone_although_its_release_was_refused_is_released() -> None:
    run = Run(Fleet().opened(OLD), NEW, prune=True)
    for name in ("gw-a", "gw-b"):
        run.fleet.sessions(name).clear()
    run.fleet.opened(NEW)
    run.carry_out(release={"gw-a": refused("old", "the gateway lost its store")}, request={"gw-a": created("new")})
    assert run.wrong() == [] and run.report()[-1] == "1 opened, 1 released"
    run.carry_out()
    assert run.report()[-1] == "1 opened, 1 released"


def test_a_stream_that_another_run_opens_is_left_to_it() -> None:
    run = Run(Fleet(), NEW)
    run.fleet.opened(NEW)
    # The other run reserved the producer side first, this one the consumer side.
    run.carry_out(request={"gw-a": {"new_sessions": []}, "gw-b": created("new", role="consumer")})
    assert not run.acts() and run.wrong() == []
    assert run.report() == ["new: opened by another run at the same time", "1 unchanged"]


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ({}, ["new: opened by another run at the same time", "1 unchanged"]),
        ({"changed_sessions": [{"uid": UIDS["new"], "role": "producer"}]}, ["1 opened"]),
    ],
    ids=["the other run finishes", "the other run was killed"],
)
def test_a_stream_that_another_run_is_still_opening_is_looked_at_again(second: dict[str, Any], told: list[str]) -> None:
    run = Run(Fleet(), NEW)
    run.fleet.opened(NEW)
    for role in ("producer", "consumer"):
        run.fleet.session(role).update(state="announced", health="waiting")
    run.carry_out(request={"gw-a": {"new_sessions": []}, "gw-b": {"new_sessions": []}})
    assert run.acts()
    for role in ("producer", "consumer"):
        run.fleet.session(role).update(state="streaming", health="ok")
    run.carry_out(request={"gw-a": {}, "gw-b": {}}, update={"gw-a": second, "gw-b": {}})
    assert run.report()[-len(told) :] == told and run.wrong() == []


def test_the_run_that_reserved_the_producer_side_continues_with_the_consumer_side_of_another() -> None:
    run = Run(Fleet(), NEW)
    run.fleet.opened(NEW)
    run.carry_out(request={"gw-a": created("new"), "gw-b": {"new_sessions": []}})
    assert run.report()[-1] == "1 opened"


def test_a_refused_change_does_not_hide_who_opens_a_stream() -> None:
    run = Run(Fleet().opened(OLD), description(name="old", rate="1Gbit"), NEW)
    run.fleet.opened(NEW)
    run.carry_out(request={"gw-a": refused("old", "no limits", alone=True, new_sessions=[])})
    assert run.report() == ["new: opened by another run at the same time", "1 unchanged, 1 refused"]


def test_another_run_that_opens_it_otherwise_is_told_about() -> None:
    run = Run(Fleet(), description(name="new", rate="1Gbit"))
    run.fleet.opened(NEW)
    run.carry_out(request={"gw-a": {"new_sessions": []}})
    assert not run.acts()
    text = "another run changed it at the same time: rate unlimited -> 1Gbit; run again to change it"
    assert run.wrong() == [DO_NOT, f"  new: {text}"]


def test_another_run_that_does_not_finish_is_taken_over() -> None:
    run = Run(Fleet().opened(NEW), NEW)
    for role in ("producer", "consumer"):
        run.fleet.session(role).update(state="reserved", health="waiting")
    run = Run(run.fleet, NEW)
    assert run.actions() == ["unopened"] and run.acts() and not run.waits()
    assert not any(step.acts for step in run.now.steps)
    run.carry_out()
    assert run.actions() == ["repair"] and run.acts() and run.waits()
    for role in ("producer", "consumer"):
        run.fleet.session(role).update(state="streaming", health="ok")
    run.carry_out()
    assert run.report()[-1] == "1 repaired" and run.wrong() == []


def test_a_remainder_of_another_run_that_does_not_fit_is_kept() -> None:
    fleet = Fleet().opened(NEW)
    for role in ("producer", "consumer"):
        fleet.session(role).update(state="reserved", health="waiting")
    run = Run(fleet, description(name="new", num_conn=2)).carry_out()
    assert run.actions() == ["kept"] and not run.acts()


@pytest.mark.parametrize("step", ["unchanged", "change"])
def test_what_another_run_changes_meanwhile_is_not_changed_back(step: str) -> None:
    wanted = description(name="old", rate="1Gbit")
    run = Run(Fleet().opened(wanted if step == "unchanged" else OLD), wanted, NEW)
    run.fleet.session("producer")["rate"] = run.fleet.session("consumer")["rate"] = 2 * 10**9
    run.fleet.opened(NEW)
    run.carry_out(request={"gw-a": created("new")})
    assert run.actions() == ["contested", "unchanged"] and not run.acts()
    assert run.wrong()[1].startswith("  old: another run changed it at the same time: rate 2Gbit -> 1Gbit")


def test_what_another_run_opens_again_is_told() -> None:
    gone = {**OLD, "state": "absent"}
    run = Run(Fleet().opened(OLD), gone)
    run.carry_out(release={"gw-a": {"released": [{"uid": UIDS["old"], "role": "producer"}]}})
    assert run.actions() == ["contested"]
    assert "it is open again" in run.wrong()[1]


def test_sides_that_two_runs_mixed_are_repaired() -> None:
    run = Run(Fleet(), NEW)
    run.fleet.opened(NEW).session("producer")["peer_certificate"] = "another"
    run.carry_out(request={"gw-a": created("new")})
    assert run.actions() == ["repair"] and run.acts()
    run.fleet.session("producer")["peer_certificate"] = run.fleet.session("consumer")["certificate"]
    run.carry_out()
    assert run.report()[-1] == "1 opened" and run.wrong() == []


def test_what_does_not_get_well_is_told() -> None:
    fleet = Fleet().opened(OLD)
    fleet.session("producer")["health"] = "silent"
    run = Run(fleet, OLD).carry_out()
    assert run.acts()
    run.carry_out()
    assert not run.acts()
    assert run.wrong() == [DO_NOT, "  old: still to repair: the data server is silent on gw-a"]
    assert run.report() == ["1 to repair"]


def test_a_stream_of_the_set_that_appears_during_the_run_is_not_pruned() -> None:
    run = Run(Fleet(), NEW, prune=True)
    run.fleet.opened(NEW).opened(OLD)
    run.carry_out(request={"gw-a": created("new")})
    assert run.actions() == ["unchanged"]


def test_names_with_other_addresses_count_as_changes() -> None:
    named = description(name="new", producer__listeners=["daq.example.org:7000"])
    run = Run(Fleet().opened(named), named)
    assert run.acts()
    run.carry_out(update={"gw-a": {"changed_sessions": [{"uid": UIDS["new"], "role": "producer"}]}})
    assert run.report() == ["new: changed: its host names have other addresses", "1 changed"]
    run = Run(Fleet().opened(named), named).carry_out()
    assert run.report() == ["1 unchanged"] and not run.acts()


def test_replaced_streams() -> None:
    larger = description(name="old", num_conn=2)
    run = Run(Fleet().opened(OLD), larger, replace=True)
    assert run.actions() == ["replace"] and run.now.decides == {UIDS["old"]: "producer"}
    for name in ("gw-a", "gw-b"):
        run.fleet.sessions(name).clear()
    run.fleet.opened(larger)
    run.carry_out(request={"gw-a": created("old")})
    assert run.report()[0] == "old: replaced, the consumer connects to 198.51.100.7:5201, 198.51.100.7:5202"


def test_a_replaced_stream_whose_round_failed_is_opened_in_the_next_one() -> None:
    larger = description(name="old", num_conn=2)
    run = Run(Fleet().opened(OLD), larger, NEW, replace=True)
    for name in ("gw-a", "gw-b"):
        run.fleet.sessions(name).clear()
    run.carry_out(request={"gw-a": refused("new")})
    assert run.actions() == ["open", "refused"]
    run.fleet.opened(larger)
    run.carry_out(request={"gw-a": created("old")})
    assert run.report()[-1] == "1 replaced, 1 refused"


@pytest.mark.parametrize("at_once", [True, False])
def test_a_stream_that_was_released_to_be_replaced_and_is_refused_is_told(at_once: bool) -> None:
    run = Run(Fleet().opened(OLD), description(name="old", num_conn=2), NEW, replace=True)
    for name in ("gw-a", "gw-b"):
        run.fleet.sessions(name).clear()
    released = {"gw-a": {"released": [{"uid": UIDS["old"], "role": "producer"}]}}
    if at_once:
        run.carry_out(release=released, request={"gw-a": refused("old", "num_conn: must be 1")})
    else:
        run.carry_out(release=released, request={"gw-a": refused("new")})
        run.carry_out(request={"gw-a": refused("old", "num_conn: must be 1")})
    text = "it was released, but it could not be opened again, gw-a: producer: num_conn: must be 1"
    assert f"  old: {text}" in run.wrong()
    run.fleet.opened(NEW)
    while run.acts():
        run.carry_out(request={"gw-a": created("new")})
    assert f"  old: {text}" in run.wrong()


def test_a_stream_whose_release_was_refused_is_not_said_to_be_gone() -> None:
    run = Run(Fleet().opened(OLD), description(name="old", num_conn=2), replace=True)
    run.carry_out(release={"gw-a": refused("old", "it is of ann")})
    assert run.wrong() == [DO_NOT, "  old: gw-a: producer: it is of ann"]


FOREIGN = "exists with different parameters: the secret is different"


def test_of_two_runs_with_different_keys_the_first_one_tries_again() -> None:
    run = Run(Fleet(), NEW)
    # The other run has the consumer side.
    run.carry_out(request={"gw-a": created("new"), "gw-b": refused("new", FOREIGN)})
    assert run.actions() == ["open"] and run.acts() and run.now.waits == 2
    run.fleet.opened(NEW)
    run.carry_out(request={"gw-a": created("new"), "gw-b": created("new", role="consumer")})
    assert run.report()[-1] == "1 opened" and run.wrong() == []


def test_of_two_runs_with_different_keys_the_second_one_is_told() -> None:
    run = Run(Fleet(), NEW, OLD)
    run.carry_out(request={"gw-a": refused("new", FOREIGN), "gw-b": created("new", "old", role="consumer")})
    assert run.actions() == ["unopened", "open"] and run.acts() and 5 <= run.now.waits <= 9
    assert [step.name for step in run.now.steps if step.sends] == ["old"]
    run.fleet.opened(NEW).opened(OLD)
    run.carry_out(request={"gw-a": created("old"), "gw-b": created("old", role="consumer")})
    assert run.report()[1:] == ["new: opened by another run at the same time", "1 opened, 1 unchanged"]
    assert run.wrong() == []


def test_a_stream_that_two_runs_give_up_to_each_other_is_opened() -> None:
    run = Run(Fleet(), NEW)
    run.carry_out(request={"gw-a": refused("new", FOREIGN), "gw-b": refused("new", FOREIGN)})
    assert run.actions() == ["unopened"]
    run.carry_out()
    assert run.actions() == ["open"] and run.acts() and not run.waits()
    run.fleet.opened(NEW)
    run.carry_out(request={"gw-a": created("new"), "gw-b": created("new", role="consumer")})
    assert run.report()[-1] == "1 opened"


def test_a_session_with_another_key_that_stays_is_told() -> None:
    fleet = Fleet().opened(NEW)
    fleet.session("consumer").update(state="reserved", health="waiting")
    fleet.sessions("gw-a").clear()
    run = Run(fleet, NEW).carry_out()
    for _round in range(2):
        assert run.actions() == ["repair"] and run.acts()
        run.carry_out(request={"gw-a": created("new"), "gw-b": refused("new", FOREIGN)})
    assert run.actions() == ["refused"] and not run.acts()
    assert run.wrong()[1] == f"  new: gw-b: producer: {FOREIGN}"


def test_what_another_run_opens_while_this_one_fails_is_not_claimed() -> None:
    run = Run(Fleet(), NEW, OLD)
    run.fleet.opened(NEW)
    run.carry_out(request={"gw-a": refused("old")})
    assert run.report() == ["new: opened by another run at the same time", "1 unchanged, 1 refused"]


def test_sessions_that_may_be_left_are_told() -> None:
    run = Run(Fleet(), NEW)
    lost = {"refused": True, "lost": True, "msg": "timed out"}
    left = [{"uid": UIDS["new"], "role": "producer", "sure": False}]
    run.fleet.silence("gw-a")
    run.carry_out(request={"gw-a": lost}, undo={"gw-a": {**lost, "left": left}})
    assert run.report()[0].startswith("WARNING: gw-a: the producer session of new may still exist")


def test_another_key_is_explained() -> None:
    run = Run(Fleet(), NEW)
    run.carry_out(request={"gw-a": refused("new", "exists with different parameters: the secret is different")})
    assert differing(run.now, {}, "this run uses the key ~/key")[-1] == "  this run uses the key ~/key"
    assert "key" not in differing(Run(Fleet(), NEW).now, {}, "this run uses the key ~/key")[-1]


def test_check_mode_shows_what_would_be_refused() -> None:
    run = Run(Fleet(), NEW, OLD)
    now = predicted(run.now, read(NEW, OLD), Sent({}, {"gw-a": refused("old", "ports: taken")}, {}, {}))
    assert not now.acts
    assert differing(now, {}, check_mode=True) == [
        "The gateways would not match the description of all streams:",
        "  old: gw-a: producer: ports: taken",
    ]
    assert differing(run.now, {}, check_mode=True) == []
    assert "2 to open" in plan_lines(run.now.steps)


def test_rounds_survive_the_way_to_the_next_task() -> None:
    run = Run(Fleet(), NEW, OLD)
    run.fleet.opened(NEW)
    run.carry_out(request={"gw-a": created("new", "old")})
    text = json.dumps({"round": run.now.document()})
    assert given_round({"a": json.loads(text)}, "previous", "a") == run.now


@pytest.mark.parametrize("value", [None, {}, {"round": 1}, {"round": {"steps": [{}]}}, {"round": {"steps": None}}])
def test_what_is_no_round_is_refused(value: Any) -> None:
    with pytest.raises(ScistreamError, match="stream_compare"):
        given_round({"a": value}, "previous", "a")


def test_warnings() -> None:
    plain = description(name="new", encryption="none")
    run = Run(Fleet(), plain)
    run.fleet.opened(plain)
    run.carry_out(request={"gw-a": created("new")})
    assert unencrypted(run.now, read(plain)) == ["new"]
    session = {**run.fleet.session("producer"), "unreachable_targets": [{"target": "10.1.0.5:7000", "msg": "refused"}]}
    (line,) = unanswered(read(plain), {"gw-a": {"sessions": [session]}})
    assert line.startswith("WARNING: new: no answer from 10.1.0.5:7000 (refused)")
