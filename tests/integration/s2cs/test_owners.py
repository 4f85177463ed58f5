# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sessions of several users of one gateway: who may do what with whose, and how much each may have."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2cs import machine
from ansible_collections.scistream.gateway.tests.integration.s2cs.identity import ANN, BOB, OPERATOR
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application

OTHER_SECRET = "the-secret-of-somebody-else-0123456789abc"
REQUEST = {"role": "producer", "encryption": "none", "secret": SECRET}

pytestmark = [
    pytest.mark.parametrize("door", ["modules", "service"]),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can come in as several users"),
]


@pytest.fixture
def shared(make_s2cs: Callable[..., S2CS]) -> S2CS:
    """An S2CS that ann uses, and others."""
    s2cs = make_s2cs(administrators=[OPERATOR])
    s2cs.user = ANN
    return s2cs


def test_update_and_release_by_others(shared: S2CS, application: Application, other_application: Application) -> None:
    session = shared.stream(application.endpoint)
    assert session["owner"] == ANN
    which = {"uid": session["uid"], "role": "producer"}
    moved = {**which, "remote_listeners": [other_application.endpoint]}
    with shared.used_by(BOB):
        for action, options in (("update", moved), ("release", which), ("release", {"uid": session["uid"]})):
            for check in (True, False):
                shared.refused(action, "uid:", ANN, BOB, "option secret", **options, check=check)
                shared.refused(action, "secret:", ANN, **options, secret=OTHER_SECRET, check=check)
        shared.refused("update", ANN, sessions=[moved])
        result = shared.call("release", sessions=[which, {"uid": own_uid()}])
        assert result["failed"] and result["msg"].endswith("(policy: administrators)")
        assert machine.exchange(session["listeners"][0]) == b"one:hello"
        # The same request, and what it found, tells nothing that is secret.
        other = {**REQUEST, "secret": OTHER_SECRET}
        shared.refused("request", f"of {ANN}", "is different", uid=session["uid"], **other)
        assert shared.done("update", **moved, secret=SECRET)["changed"]
        assert machine.exchange(session["listeners"][0]) == b"two:hello"
        assert shared.info(session["uid"])["owner"] == ANN
        assert shared.done("release", **which, secret=SECRET)["released"]


@pytest.mark.parametrize("administrator", [OPERATOR, "root", ""])
def test_administrators(shared: S2CS, application: Application, administrator: str) -> None:
    session = shared.stream(application.endpoint)
    which = {"uid": session["uid"], "role": "producer"}
    with shared.used_by(administrator):
        shared.done("update", **which, clients=["127.0.0.0/8"])
        shared.refused("hello", "secret", **which, secret=OTHER_SECRET, producer_listeners=["127.0.0.1:7000"])
        assert shared.done("release", **which)["released"]


def test_owner_with_another_secret(shared: S2CS, application: Application) -> None:
    session = shared.stream(application.endpoint)
    which = {"uid": session["uid"], "role": "producer", "secret": OTHER_SECRET}
    shared.done("update", **which)
    assert shared.done("release", **which)["released"]


def test_one_of_many_belongs_to_another(shared: S2CS, application: Application) -> None:
    mine = shared.stream(application.endpoint)
    with shared.used_by(BOB):
        his = shared.stream(application.endpoint)
    items = [{"uid": item["uid"], "role": "producer"} for item in (mine, his)]
    # Both actions go on with what they may.
    result = shared.call("update", sessions=[{**item, "clients": ["127.0.0.1"]} for item in items])
    assert result["failed"] and f"belongs to {BOB}" in result["msg"]
    assert shared.info(mine["uid"])["clients"] == ["127.0.0.1/32"] and shared.info(his["uid"])["clients"] == []
    result = shared.call("release", sessions=items)
    assert result["failed"] and f"belongs to {BOB}" in result["msg"]
    assert [row[0] for row in shared.rows()] == [his["uid"]]
    assert shared.done("release", sessions=[{**items[1], "secret": SECRET}, {"uid": his["uid"]}])["released"]


def test_secrets_that_are_none(shared: S2CS) -> None:
    session = shared.request(own_uid())["session"]
    for secret in ("", "short", "x" * 513):
        for action in ("update", "release"):
            message = shared.refused(action, "secret", uid=session["uid"], role="producer", secret=secret)
            assert not secret or secret not in message


def test_limits_of_an_owner(make_s2cs: Callable[..., S2CS]) -> None:
    s2cs = make_s2cs(limits={"owner": {"sessions": 2, "num_conn": 5}})
    s2cs.user = ANN
    first = s2cs.request(own_uid(), num_conn=2)["session"]
    for check in (True, False):
        message = s2cs.refused("request", uid=own_uid(), num_conn=4, **REQUEST, check=check)
        assert message.endswith("(policy: limits.owner.num_conn)") and ANN in message
    s2cs.request(own_uid(), num_conn=3)
    for check in (True, False):
        message = s2cs.refused("request", uid=own_uid(), **REQUEST, check=check)
        assert message.endswith("(policy: limits.owner.sessions)") and f"{ANN} has 2 sessions" in message
    assert not s2cs.request(first["uid"], num_conn=2)["changed"]
    with s2cs.used_by(BOB):
        s2cs.request(own_uid(), num_conn=5)
    s2cs.done("release", uid=first["uid"])
    items = [{"uid": own_uid(), **REQUEST} for _unused in range(2)]
    for check in (True, False):
        s2cs.refused("request", "limits.owner.sessions", sessions=items, check=check)
    s2cs.done("request", **items[0])


def test_limits_with_many_requests_at_once(make_s2cs: Callable[..., S2CS]) -> None:
    s2cs = make_s2cs(limits={"sessions": 7, "owner": {"sessions": 4, "num_conn": 6}})
    calls = []
    for number in range(16):
        s2cs.user = (ANN, BOB)[number % 2]
        calls.append(s2cs.start("request", uid=own_uid(), num_conn=2, **REQUEST))
    results = [call.result() for call in calls]
    owners = [result["session"]["owner"] for result in results if not result.get("failed")]
    assert sorted(owners) == [ANN] * 3 + [BOB] * 3
    refused = [result["msg"] for result in results if result.get("failed")]
    assert len(refused) == 10 and all(message.endswith("(policy: limits.owner.num_conn)") for message in refused)
    assert len(s2cs.rows()) == 6 and len(s2cs.rows("port")) == 12
