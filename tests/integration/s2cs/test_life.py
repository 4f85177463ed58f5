# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of a session, as the modules see it; data flows through the listeners."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import (
    Application,
    ask,
    connect,
    eventually,
    exchange,
)

pytestmark = pytest.mark.parametrize("door", ["modules", "service"])

OTHER_SECRET = "the-secret-of-somebody-else-0123456789abc"


def four_times(s2cs: S2CS, action: str, **options: Any) -> dict[str, Any]:
    """Check mode, do, do again, check mode again; returns the result of doing it."""
    before = s2cs.picture()
    predicted = s2cs.call(action, check=True, **options)
    assert predicted["changed"] and s2cs.picture() == before
    done = s2cs.done(action, **options)
    assert done["changed"]
    after = s2cs.picture()
    assert after != before
    again = s2cs.done(action, **options)
    check_again = s2cs.call(action, check=True, **options)
    for result in (again, check_again):
        assert not result["changed"] and not (result.get("changed_sessions") or result.get("released"))
        assert result["diff"] == {"before": {}, "after": {}}
    assert s2cs.picture() == after
    if "session" in done:
        # Only the deadline for the next message begins anew.
        shown = [{**item["session"], "expires": None} for item in (done, again, check_again)]
        assert shown[0] == shown[1] == shown[2]
        assert _without_times(predicted["session"]) == _without_times(done["session"])
    assert SECRET not in str([predicted, done, again])
    return done


def _without_times(session: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in session.items() if key not in ("created", "expires")}


def test_life_of_a_stream(s2cs: S2CS, application: Application, other_application: Application) -> None:
    uid = own_uid()
    session = {"uid": uid, "role": "producer"}
    request = {**session, "num_conn": 2, "encryption": "none", "secret": SECRET, "labels": {"job": 42}, "rtt": "0.1s"}

    reserved = four_times(s2cs, "request", **request)["session"]
    assert reserved["state"] == "reserved" and reserved["labels"] == {"job": "42"}
    assert reserved["rtt"] == 100.0 == reserved["carries"]["rtt"] and reserved["carries"]["sending"] > 0
    address = s2cs.policy["listen"]["producer"]
    assert reserved["listeners"] == [f"{address}:5100", f"{address}:5101"]
    assert s2cs.listening()[address] == [5100, 5101]
    assert exchange(reserved["listeners"][0]) == b""

    announced = four_times(
        s2cs, "hello", **session, secret=SECRET, producer_listeners=[application.endpoint, other_application.endpoint]
    )["session"]
    assert announced["state"] == "announced" and announced["expires"] and announced["ends"] is None
    assert exchange(announced["listeners"][0]) == b""

    streaming = four_times(s2cs, "update", **session)["session"]
    assert streaming["state"] == "streaming"
    assert streaming["targets"] == [application.endpoint, other_application.endpoint]
    assert [exchange(item, b"frame") for item in streaming["listeners"]] == [b"one:frame", b"two:frame"]

    with connect(streaming["listeners"][0]) as established:
        assert ask(established, b"before") == b"one:before"
        swapped = [other_application.endpoint, application.endpoint]
        changed = four_times(s2cs, "update", **session, remote_listeners=swapped)
        assert changed["changed_sessions"] == [session]
        assert [exchange(item, b"frame") for item in streaming["listeners"]] == [b"two:frame", b"one:frame"]
        # The established connection goes on to where it led.
        assert ask(established, b"after") == b"after"
        eventually("counters", lambda: s2cs.info()["counters"]["bytes"]["to_producer"] >= len(b"beforeafter"))
        info = s2cs.info(uid)
        assert info["running"] and info["log"] == [] and info["pending"] == ""
        assert info["counters"]["connections"] == {"open": 1, "total": 5, "refused": 2, "failed": 0}
        released = four_times(s2cs, "release", uid=uid)
        [entry] = released["released"]
        assert entry["counters"]["connections"]["total"] == 5 and entry["counters"]["bytes"]["to_producer"] > 0
        assert entry == {**session, "listeners": reserved["listeners"], "counters": entry["counters"]}
        # Release ends what flows.
        assert ask(established, b"released") == b""
    assert s2cs.left() == []


def test_both_roles_of_one_uid_on_one_gateway(s2cs: S2CS, application: Application) -> None:
    uid = own_uid()
    producer = s2cs.stream(application.endpoint, uid=uid)
    consumer = s2cs.stream(*producer["listeners"], uid=uid, role="consumer")
    assert exchange(consumer["listeners"][0], b"x" * 50000) == b"one:" + b"x" * 50000
    listed = s2cs.done("info", uid=uid)["sessions"]
    assert sorted(item["role"] for item in listed) == ["consumer", "producer"]
    gateway = s2cs.done("info")["gateway"]
    assert gateway["ports"]["used"] == 2 and gateway["ports"]["free"] == gateway["ports"]["total"] - 2
    assert s2cs.done("release", uid=uid, role="consumer")["changed"]
    assert exchange(producer["listeners"][0]) == b"one:hello"
    assert [item["role"] for item in s2cs.done("release", uid=uid)["released"]] == ["producer"]


def test_targets_are_dealt_out_in_turn(s2cs: S2CS, application: Application, other_application: Application) -> None:
    session = s2cs.stream(application.endpoint, other_application.endpoint, num_conn=5)
    names = [exchange(item)[:3] for item in session["listeners"]]
    assert names == [b"one", b"two", b"one", b"two", b"one"]


def test_egress_is_the_source_of_connections(make_s2cs: Callable[..., S2CS], application: Application) -> None:
    s2cs = make_s2cs(egress={"producer": "127.0.0.99"})
    session = s2cs.stream(application.endpoint)
    assert session["egress"] == "127.0.0.99"
    assert exchange(session["listeners"][0]) == b"one:hello"
    assert application.peers == ["127.0.0.99"]


def test_ipv6(make_s2cs: Callable[..., S2CS]) -> None:
    s2cs = make_s2cs(listen={"producer": "::1"}, port_range=[5190, 5199])
    with Application("six", "::1") as application:
        session = s2cs.stream(application.endpoint)
        assert session["listeners"][0].startswith("[::1]:519") and session["targets"] == [application.endpoint]
        assert exchange(session["listeners"][0]) == b"six:hello"


def test_host_names_are_resolved_on_the_gateway(s2cs: S2CS, application: Application) -> None:
    session = s2cs.stream(f"localhost:{application.port}")
    assert session["targets"] == [f"localhost:{application.port}"]
    assert exchange(session["listeners"][0]) == b"one:hello"


def test_same_request_with_other_parameters_names_each_difference(s2cs: S2CS) -> None:
    uid = own_uid()
    s2cs.request(uid, num_conn=2, rate="1Gbit", labels={"job": "1"}, hello_timeout=60)
    s2cs.refused(
        "request",
        *("num_conn is 2, requested 3", "the secret is different", "release it first"),
        uid=uid,
        role="producer",
        encryption="none",
        secret=OTHER_SECRET,
        num_conn=3,
        rate="2Gbit",
        labels={"job": "2"},
        hello_timeout=61,
    )
    # What is left to the policy agrees with whatever was chosen; other spellings of the same are the same.
    again = s2cs.request(uid.upper(), num_conn=2, rate="1000Mbit", labels={"job": "1"})
    assert not again["changed"]


@pytest.mark.parametrize("role", ["producer", "consumer"])
def test_actions_on_what_is_not_there(s2cs: S2CS, role: str) -> None:
    uid = own_uid()
    s2cs.refused("hello", uid, "request it first", uid=uid, role=role, secret=SECRET, **_hello(role))
    s2cs.refused("update", uid, "request it first", uid=uid, role=role, remote_listeners=["127.0.0.1:7000"])
    for options in ({"uid": uid}, {"uid": uid, "role": role}):
        released = s2cs.done("release", **options)
        assert not released["changed"] and released["released"] == []
    assert s2cs.done("info", uid=uid)["sessions"] == []


def test_states_in_which_an_action_makes_no_sense(s2cs: S2CS, application: Application) -> None:
    uid = own_uid()
    s2cs.request(uid)
    s2cs.refused("update", "reserved", "s2cs_hello", uid=uid, role="producer", remote_listeners=["127.0.0.1:7000"])
    s2cs.refused("update", "it has the role producer", uid=uid, role="consumer", remote_listeners=["127.0.0.1:7000"])
    s2cs.refused("hello", "secret", uid=uid, role="producer", secret=OTHER_SECRET, **_hello("producer"))
    s2cs.hello(uid, application.endpoint)
    s2cs.refused("hello", "secret", uid=uid, role="producer", secret=OTHER_SECRET, **_hello("producer"))


def test_hello_again_after_the_application_moved(
    s2cs: S2CS, application: Application, other_application: Application
) -> None:
    session = s2cs.stream(application.endpoint)
    moved = s2cs.hello(session["uid"], other_application.endpoint)["session"]
    assert moved["state"] == "streaming" and moved["targets"] == [application.endpoint]
    assert exchange(session["listeners"][0]) == b"one:hello"
    assert s2cs.done("update", uid=session["uid"], role="producer")["changed"]
    assert exchange(session["listeners"][0]) == b"two:hello"


def test_clients(make_s2cs: Callable[..., S2CS], application: Application) -> None:
    s2cs = make_s2cs(clients={"producer": ["127.1.0.0/16"]})
    session = s2cs.stream(application.endpoint)
    listener = session["listeners"][0]
    assert session["clients"] == ["127.1.0.0/16"]
    assert exchange(listener, source="127.1.2.3") == b"one:hello" and exchange(listener, source="127.2.0.1") == b""
    which = {"uid": session["uid"], "role": "producer"}
    narrowed = s2cs.done("update", **which, clients=["127.1.2.3"])["session"]
    assert narrowed["clients"] == ["127.1.2.3/32"]
    assert exchange(listener, source="127.1.2.3") == b"one:hello" and exchange(listener, source="127.1.2.4") == b""
    s2cs.refused("update", "clients", "127.2.0.0/16", "127.1.0.0/16", **which, clients=["127.2.0.0/16"])
    s2cs.refused("update", "clients", **which, clients=["::1"])


def test_releasing_a_port_lets_it_rest(s2cs: S2CS) -> None:
    first = s2cs.request(own_uid())["session"]
    s2cs.done("release", uid=first["uid"])
    second = s2cs.request(own_uid())["session"]
    assert first["listeners"] != second["listeners"]


def _hello(role: str) -> dict[str, Any]:
    return {"producer_listeners": ["127.0.0.1:7000"]} if role == "producer" else {}
