# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Killed in the middle, died, expired: the same call again brings it to an end, and release leaves nothing."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
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
    kill,
)

ROUNDS = 8
REQUEST = {"role": "producer", "encryption": "none", "secret": SECRET}


def moments(measured: float) -> list[float]:
    """Return when to kill: anywhere in a call, as long as it took without being killed."""
    return [random.uniform(0, measured * 1.1) for _unused in range(ROUNDS)]


def measure(action: Callable[[], object]) -> float:
    """Return how long an action takes here and now; only to find good moments, nothing is judged by it."""
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


def test_request_killed(s2cs: S2CS) -> None:
    address = s2cs.policy["listen"]["producer"]
    for moment in moments(measure(lambda: s2cs.request(own_uid(), num_conn=2))):
        uid = own_uid()
        s2cs.start("request", uid=uid, num_conn=2, **REQUEST).kill_after(moment)
        assert not s2cs.call("info").get("failed")
        session = s2cs.request(uid, num_conn=2)["session"]
        ports = [int(item.rpartition(":")[2]) for item in session["listeners"]]
        assert set(ports) <= set(s2cs.listening()[address])
        s2cs.done("release", uid=uid)
        assert not set(ports) & set(s2cs.listening()[address])


def test_request_killed_and_then_released(s2cs: S2CS) -> None:
    for moment in moments(measure(lambda: s2cs.request(own_uid(), num_conn=2))):
        uid = own_uid()
        s2cs.start("request", uid=uid, num_conn=2, **REQUEST).kill_after(moment)
        s2cs.done("release", uid=uid)
        assert not [item for item in s2cs.picture()[-1] if uid in item]
        assert not [item for item in s2cs.processes().values() if uid in item]


def test_update_killed(s2cs: S2CS, application: Application, other_application: Application) -> None:
    session = s2cs.stream(application.endpoint, num_conn=2)
    which = {"uid": session["uid"], "role": "producer"}
    targets = [[application.endpoint], [other_application.endpoint]]
    duration = measure(lambda: s2cs.done("update", **which, remote_listeners=targets[1]))
    for number, moment in enumerate(moments(duration)):
        wanted = targets[number % 2]
        s2cs.start("update", **which, remote_listeners=wanted).kill_after(moment)
        s2cs.done("update", **which, remote_listeners=wanted)
        name = (b"one:hello", b"two:hello")[number % 2]
        assert [exchange(listener) for listener in session["listeners"]] == [name, name]
        assert s2cs.info()["pending"] == ""


def test_release_killed(s2cs: S2CS, application: Application) -> None:
    uid = own_uid()
    s2cs.stream(application.endpoint, uid=uid)
    for moment in moments(measure(lambda: s2cs.done("release", uid=uid))):
        s2cs.stream(application.endpoint, uid=uid)
        s2cs.start("release", uid=uid).kill_after(moment)
        s2cs.done("release", uid=uid)
        assert s2cs.left() == []


def test_any_action_killed_and_then_the_whole_stream_again(s2cs: S2CS, application: Application) -> None:
    which = {"uid": own_uid(), "role": "producer"}
    actions: list[tuple[str, dict[str, Any]]] = [
        ("request", {**which, **REQUEST}),
        ("hello", {**which, "secret": SECRET, "producer_listeners": [application.endpoint]}),
        ("update", which),
        ("release", which),
    ]
    for action, options in actions * 2:
        s2cs.start(action, **options).kill_after(random.uniform(0, 0.15))
        session = s2cs.stream(application.endpoint, uid=which["uid"])
        assert exchange(session["listeners"][0]) == b"one:hello"


def test_hello_that_never_comes(s2cs: S2CS) -> None:
    session = s2cs.request(own_uid(), hello_timeout=1)["session"]
    uid = session["uid"]
    assert session["expires"] > session["created"]
    eventually("expired", lambda: s2cs.info(uid)["state"] == "expired")
    before = s2cs.picture()
    s2cs.done("info")
    assert s2cs.call("request", check=True, uid=own_uid(), **REQUEST)["changed"]
    assert s2cs.picture() == before
    for options in ({}, {"secret": "the-secret-of-somebody-else-0123456789abc"}):
        hello = {"uid": uid, "role": "producer", "producer_listeners": ["127.0.0.1:7000"], "secret": SECRET, **options}
        result = s2cs.call("hello", **hello)
        assert result["failed"] and ("expired" in result["msg"] or options)
    assert s2cs.call("update", uid=uid, role="producer", remote_listeners=["127.0.0.1:7000"])["failed"]
    # The next action, whatever it is about, gives back what it held.
    s2cs.done("release", uid=own_uid())
    assert s2cs.left() == []
    assert s2cs.request(uid, hello_timeout=2)["session"]["state"] == "reserved"


def test_expired_session_is_requested_again(s2cs: S2CS) -> None:
    uid = own_uid()
    s2cs.request(uid, hello_timeout=1, num_conn=2)
    eventually("expired", lambda: s2cs.info(uid)["state"] == "expired")
    again = s2cs.request(uid, num_conn=3)
    assert again["changed"] and again["session"]["state"] == "reserved"
    assert len(s2cs.rows("port")) == len(again["session"]["listeners"]) == 3


def test_hello_in_time_keeps_the_session(s2cs: S2CS) -> None:
    uid = own_uid()
    s2cs.request(uid, hello_timeout=1)
    s2cs.hello(uid, "127.0.0.1:7000", update_timeout=600)
    time.sleep(1.1)
    s2cs.done("release", uid=own_uid())
    assert s2cs.info(uid)["state"] == "announced"


def test_expired_session_that_cannot_be_given_back_blocks_nobody(s2cs: S2CS) -> None:
    uid = own_uid()
    s2cs.request(uid, hello_timeout=1)
    eventually("expired", lambda: s2cs.info(uid)["state"] == "expired")
    directory = s2cs.sessions / f"producer-{uid}"
    kept = directory.rename(directory.with_name("kept"))
    directory.write_text("a file in its place")
    try:
        s2cs.request(own_uid())
    finally:
        directory.unlink()
        kept.rename(directory)
    s2cs.done("release", uid=uid)


def test_forwarder_killed(s2cs: S2CS, application: Application) -> None:
    session = s2cs.stream(application.endpoint)
    before = s2cs.supervisor(session)
    kill(before["child"])
    eventually("started again", lambda: s2cs.supervisor(session)["child"] != before["child"])
    eventually("running again", lambda: s2cs.info()["running"])
    assert exchange(session["listeners"][0]) == b"one:hello"
    after = s2cs.supervisor(session)
    assert after["restarts"] == 1 and after["last_exit"] == "signal 9" and after["pid"] == before["pid"]


@pytest.mark.parametrize("victims", [["pid", "child"], ["child", "pid"], ["pid"]])
def test_supervisor_killed(s2cs: S2CS, application: Application, victims: list[str]) -> None:
    session = s2cs.stream(application.endpoint)
    which = {"uid": session["uid"], "role": "producer"}
    with connect(session["listeners"][0]) as connection:
        assert ask(connection, b"1") == b"one:1"
        state = s2cs.supervisor(session)
        for victim in victims:
            kill(state[victim])
        eventually("all processes ended", lambda: not s2cs.processes())
    info = s2cs.info()
    assert info["running"] is False and info["log"] and info["state"] == "streaming"
    # What is written down is a second old at most.
    assert info["counters"]["connections"]["open"] == 0 and info["counters"]["connections"]["total"] <= 1
    assert info["counters"]["exact"] == (victims == ["pid"])
    assert s2cs.call("update", check=True, **which)["changed"]
    mended = s2cs.done("update", **which)
    assert mended["changed"] and mended["session"]["listeners"] == session["listeners"]
    assert exchange(session["listeners"][0]) == b"one:hello"
    assert not s2cs.done("update", **which)["changed"]


def test_request_mends_a_data_server_that_died(s2cs: S2CS) -> None:
    session = s2cs.request(own_uid())["session"]
    state = s2cs.supervisor(session)
    kill(state["pid"])
    eventually("all processes ended", lambda: not s2cs.processes())
    again = s2cs.request(session["uid"])
    assert again["changed"] and {**again["session"], "expires": session["expires"]} == session
    assert s2cs.info()["running"]


def test_dead_data_server_is_released(s2cs: S2CS, application: Application) -> None:
    session = s2cs.stream(application.endpoint)
    state = s2cs.supervisor(session)
    for victim in ("pid", "child"):
        kill(state[victim])
    assert s2cs.done("release", uid=session["uid"])["changed"]
    assert s2cs.left() == []


def test_forwarder_that_is_stopped(s2cs: S2CS, application: Application) -> None:
    session = s2cs.stream(application.endpoint)
    which = {"uid": session["uid"], "role": "producer"}
    child = s2cs.supervisor(session)["child"]
    os.kill(child, signal.SIGSTOP)
    # It is not started anew, which would cut its connections.
    s2cs.refused("update", "stopped by a signal", f"kill -CONT {child}", **which)
    os.kill(child, signal.SIGCONT)
    assert not s2cs.done("update", **which)["changed"]
    assert exchange(session["listeners"][0]) == b"one:hello"


def test_port_of_a_dead_data_server_taken_by_something_else(s2cs: S2CS, application: Application) -> None:
    session = s2cs.stream(application.endpoint)
    state = s2cs.supervisor(session)
    kill(state["pid"])
    eventually("all processes ended", lambda: not s2cs.processes())
    host, _unused, port = session["listeners"][0].rpartition(":")
    with socket.create_server((host, int(port))):
        result = s2cs.call("update", uid=session["uid"], role="producer")
        assert result["failed"] and session["listeners"][0] in result["msg"], result
        assert not s2cs.processes()
    assert s2cs.done("update", uid=session["uid"], role="producer")["changed"]
    assert exchange(session["listeners"][0]) == b"one:hello"
