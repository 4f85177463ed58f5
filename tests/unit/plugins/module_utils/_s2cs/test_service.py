# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The protocol of the service, its schedule, and its attempts to restart data servers."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import restarts
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.restarts import MAX_ATTEMPTS, Attempts
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import wire_format
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.argument_checks import check_arguments
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.budget import Budget
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.rounds import Round, run_round
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.schedule import Schedule
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.slots import Slots
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.sockets import PeerProcess
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_client import ask
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_protocol import (
    ServiceError,
    read_answer,
    request,
)

UID = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"
REQUEST = {"uid": UID, "role": "producer", "secret": "x"}


def test_a_request_is_read_as_it_was_written() -> None:
    call = wire_format.read_request(request("update", {"uid": UID, "role": "consumer"}, True, "/etc/p.json"))
    assert (call.action, call.check, call.config) == ("update", True, "/etc/p.json")
    assert call.arguments["role"] == "consumer" and call.arguments["probe_targets"] is False
    assert wire_format.read_request(request("info", {"interval": 2})).arguments == {
        "uid": None,
        "role": None,
        "secret": None,
        "samples": 0,
        "interval": 2.0,
    }


def test_answers() -> None:
    assert read_answer(wire_format.answer({"changed": True})) == {"changed": True}
    with pytest.raises(ServiceError, match="why") as error:
        read_answer(wire_format.refusal(ServiceError("busy", "why")))
    assert error.value.code == "busy"
    for data in (b"", b"[]", b"{}", b'{"result": 1}', b'{"error": {}}', b"\xff"):
        with pytest.raises(ServiceError, match="invalid"):
            read_answer(data)


@pytest.mark.parametrize(
    ("other", "remedy"),
    [
        ("99.0.0", "upgrade the gateway"),
        ("0.10.0", "upgrade the gateway"),
        ("1", "upgrade the gateway"),
        ("0.0.1", f"install version {VERSION}"),
        ("", f"install version {VERSION}"),
        ("0.x", f"install version {VERSION}"),
    ],
)
def test_another_version(other: str, remedy: str) -> None:
    with pytest.raises(ServiceError) as error:
        wire_format.read_request(request("info", {}, version=other))
    assert error.value.code == "version" and f"has version {VERSION}" in str(error.value)
    assert remedy in str(error.value)


def test_call_waits_while_many_others_do(tmp_path: Path) -> None:
    """A full backlog is not a service that is missing."""
    path = str(tmp_path / "s")
    answers: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as other:
        listener.bind(path)
        listener.listen(0)
        listener.settimeout(10)
        other.connect(path)
        thread = threading.Thread(target=lambda: answers.append(ask(b"{}", path)))
        thread.start()
        thread.join(0.1)
        listener.accept()[0].close()
        with listener.accept()[0] as connection:
            assert connection.recv(10) == b"{}"
            connection.sendall(b"answer\n")
        thread.join()
    assert answers == [b"answer\n"]


def test_another_patch_version() -> None:
    major, minor = VERSION.split(".")[:2]
    assert wire_format.read_request(request("info", {}, version=f"{major}.{minor}.99")).action == "info"


def test_options_have_the_types_of_the_module() -> None:
    given = {**REQUEST, "num_conn": "3", "rate": 1000, "labels": {"a": 1, "b": True}, "lifetime": None}
    found = check_arguments("request", given)
    assert (found["num_conn"], found["rate"], found["lifetime"]) == (3, "1000", None)
    assert found["encryption"] == "tls" and found["labels"] == {"a": 1, "b": True} and found["sessions"] is None
    assert check_arguments("release", {"sessions": [{"uid": UID}]}) == {
        "sessions": [{"uid": UID, "role": None, "secret": None}]
    }


@pytest.mark.parametrize(
    ("action", "given", "option"),
    [
        ("request", {**REQUEST, "num_conn": True}, "num_conn"),
        ("request", {**REQUEST, "num_conn": 1.5}, "num_conn"),
        ("request", {**REQUEST, "num_conn": "1" * 30}, "num_conn"),
        ("request", {**REQUEST, "labels": {"a": {}}}, "labels"),
        ("request", {**REQUEST, "labels": []}, "labels"),
        ("request", {**REQUEST, "owner": "root"}, "owner"),
        ("request", {**REQUEST, "role": "both"}, "role"),
        ("request", {"uid": UID}, "role"),
        ("hello", {**REQUEST, "producer_listeners": "10.1.0.5:7000"}, "producer_listeners"),
        ("hello", {**REQUEST, "producer_listeners": [["a"]]}, "producer_listeners"),
        ("hello", {**REQUEST, "certificate": "x" * 70000}, "certificate"),
        ("update", {"uid": UID, "role": "producer", "probe_targets": "yes"}, "probe_targets"),
        ("release", {"sessions": [{"uid": UID}], "uid": UID}, "uid"),
        ("release", {"sessions": [{"uid": UID}, {}]}, "sessions[1].uid"),
        ("info", {"config": "/etc/p.json"}, "config"),
    ],
)
def test_refused_options(action: str, given: Any, option: str) -> None:
    with pytest.raises(ValueRefused) as error:
        check_arguments(action, given)
    assert str(error.value).startswith(f"{option}: ")


@pytest.mark.parametrize("option", ["secret", "key"])
def test_secrets_are_not_shown(option: str) -> None:
    with pytest.raises(ValueRefused) as error:
        check_arguments("hello", {**REQUEST, option: ["very", "hidden"]})
    assert "very" not in str(error.value)


def test_budget() -> None:
    budget = Budget(100, 60)
    with budget.account(1) as first, budget.account(1) as again, budget.account(2) as second, budget.account(0) as root:
        assert first(50) and not again(11) and again(10)
        assert second(40) and not second(1)
        assert root(1000)
    with budget.account(2) as second:
        assert second(60) and not second(1)
    # Everybody can have a little, even if others have taken the rest.
    budget = Budget(100, 100, 10)
    with budget.account(1) as first, budget.account(2) as second:
        assert first(100) and second(10) and not second(1)


def test_slots() -> None:
    slots = Slots(10, 4, first=4, root=2)
    # Those who have a call leave some for those who have none.
    assert [slots.take(1) for _unused in range(5)] == [True] * 4 + [False]
    assert [slots.take(2) for _unused in range(4)] == [True] * 2 + [False] * 2
    assert slots.take(3) and slots.take(4) and not slots.take(5)
    assert [slots.take(0) for _unused in range(3)] == [True] * 2 + [False]
    slots.free(1)
    assert not slots.take(5) and slots.take(0)
    for uid in (0, 0, 2):
        slots.free(uid)
    assert slots.take(5) and not slots.take(1)
    unlimited = Slots(1, 1, 0)
    assert all(unlimited.take(0) for _unused in range(9)) and unlimited.take(1) and not unlimited.take(2)


def test_requests_are_forwarded_in_their_shortest_form() -> None:
    given = {"sessions": [{**REQUEST, "secret": "\u00e9", "num_conn": "3", "rate": None}]}
    call = wire_format.read_request(request("request", given, True, "/p"))
    data = wire_format.to_request(call)
    assert wire_format.read_request(data) == call
    assert b" " not in data and b"null" not in data and "\u00e9".encode() in data and b'"num_conn":3' in data
    single = wire_format.read_request(request("hello", {"uid": UID, "role": "consumer", "secret": "x"}))
    assert wire_format.read_request(wire_format.to_request(single)) == single


def test_a_sequence_is_forwarded_and_carried_out_up_to_the_first_failure() -> None:
    hello = {"sessions": [{"uid": UID, "role": "consumer", "secret": "x", "certificate": None}]}
    steps = [{"action": "hello", "arguments": hello}, {"action": "release", "arguments": {"uid": UID}}]
    call = wire_format.read_request(request("sequence", {"steps": steps}, config="/p"))
    data = wire_format.to_request(call)
    assert wire_format.read_request(data) == call and b"null" not in data
    assert [step.action for step in call.steps] == ["hello", "release"]
    assert {(step.config, step.version, step.check) for step in call.steps} == {("/p", VERSION, False)}
    assert call.steps[1].arguments["role"] is None
    done: list[str] = []

    def act(step: wire_format.Call) -> dict[str, Any]:
        done.append(step.action)
        return {"changed": True, "failed": failing == step.action}

    failing = ""
    assert wire_format.carry_out(call, act) == {"results": [{"changed": True, "failed": False}] * 2}
    failing = "hello"
    assert wire_format.carry_out(call, act) == {"results": [{"changed": True, "failed": True}]}
    assert done == ["hello", "release", "hello"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "steps: null"),
        ({"steps": []}, "1 to 4 actions"),
        ({"steps": [{"action": "release", "arguments": {"uid": UID}}] * 5}, "1 to 4 actions"),
        ({"steps": [1]}, r"steps\[0\]"),
        ({"steps": [{"action": "release"}]}, r"steps\[0\]"),
        ({"steps": [{"action": "info", "arguments": {}}]}, r"steps\[0\].action: .info"),
        ({"steps": [{"action": "sequence", "arguments": {"steps": []}}]}, r"steps\[0\].action: .sequence"),
        ({"steps": [{"action": [], "arguments": {}}]}, r"steps\[0\].action"),
        ({"steps": [{"action": "release", "arguments": {"nonsense": 1}}]}, "nonsense"),
        ({"sessions": []}, "sessions"),
    ],
)
def test_invalid_sequences(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ServiceError, match=message) as error:
        wire_format.read_request(request("sequence", arguments))
    assert error.value.code == "bad_request"


@pytest.mark.parametrize("depth", [17, 500, 975, 976, 977, 990, 5000])
def test_nested_requests(depth: int) -> None:
    """At depths that can be parsed, showing the value would exceed the recursion limit."""
    text = '{"protocol": 1, "version": "%s", "action": %s}'
    with pytest.raises(ServiceError, match="nested too deeply") as error:
        wire_format.read_request((text % (VERSION, "[" * depth + "]" * depth)).encode())
    assert error.value.code == "bad_request"
    with pytest.raises(ServiceError, match="action"):
        wire_format.read_request((text % (VERSION, "[" * 10 + "]" * 10)).encode())


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
def test_numbers_that_are_none(number: str) -> None:
    data = request("request", REQUEST).decode().replace('"check": false', f'"check": {number}')
    with pytest.raises(ServiceError, match="is not a number"):
        wire_format.read_request(data.encode())


@pytest.mark.parametrize("where", [{"sessions": [{"uid": UID, "a\n\x1b[1mb": 1}]}, {"uid": UID, "a\n\x1b[1mb": 1}])
def test_names_of_options_are_escaped(where: dict[str, Any]) -> None:
    for name in ("release", "info"):
        with pytest.raises(ServiceError) as error:
            wire_format.read_request(request(name, where))
        assert str(error.value).isprintable()


def _run_round(found: dict[str, Any]) -> dict[str, Any]:
    receive, send = os.pipe()
    item = Round("release_expired", receive, 0.0)
    worker = threading.Thread(target=run_round, args=(lambda _config: found, "", send))
    worker.start()
    while item.read():
        time.sleep(0.01)
    item.close()
    worker.join()
    return item.finish()


def test_reports_of_rounds_are_bounded() -> None:
    """What does not fit into a pipe is read while the round is running."""
    found = _run_round({"problems": ["x" * 100_000] * 100, "state_dir": "y" * 200_000})
    assert found["problems"] == ["x" * 500] * 20 and len(found["state_dir"]) == 200_000
    assert _run_round({"state_dir": "y" * (2 << 20)}) == {"error": "release_expired was interrupted"}


def test_process_of_the_peer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        pid = os.fork()
        if not pid:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(tmp_path / "s"))
                connection.recv(1)
            os._exit(0)
        accepted, _address = listener.accept()
        with accepted:
            process = PeerProcess(accepted)
            assert process.pid == pid and not process.has_exited()
            accepted.send(b"x")
            # It exits, but its PID is not free until it is collected.
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            known = tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) >= (6, 5)
            assert process.has_exited() == known
            process.close()
        os.waitpid(pid, 0)


def test_attempts_become_rare_and_end() -> None:
    now = time.time()
    attempts, pauses = Attempts(), []
    while not attempts.given_up:
        attempts = attempts.add(now)
        pauses.append(attempts.due - now)
    assert pauses == sorted(pauses) and pauses[0] == 10 and pauses[-1] == 300 and len(pauses) == MAX_ATTEMPTS
    assert "REQ or UPDATE" in attempts.describe() and "will be" in Attempts(1, now).describe()
    # Once a day there is another one.
    later = Attempts(attempts.count, now - 90000)
    assert not later.given_up and later.due < now and later.add(now).given_up


def test_attempts_are_kept(tmp_path: Path) -> None:
    kept = {"producer-1": Attempts(2, 1.5)}
    restarts.write(str(tmp_path), kept)
    assert restarts.read(str(tmp_path)) == kept
    assert (tmp_path / "restarts.json").stat().st_mode & 0o777 == 0o600 and len(os.listdir(tmp_path)) == 1
    for text in ("", "[]", '{"a": 1}', '{"a": {"count": "x", "last": 1}}'):
        (tmp_path / "restarts.json").write_text(text)
        assert restarts.read(str(tmp_path)) == {}


def _report(directory: Path, **changes: Any) -> dict[str, Any]:
    about = (directory / "s2cs.db").stat()
    store = [about.st_ino, about.st_mtime_ns, about.st_size]
    report = {"state_dir": str(directory), "store": store, "sessions": 1, "next": None, "overdue": 0}
    return {**json.loads(json.dumps(report)), **changes}


def test_schedule(tmp_path: Path) -> None:
    store = tmp_path / "s2cs.db"
    store.write_text("")
    schedule = Schedule()
    assert not schedule.should_maintain()
    # Nothing is known at first; while a round is under way there is no other, unless it takes long.
    assert schedule.should_release(0) and not schedule.should_release(1)
    schedule.started -= 60
    assert schedule.should_release(1) and not schedule.should_release(8)
    schedule.finished(_report(tmp_path))
    assert not schedule.should_release(0)
    assert schedule.should_maintain() and not schedule.should_maintain()
    store.write_text("changed")
    # An action changes the store several times.
    schedule.started = time.monotonic()
    assert not schedule.should_release(0)
    schedule.started -= 60
    assert schedule.should_release(0)
    schedule.finished(_report(tmp_path, next=time.time() - 1))
    assert schedule.should_release(0)
    schedule.finished(_report(tmp_path, next=time.time() + 60))
    assert not schedule.should_release(0)


def test_what_fails_is_tried_again_later(tmp_path: Path) -> None:
    (tmp_path / "s2cs.db").write_text("")
    schedule = Schedule()
    pauses = []
    for _attempt in range(8):
        schedule.finished(None)
        assert schedule.retry_at is not None and not schedule.should_release(0)
        pauses.append(round(schedule.retry_at - time.time()))
        schedule.retry_at = time.time() - 1
        assert schedule.should_release(0)
    assert pauses[:3] == [5, 10, 20] and pauses[-1] == 300
    schedule.finished(_report(tmp_path, overdue=1))
    assert not schedule.should_release(0)
    schedule.finished(_report(tmp_path))
    assert schedule.retry_at is None and schedule.pause == 5
