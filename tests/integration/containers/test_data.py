# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Data through proxies in containers, and containers that have no more rights than they need."""

from __future__ import annotations

import json
import os
import signal
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.tests.integration.containers.harness import (
    container,
    containers,
    left_on_engine,
    open_stream,
)
from ansible_collections.scistream.gateway.tests.integration.proxies.certificates import of_gateway
from ansible_collections.scistream.gateway.tests.integration.proxies.harness import ENCRYPTED, MIB, Whole, transfer
from ansible_collections.scistream.gateway.tests.integration.proxies.tls import DATA, context, talk
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import (
    Application,
    ask,
    connect,
    eventually,
    exchange,
)
from ansible_collections.scistream.gateway.tests.testbed.engine import docker

SIZE = 16 * MIB


def test_every_byte_both_ways(gateway: S2CS, kind: str, runtime: str) -> None:
    # stunnel may lose the end of an answer that has to wait, if the one who asked has ended its own direction.
    answer = 1 << 16 if kind == "stunnel" else SIZE
    server = Whole(answer)
    stream = open_stream(gateway, kind, runtime, server.endpoint)
    transfer(stream.listener, server, SIZE, answer, half_close=True)

    def settled() -> bool:
        counters = stream.counters()
        assert counters["connections"]["total"] == 1 and counters["connections"]["failed"] == 0
        carried = {"to_consumer": answer, "to_producer": SIZE}
        return bool(counters["connections"]["open"] == 0 and counters["bytes"] == carried)

    eventually("the counters agree with what was sent", settled)
    stream.release()
    assert not gateway.left() and not left_on_engine(gateway)


def test_an_update_keeps_connections_and_moves_new_ones(
    gateway: S2CS, kind: str, runtime: str, application: Application, other_application: Application
) -> None:
    stream = open_stream(gateway, kind, runtime, application.endpoint)
    before = container(gateway, stream)
    # The same update changes nothing.
    same = {"uid": stream.uid, "role": "producer", "remote_listeners": [application.endpoint], **stream.peer}
    assert not gateway.done("update", **same)["changed"]
    assert not gateway.call("update", check=True, **same)["changed"]
    with connect(stream.listener) as established:
        assert ask(established, b"before") == b"one:before"
        for _unused in range(2):
            stream.point(other_application.endpoint)
            assert {exchange(stream.listener) for _unused in range(5)} == {b"two:hello"}
            assert ask(established, b"still") == b"still"
            stream.point(application.endpoint)
            assert exchange(stream.listener) == b"one:hello"
        after = container(gateway, stream)
        assert (after["Id"], after["State"]["Pid"]) == (before["Id"], before["State"]["Pid"])
        # The counters of a connection that is open, of all processes that there ever were.
        carried = {"to_consumer": 10 + 12 * 9 + 2 * 5, "to_producer": 6 + 12 * 5 + 2 * 5}
        eventually("bytes of open connections count", lambda: stream.counters()["bytes"] == carried)
        assert stream.counters()["connections"]["open"] == 1
    eventually("it has ended", lambda: stream.counters()["connections"]["open"] == 0)
    assert stream.counters()["connections"]["total"] == 13


def test_clients_are_refused_and_counted(gateway: S2CS, runtime: str, application: Application) -> None:
    for proxy in ("haproxy", "nginx", "s2ds"):
        stream = open_stream(gateway, proxy, runtime, application.endpoint)
        stream.point(application.endpoint, clients=["192.0.2.0/24"])
        assert exchange(stream.listener) == b""
        stream.point(application.endpoint, clients=["127.0.0.0/8"])
        assert exchange(stream.listener) == b"one:hello"
        eventually("both are counted", lambda s=stream: s.counters()["connections"]["open"] == 0)  # type: ignore[misc]
        assert stream.counters()["connections"] == {"open": 0, "total": 1, "refused": 1, "failed": 0}


@pytest.mark.parametrize("kind", ENCRYPTED)
def test_secrets_are_nowhere_to_be_seen(gateway: S2CS, kind: str, runtime: str, application: Application) -> None:
    stream = open_stream(gateway, kind, runtime, application.endpoint)
    for role in stream.roles:
        found = container(gateway, stream, role)
        secret = stream.pairs[role].key.splitlines()[1]
        assert secret not in str(found) + docker("logs", found["Id"]) + docker("top", found["Id"], "-o", "pid,args")
        path = f"{found['Config']['WorkingDir']}/gateway.crt.key"
        assert secret in docker("exec", found["Id"], "cat", path)
        user, _separator, group = found["Config"]["User"].partition(":")
        mode, owner, belongs = docker("exec", found["Id"], "stat", "-c", "%a %u %g", path).split()
        assert (mode, owner, belongs) == ("600", user, group)
        stranger = docker("exec", "--user", "4711:4711", found["Id"], "sh", "-c", f"cat {path} 2>&1; true")
        assert "denied" in stranger and secret not in stranger


def test_another_certificate_by_a_reload(gateway: S2CS, runtime: str, application: Application, tmp_path: Path) -> None:
    for kind in ENCRYPTED:
        stream = open_stream(gateway, kind, runtime, application.endpoint)
        before = container(gateway, stream)["Id"]
        listener = stream.session["listeners"][0]
        with connect(stream.listener) as established:
            assert ask(established, b"before") == b"one:before"
            stream.pairs["consumer"] = of_gateway("consumer", stream.uid)
            stream.point(application.endpoint)
            assert exchange(stream.listener) == b""
            client = context(ssl.PROTOCOL_TLS_CLIENT, tmp_path, stream.pairs["consumer"])
            assert talk(listener, client) == b"one:" + DATA
            assert ask(established, b"still") == b"still"
        assert container(gateway, stream)["Id"] == before
        stream.release()
    assert not gateway.left() and not left_on_engine(gateway)


def test_two_gateways_on_one_engine(
    make_gateway: Callable[..., S2CS], runtime: str, application: Application, other_application: Application
) -> None:
    """The same uid twice, each S2CS with a container of its own; the release of one leaves the other alone."""
    uid = own_uid()
    gateways = [make_gateway(), make_gateway()]
    sessions = [
        s2cs.stream(target.endpoint, uid=uid, proxy="haproxy", runtime=runtime)
        for s2cs, target in ((gateways[0], application), (gateways[1], other_application))
    ]
    assert [exchange(session["listeners"][0]) for session in sessions] == [b"one:hello", b"two:hello"]
    names = {containers(s2cs)[0]["Name"] for s2cs in gateways}
    assert len(names) == 2 and all(name.startswith(f"/scistream-producer-{uid}-") for name in names)
    assert gateways[0].done("release", uid=uid)["changed"]
    assert exchange(sessions[1]["listeners"][0]) == b"two:hello"
    assert not left_on_engine(gateways[0]) and len(left_on_engine(gateways[1])) == (2 if runtime == "dockersock" else 1)


def test_the_program_comes_back_after_a_crash(
    gateway: S2CS, proxy: str, runtime: str, application: Application
) -> None:
    """Also after an update, whose signal must not count as a stop by hand."""
    stream = open_stream(gateway, proxy, runtime, application.endpoint)
    stream.point(application.endpoint, clients=["127.0.0.0/8"] if proxy != "stunnel" else [])
    assert exchange(stream.listener) == b"one:hello"
    eventually("it is counted", lambda: stream.counters()["connections"]["total"] == 1)
    if (proxy, runtime) == ("s2ds", "docker"):
        # The forwarder saves its totals once a second, and a kill loses what it has not saved.
        [totals] = gateway.sessions.glob(f"*-{stream.uid}/run/counters.json")
        eventually("it is saved", lambda: json.loads(totals.read_text())["total"] == 1)
    found = container(gateway, stream)
    pid = int(found["State"]["Pid"])
    os.kill(pid, signal.SIGKILL)

    def back() -> bool:
        again = container(gateway, stream)["State"]
        return bool(again["Running"] and again["Pid"] not in (0, pid))

    eventually("the engine starts it again", back)
    eventually("it forwards again", lambda: exchange(stream.listener) == b"one:hello")
    eventually("it is seen to run", lambda: gateway.info(stream.uid)["running"])
    if runtime == "docker":
        counters = stream.counters()
        assert counters["restarts"] >= 1 and counters["connections"]["total"] >= 2, counters
