# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Probes of sessions: what a gateway finds out about a stream, and what an application notices of that."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.proxies.certificates import of_gateway
from ansible_collections.scistream.gateway.tests.integration.s2cs import machine
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application

Stream = dict[str, dict[str, Any]]


def opened(
    s2cs: S2CS, target: str, probe: bool = False, encryption: str = "tls", proxy: str = "s2ds", **clients: list[str]
) -> Stream:
    """Open both sides of a stream on one gateway; returns the sessions by role."""
    uid = own_uid()
    pairs = {role: of_gateway(role, uid) for role in ("producer", "consumer")}
    lifetime = {"lifetime": 120} if probe else {}
    sessions: Stream = {}
    for role, other in (("producer", "consumer"), ("consumer", "producer")):
        s2cs.request(uid, role, encryption=encryption, proxy=proxy, **lifetime)
        certificates = pairs[role].hello if encryption == "tls" else {}
        s2cs.hello(uid, *([target] if role == "producer" else []), role=role, **certificates)
        update: dict[str, Any] = {"uid": uid, "role": role, "probe": probe, "clients": clients.get(role)}
        if role == "consumer":
            update["remote_listeners"] = sessions["producer"]["listeners"]
        if encryption == "tls":
            update["peer_certificate"] = pairs[other].certificate
        sessions[role] = s2cs.done("update", **update)["session"]
    return sessions


def probed(s2cs: S2CS, session: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Probe a session, which changes nothing; returns the outcome."""
    result = s2cs.done("probe", uid=session["uid"], role=session["role"], **options)
    assert not result["changed"]
    found: dict[str, Any] = result["session"]["probe"]
    return found


def data_server(s2cs: S2CS, session: dict[str, Any]) -> list[int]:
    """Return the processes of a data server, the supervisor first."""
    return sorted(pid for pid, command in s2cs.processes().items() if f"{session['role']}-{session['uid']}" in command)


@contextlib.contextmanager
def paused(pids: list[int]) -> Iterator[None]:
    """Pause processes for a while."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_contacts(s2cs: S2CS, application: Application) -> None:
    stream = opened(s2cs, application.endpoint)
    found = probed(s2cs, stream["consumer"])
    (contact,) = found["contacts"]
    assert (contact["target"], contact["problem"]) == (stream["producer"]["listeners"][0], None)
    assert (found["certificate_problems"], found["not_contacted"]) == ([], None)
    # The application notices nothing of that, and one connection of its own gateway.
    assert application.peers == []
    (contact,) = probed(s2cs, stream["producer"])["contacts"]
    assert (contact["target"], contact["problem"]) == (application.endpoint, None)
    machine.eventually("the application is contacted", lambda: len(application.peers) == 1)
    # It may accept one client at a time only.
    with machine.connect(stream["consumer"]["listeners"][0]) as client:
        assert machine.ask(client, b"photons") == b"one:photons"
        found = probed(s2cs, stream["producer"])
        assert (found["contacts"], found["not_contacted"]) == ([], "1 connection is open")
        assert probed(s2cs, stream["consumer"])["contacts"] == []
        assert machine.ask(client, b" and more") == b" and more"
    assert len(application.peers) == 2
    assert s2cs.call("probe", check=True, uid=stream["producer"]["uid"], role="producer")["session"]["probe"] is None


def test_what_is_broken(s2cs: S2CS, application: Application) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nothing = f"127.0.0.1:{closed.getsockname()[1]}"
    stream = opened(s2cs, nothing, encryption="none")
    for session in stream.values():
        (contact,) = probed(s2cs, session)["contacts"]
        # An unencrypted listener accepts the connection, and may close it before the contact ends.
        assert contact["problem"] in (("refused",) if session["role"] == "producer" else (None, "closed"))

    stream = opened(s2cs, application.endpoint, producer=["127.0.0.250"])
    (contact,) = probed(s2cs, stream["consumer"])["contacts"]
    assert contact["problem"] == "closed"

    stream = opened(s2cs, application.endpoint)
    other = of_gateway("producer", stream["consumer"]["uid"])
    changed = {"remote_listeners": stream["producer"]["listeners"], "peer_certificate": other.certificate}
    s2cs.done("update", uid=stream["consumer"]["uid"], role="consumer", **changed)
    (contact,) = probed(s2cs, stream["consumer"])["contacts"]
    assert contact["problem"] == "certificate"

    stream = opened(s2cs, application.endpoint)
    supervisor, *rest = data_server(s2cs, stream["producer"])
    with paused([supervisor, *rest]):
        (contact,) = probed(s2cs, stream["consumer"])["contacts"]
        assert contact["problem"] == "silent"
        found = probed(s2cs, stream["producer"])
        assert found["not_contacted"] == "it is unknown whether connections are open"
    for pid in (supervisor, *rest):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    machine.eventually("the data server ends", lambda: not data_server(s2cs, stream["producer"]))
    (contact,) = probed(s2cs, stream["consumer"])["contacts"]
    assert (contact["problem"], contact["msg"]) == ("refused", "connection refused")
    assert application.peers == []


@pytest.mark.parametrize("door", ["modules", "service"])
def test_pattern(s2cs: S2CS) -> None:
    # The policy allows the application of the stream, and no target of the gateway itself.
    s2cs.write_policy(targets={"producer": ["192.0.2.0/24"], "consumer": ["127.0.0.0/8"]})
    stream = opened(s2cs, "192.0.2.7:7000", probe=True)
    found = probed(s2cs, stream["consumer"], pattern=True, seconds=1)
    assert found["arrived"] and found["pattern_bytes"] == 1 << 20 and found["round_trips"] > 1
    assert min(found["to_producer"], found["to_consumer"]) > 1e6 and found["network_round_trip"] > 0
    # Again, as after a lost call: the endpoint is the same.
    again = {"uid": stream["producer"]["uid"], "role": "producer", "probe": True}
    assert not s2cs.done("update", **again)["changed"]
    s2cs.refused("update", "probe", "is for a probe", uid=stream["producer"]["uid"], role="producer")
    # Others may not connect, and processes of the gateway reach it without the listener.
    with (
        contextlib.suppress(ConnectionResetError),
        machine.connect(stream["consumer"]["listeners"][0], "127.0.0.9") as other,
    ):
        assert other.recv(1) == b""
    host, port = machine.pair(stream["producer"]["targets"][0])
    assert host == "127.0.0.1"
    s2cs.done("release", uid=stream["producer"]["uid"])

    def is_gone() -> bool:
        with socket.socket() as connection:
            return connection.connect_ex((host, port)) != 0

    machine.eventually("the temporary endpoint ends with its session", is_gone)


def test_pattern_that_does_not_arrive(s2cs: S2CS) -> None:
    stream = opened(s2cs, "127.0.0.1:7000", probe=True, producer=["127.0.0.250"])
    found = probed(s2cs, stream["consumer"], pattern=True)
    assert not found["arrived"] and "closed it" in found["msg"]
    assert [item["problem"] for item in found["contacts"]] == ["closed"]
    assert found["log"]


def test_an_update_that_fails_leaves_no_endpoint(s2cs: S2CS) -> None:
    uid = own_uid()
    s2cs.request(uid, "producer", lifetime=120)
    s2cs.hello(uid, "127.0.0.1:7000")
    program = s2cs.sessions / f"producer-{uid}" / "s2ds.json"
    # Its configuration cannot be replaced, after the endpoint was started.
    program.unlink(missing_ok=True)
    program.mkdir()
    (program / "x").touch()
    before = endpoints()
    try:
        assert s2cs.call("update", uid=uid, role="producer", probe=True)["failed"]
        assert endpoints() == before
    finally:
        (program / "x").unlink()
        program.rmdir()


def endpoints() -> set[int]:
    """Return the processes that may be temporary endpoints."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().split(b"\0")[1:3] == [b"-I", b"-"]:
                found.add(int(path.parent.name))
    return found


def test_what_is_refused(s2cs: S2CS, application: Application) -> None:
    stream = opened(s2cs, application.endpoint, encryption="none")
    uid = stream["producer"]["uid"]
    which = {"uid": uid, "role": "consumer"}
    s2cs.refused("probe", "pattern: session", "must not receive the pattern", pattern=True, **which)
    s2cs.refused("probe", "seconds: 5", "only with pattern", seconds=5, **which)
    s2cs.refused("probe", "seconds: 61", "0 to 60", seconds=61, pattern=True, **which)
    s2cs.refused("probe", "pattern", "only for the role consumer", pattern=True, uid=uid, role="producer")
    s2cs.refused("probe", "has no session", uid=own_uid(), role="consumer")
    s2cs.refused("update", "probe", "streaming already", uid=uid, role="producer", probe=True)
    waiting = own_uid()
    s2cs.request(waiting)
    s2cs.refused("probe", "is reserved but must be streaming", uid=waiting, role="producer")
    s2cs.hello(waiting, application.endpoint)
    update = {"uid": waiting, "role": "producer", "probe": True}
    s2cs.refused("update", "probe", "a lifetime of at most 900 s", **update)
    s2cs.refused("update", "remote_listeners", "temporary endpoint", remote_listeners=["127.0.0.1:1"], **update)
    with s2cs.used_by("daemon"):
        if os.geteuid() == 0:
            s2cs.refused("probe", "belongs to", "may not probe it", **which)
            assert not s2cs.call("probe", secret=SECRET, **which).get("failed")
