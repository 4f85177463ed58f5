# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The release of all sessions: what is asked, what is kept, and what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.caller import Caller
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.ownership import (
    check_administrator,
    check_permission,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import hash_secret
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import all_sessions
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.inputs import InputError, Inputs
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import stream_secret
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import make_plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import DescriptionError
from ansible_collections.scistream.gateway.tests.unit.plugins.module_utils._s2cs.test_store import session as stored

UIDS = [f"1b4e28ba-2fa1-41d2-883f-0016d3cca42{number}" for number in range(5)]
KEY = b"k" * 32


class OfPolicy:
    """A policy without administrators."""

    administrators: tuple[str, ...] = ()


def session(number: int, owner: str = "ann", role: str = "producer", **more: Any) -> dict[str, Any]:
    """Return a session as s2cs_info shows it."""
    return {"uid": UIDS[number], "role": role, "owner": owner, **more}


def refusals() -> list[str]:
    """Return what a gateway says of sessions that somebody may not release."""
    policy: Any = OfPolicy()
    of_bob = stored(UIDS[0], owner="bob", secret_hash=hash_secret("0" * 32))
    # Nobody's number, so that it is neither root nor a user with a name.
    caller = Caller(4000000001)
    found = []
    for secret in (None, "1" * 32):
        with pytest.raises(RefusedError) as caught:
            check_permission(policy, of_bob, secret, "release", caller)
        found.append(str(caught.value))
    with pytest.raises(RefusedError) as caught:
        check_administrator(policy, UIDS[0], "producer", caller)
    return [*found, str(caught.value)]


def test_entries() -> None:
    answer = {
        "sessions": [session(0), session(0, role="consumer")],
        "unreadable": [session(1), {"uid": "x", "role": "producer"}, {"uid": UIDS[2], "role": "x"}],
        "orphans": [session(0), session(3)],
    }
    found = all_sessions.entries(answer, None)
    assert [(entry["uid"], entry["role"]) for entry in found] == [
        (UIDS[0], "producer"),
        (UIDS[0], "consumer"),
        (UIDS[1], "producer"),
        (UIDS[3], "producer"),
    ]
    assert all(set(entry) == {"uid", "role"} for entry in found)
    assert all_sessions.entries(answer, KEY)[2]["secret"] == stream_secret(KEY, UIDS[1])
    released = {"predicted": {"released": [session(3)]}}
    assert all_sessions.permitted({**answer, **released}, None) == [{"uid": UIDS[3], "role": "producer"}]
    assert all_sessions.permitted(answer, None) == []


def test_question() -> None:
    counters = {"connections": {"open": 2}}
    first = [session(0, counters=counters), session(1, "bob", counters={"connections": {"open": None}}), session(2)]
    before = {
        "gw-a": {"sessions": first, "predicted": {"released": [session(0), session(1), session(4)]}},
        "gw-b": {"sessions": [session(3)], "predicted": {"released": [session(3)]}},
        "gw-c": {"sessions": []},
        "gw-d": {"refused": True, "msg": "cannot be reached"},
    }
    assert all_sessions.question(before) == (
        "This releases 4 sessions (3 on gw-a, 1 on gw-b) of ann (2), bob (1), with 2 open connections."
    )
    assert all_sessions.question({"gw-c": {"sessions": []}}) == ""


@pytest.mark.parametrize("message", refusals())
def test_sessions_of_others_are_kept(message: str) -> None:
    mine, others = [session(0)], [session(1, "bob"), session(2, "bob"), session(3, "carol")]
    failed = [{"uid": item["uid"], "role": item["role"], "msg": message} for item in others]
    before = {
        "gw-a": {
            "sessions": [*mine, *others],
            "predicted": {"refused": True, "msg": "x", "released": mine, "failed_sessions": failed},
        },
        "gw-b": {"sessions": []},
    }
    assert all_sessions.left(before) == [
        "gw-a: kept 3 sessions of bob (2), carol (1), which only their owners and administrators may release",
        "gw-b: nothing to release",
    ]
    assert all_sessions.outcomes(before, {"gw-a": {"released": mine}}) == {"gw-a": {"released": mine}, "gw-b": {}}
    # Anything else is a failure.
    failed[1]["msg"] = "no space is left"
    assert all_sessions.left(before) == ["gw-b: nothing to release"]
    assert all_sessions.outcomes(before, {})["gw-a"] == {
        "failed": True,
        "msg": f"producer of {UIDS[2]}: no space is left",
    }


def test_gateways_that_do_not_answer() -> None:
    lost = {"refused": True, "lost": True, "msg": "cannot be reached"}
    before = {"gw-a": lost, "gw-b": {"sessions": [session(0)], "predicted": {"refused": True, "msg": "busy"}}}
    assert all_sessions.left(before) == []
    assert all_sessions.outcomes(before, {}) == {"gw-a": lost, "gw-b": {"failed": True, "msg": "busy"}}


def inputs(extra: dict[str, Any], **variables: Any) -> Inputs:
    """Return the inputs of a run with extra and other variables."""
    return Inputs({**variables, **extra}, extra)


def test_which_variables_mean_all() -> None:
    assert not inputs({}).all() and not inputs({"all": "false"}).all() and not inputs({}, all=True).all()
    for value in (True, "true", "yes", "1"):
        assert inputs({"all": value}, scistream_streams=["a"]).all()
    assert inputs({}, scistream_all=True).all()
    assert not inputs({"uid": UIDS[0]}, scistream_all=True).all()
    for other in ("uid", "uids", "ticket", "streams"):
        with pytest.raises(InputError, match=f"all: .* {other} must not be specified"):
            inputs({"all": True, other: "x"}).all()
    for wrong in ("maybe", 2, [True]):
        with pytest.raises(InputError, match=r"all: .* must be true or false"):
            inputs({"all": wrong}).all()


def test_plan() -> None:
    plan = make_plan(inputs({"all": "true"}, scistream_streams=["a"], scistream_uid=UIDS[0]), "release", ["gw-a"])
    assert plan.all and plan.confirm and not plan.streams and not plan.uids
    assert not make_plan(inputs({"all": True, "confirm": "no"}), "release", ["gw-a"]).confirm
    for extra, purpose, words in (
        ({"all": True, "confirm": "x"}, "release", "confirm: "),
        ({"all": False}, "release", "Specify what to release .*'all'"),
        ({"all": True}, "drop", "Specify whose connections to close"),
    ):
        with pytest.raises(DescriptionError, match=words):
            make_plan(inputs(extra), purpose, ["gw-a"])
