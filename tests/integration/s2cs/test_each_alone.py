# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One session that is ill holds up no other: all that can be mended is, side by side, and the reason is told."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import COLLECTION, S2CS, SECRET, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import (
    Application,
    connect,
    eventually,
    exchange,
    kill,
    pair,
)

REQUEST = {"role": "producer", "encryption": "none", "secret": SECRET}


def reboot(s2cs: S2CS) -> None:
    """End all data servers with their supervisors, as a reboot does."""
    for pid in s2cs.processes():
        kill(pid)
    eventually("all processes ended", lambda: not s2cs.processes())


def stop(s2cs: S2CS, session: dict[str, Any]) -> None:
    """Stop a data server as SIGSTOP does."""
    os.kill(s2cs.supervisor(session)["child"], signal.SIGSTOP)


def test_ports_that_something_else_took(s2cs: S2CS, application: Application) -> None:
    """After a reboot two of ten ports belong to another program."""
    sessions = [s2cs.stream(application.endpoint) for _unused in range(10)]
    reboot(s2cs)
    stolen = [sessions[3], sessions[7]]
    calls = [{"uid": item["uid"], "role": "producer"} for item in sessions]
    with contextlib.ExitStack() as others:
        for session in stolen:
            others.enter_context(socket.create_server(pair(session["listeners"][0])))
        requests = [{**REQUEST, "uid": item["uid"]} for item in sessions]
        for action, items in (("request", requests), ("update", calls)):
            result = s2cs.call(action, sessions=items)
            assert result["failed"] and len(result["sessions"]) == 8
            assert {item["uid"] for item in result["failed_sessions"]} == {item["uid"] for item in stolen}
            failures = {item["uid"]: item["msg"] for item in result["failed_sessions"]}
            for session in stolen:
                told = f"address already in use: {session['listeners'][0]}, taken by PID {os.getpid()} "
                assert failures[session["uid"]].startswith(told) and "request it again" in failures[session["uid"]]
                # Whoever only looks is told the same.
                reason = s2cs.info(session["uid"])["reason"]
                assert reason.startswith(told) and reason.endswith("gives it different ports")
        well = [item for item in sessions if item not in stolen]
        assert [exchange(item["listeners"][0]) for item in well] == [b"one:hello"] * 8
        health = {item["uid"]: item["health"] for item in s2cs.done("info")["sessions"]}
        assert [health[item["uid"]] for item in (*well, *stolen)] == ["ok"] * 8 + ["down"] * 2
    # Once the ports are free, the same call brings them back where they were.
    mended = s2cs.done("update", sessions=calls)
    assert {item["uid"] for item in mended["changed_sessions"]} == {item["uid"] for item in stolen}
    assert [exchange(item["listeners"][0]) for item in stolen] == [b"one:hello"] * 2


def test_looking_at_data_servers_that_are_stopped(s2cs: S2CS, application: Application) -> None:
    sessions = [s2cs.stream(application.endpoint) for _unused in range(8)]
    for session in sessions[:6]:
        stop(s2cs, session)
    begin = time.monotonic()
    found = {item["uid"]: item for item in s2cs.done("info")["sessions"]}
    # One after the other they would take half a minute.
    assert time.monotonic() - begin < 20
    for index, session in enumerate(sessions):
        seen = found[session["uid"]]
        assert (seen["running"], seen["health"]) == ((True, "ok") if index >= 6 else (False, "silent")), seen
        assert seen["state"] == "streaming" and ("stopped" in seen["reason"]) == (index < 6)
    begin = time.monotonic()
    result = s2cs.done("release", sessions=[{"uid": item["uid"]} for item in sessions])
    assert len(result["released"]) == 8 and time.monotonic() - begin < 60
    assert s2cs.left() == []


def test_policy_that_became_narrower(s2cs: S2CS, application: Application) -> None:
    """What runs goes on, and the same calls concern the one that would not be allowed any more."""
    with Application("six", "::1") as six:
        inside, outside = s2cs.stream(application.endpoint), s2cs.stream(six.endpoint)
        s2cs.write_policy(targets={"producer": ["127.0.0.0/8"]})
        calls = [
            {"uid": item["uid"], "role": "producer", "remote_listeners": item["targets"]} for item in (inside, outside)
        ]
        hellos = [
            {"uid": item["uid"], "role": "producer", "secret": SECRET, "producer_listeners": item["targets"]}
            for item in (inside, outside)
        ]
        for action, items in (("hello", hellos), ("update", calls)):
            result = s2cs.call(action, sessions=items)
            assert result["failed"] and "policy: targets.producer" in result["msg"]
            assert [item["uid"] for item in result["failed_sessions"]] == [outside["uid"]]
            assert [item["uid"] for item in result["sessions"]] == [inside["uid"]]
        assert exchange(outside["listeners"][0]) == b"six:hello"
        assert {item["health"] for item in s2cs.done("info")["sessions"]} == {"ok"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_release_that_fails_leaves_the_session_as_it_was(s2cs: S2CS, application: Application) -> None:
    session, other = s2cs.stream(application.endpoint), s2cs.stream(application.endpoint)
    which = {"uid": session["uid"], "role": "producer"}
    in_the_way = s2cs.sessions / f"producer-{session['uid']}" / "mount"
    in_the_way.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "scistream-test", in_the_way], check=True)
    try:
        result = s2cs.call("release", sessions=[which, {"uid": other["uid"]}])
        assert result["failed"] and [item["uid"] for item in result["failed_sessions"]] == [session["uid"]]
        assert [item["uid"] for item in result["released"]] == [other["uid"]] and result["changed"]
        shown = s2cs.info(session["uid"])
        assert (shown["state"], shown["pending"], shown["health"]) == ("streaming", "", "down")
        # It was not doomed: the next call mends it, and it keeps its port.
        assert s2cs.done("update", **which)["session"]["listeners"] == session["listeners"]
        assert exchange(session["listeners"][0]) == b"one:hello"
    finally:
        subprocess.run(["umount", in_the_way], check=True)
    assert s2cs.done("release", **which)["released"]


def test_changes_in_place(s2cs: S2CS, application: Application) -> None:
    uid = own_uid()
    options: dict[str, Any] = {"rate": "800Mbit", "lifetime": 3600, "labels": {"job": "1"}}
    session = s2cs.stream(application.endpoint, uid=uid, **options)
    with connect(session["listeners"][0]) as connection:
        connection.sendall(b"1")
        changes: list[dict[str, Any]] = [
            {"labels": {"job": "2"}},
            {"lifetime": 7200},
            {"rate": "900Mbit"},
            {"hello_timeout": 99},
        ]
        for change in changes:
            options.update(change)
            request = {**REQUEST, "uid": uid, **options}
            before = s2cs.picture()
            predicted = s2cs.call("request", check=True, **request)
            assert predicted["changed"] == ("hello_timeout" not in change) and s2cs.picture() == before
            done = s2cs.request(**request)
            assert done["changed"] == predicted["changed"] and done["session"] == predicted["session"]
            assert not s2cs.request(**request)["changed"]
        shown = s2cs.info(uid)
        assert shown["labels"] == {"job": "2"} and shown["lifetime"] == 7200 and shown["rate"] == 900_000_000
        assert shown["ends"] == shown["expires"] > session["expires"]
        # No connection was cut.
        assert connection.recv(100) == b"one:1"
    # On a quick machine all of this takes less than the lifetime of one second that follows.
    time.sleep(1)
    s2cs.refused("request", "lifetime", "would have expired", uid=uid, **{**REQUEST, "lifetime": 1, "rate": "900Mbit"})


def test_proxy_that_cannot_change_the_rate_concerns_itself(
    make_s2cs: Callable[..., S2CS], application: Application
) -> None:
    s2cs = make_s2cs(proxies={"s2ds": {}, "nginx": {}}, template_dir=str(COLLECTION / "roles/nginx/files"))
    one, two = s2cs.stream(application.endpoint), s2cs.stream(application.endpoint, proxy="nginx", num_conn=2)
    slow: dict[str, Any] = {"proxy": "nginx", "num_conn": 2, "rate": "9kbit"}
    items = [{**REQUEST, "uid": one["uid"], "rate": "9kbit"}, {**REQUEST, "uid": two["uid"], **slow}]
    result = s2cs.call("request", sessions=items)
    assert result["failed"] and "rate: 9000 is too low for num_conn 2" in result["msg"]
    assert [item["uid"] for item in result["changed_sessions"]] == [one["uid"]]
    assert s2cs.info(two["uid"])["rate"] is None and s2cs.info(two["uid"])["health"] == "ok"
    # A session that has no data server yet, or does not exist yet, is refused in the same way.
    three = own_uid()
    s2cs.request(three, **{**slow, "rate": "16kbit"})
    for uid in (three, own_uid()):
        s2cs.refused("request", "rate: 9000 is too low for num_conn 2", uid=uid, **{**REQUEST, **slow})


def test_same_request_lets_the_deadline_begin_anew(s2cs: S2CS) -> None:
    uid = own_uid()
    first = s2cs.request(uid, hello_timeout=3)
    time.sleep(2)
    again = s2cs.request(uid, hello_timeout=3)
    assert not again["changed"] and again["session"]["expires"] > first["session"]["expires"]
    time.sleep(2)
    s2cs.hello(uid, "127.0.0.1:7000")
    # The same for the time between HELLO and UPDATE.
    eventually("expired", lambda: s2cs.info(uid)["state"] == "expired")
    told = s2cs.call("update", uid=uid, role="producer")
    assert told["failed"] and "no UPDATE was received within 3 s" in told["msg"] and s2cs.left() == []
