# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the start to the end: configuration, control, workers that die, signals."""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
from pathlib import Path
from typing import Any

import pytest

LISTENER = {"address": "127.0.0.2", "port": 0, "target": ["127.0.0.1", 7000]}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("", "s2ds.json: not JSON"),
        ("[]", "[] must be an object"),
        ('{"listeners": [], "listeners": []}', "listeners: given twice"),
        ({}, "listeners: missing"),
        ({"listeners": []}, "listeners: [] must be a list of at least one listener"),
        ({"listeners": ["127.0.0.2:5100"]}, 'listeners[0]: "127.0.0.2:5100" must be an object'),
        ({"listeners": [LISTENER], "color": 1}, "color: unknown key"),
        ({"listeners": [{**LISTENER, "mode": 1}]}, "listeners[0].mode: unknown key"),
        ({"listeners": [{"port": 1}]}, "listeners[0].address: missing"),
        ({"listeners": [{**LISTENER, "address": "gateway"}]}, 'listeners[0].address: "gateway" is not an IP address'),
        ({"listeners": [{**LISTENER, "address": 7}]}, "listeners[0].address: 7 must be an IP address"),
        ({"listeners": [{**LISTENER, "address": "127.1\n"}]}, 'listeners[0].address: "127.1\\n" is not an IP address'),
        ({"listeners": [{**LISTENER, "port": 65536}]}, "listeners[0].port: 65536 must be an integer from 0 to 65535"),
        ({"listeners": [{**LISTENER, "port": -1}]}, "listeners[0].port: -1 must be"),
        ({"listeners": [{**LISTENER, "port": True}]}, "listeners[0].port: true must be"),
        ({"listeners": [{**LISTENER, "port": "5100"}]}, 'listeners[0].port: "5100" must be'),
        ({"listeners": [{**LISTENER, "port": 5.0}]}, "listeners[0].port: 5.0 must be"),
        ({"listeners": [{**LISTENER, "port": 5100}] * 2}, 'listeners[1]: "127.0.0.2:5100" is given twice'),
        ({"listeners": [{**LISTENER, "target": "127.0.0.1:7000"}]}, "listeners[0].target: "),
        ({"listeners": [{**LISTENER, "target": ["127.0.0.1", 0]}]}, "listeners[0].target: 0 must be an integer from 1"),
        ({"listeners": [{**LISTENER, "target": ["127.0.0.1", 99999]}]}, "listeners[0].target: 99999 must be"),
        ({"listeners": [{**LISTENER, "target": ["a.example", 7000]}]}, 'target: "a.example" is not an IP address'),
        (
            {"listeners": [LISTENER], "port_range": [5200, 5100]},
            "port_range: [5200, 5100] must not begin after its end",
        ),
        ({"listeners": [LISTENER], "port_range": [0, 5100]}, "port_range: 0 must be"),
        ({"listeners": [LISTENER], "port_range": 5100}, "port_range: 5100 must be [first port, last port]"),
        ({"listeners": [LISTENER], "allow": "127.0.0.0/8"}, 'allow: "127.0.0.0/8" must be a list'),
        ({"listeners": [LISTENER], "allow": ["127.0.0.0/33"]}, "prefix length must be 0 to 32"),
        ({"listeners": [LISTENER], "allow": ["127.0.0.0/"]}, "prefix length must be 0 to 32"),
        ({"listeners": [LISTENER], "allow": ["127.0.0.1/8"]}, "has bits set beyond its prefix length"),
        ({"listeners": [LISTENER], "allow": ["::/x"]}, "prefix length must be 0 to 128"),
        ({"listeners": [LISTENER], "allow": [1]}, "allow[0]: 1 must be a network"),
        ({"listeners": [LISTENER], "source": "eth0"}, 'source: "eth0" is not an IP address'),
        ({"listeners": [LISTENER], "source": "::1"}, "is not of the address family of source"),
        ({"listeners": [LISTENER], "rate": 0}, "rate: 0 must be a number from 1000"),
        ({"listeners": [LISTENER], "rate": "10Gbit"}, 'rate: "10Gbit" must be a number'),
        ('{"listeners": [{"address": "127.0.0.2", "port": 0}], "rate": NaN}', "rate: NaN must be a number"),
        ({"listeners": [LISTENER], "pipe_size": 1}, "pipe_size: 1 must be an integer from 4096"),
        ({"listeners": [LISTENER], "workers": 65}, "workers: 65 must be an integer from 0 to 64"),
        ({"listeners": [LISTENER], "workers": None}, "workers: null must be"),
        ({"listeners": [LISTENER], "max_connections": 0}, "max_connections: 0 must be"),
        ({"listeners": [LISTENER], "connect_timeout": 0}, "connect_timeout: 0 must be a number"),
        ({"listeners": [LISTENER], "congestion": "cubic"}, 'congestion: "cubic" must be an object'),
        ({"listeners": [LISTENER], "congestion": {"wan": "cubic"}}, "congestion.wan: unknown key"),
        ({"listeners": [LISTENER], "congestion": {"accept": "no such"}}, "congestion.accept: "),
        ({"listeners": [LISTENER], "congestion": {"connect": "nosuch"}}, 'congestion.connect: "nosuch" '),
        ({"listeners": [{**LISTENER, "address": "192.0.2.77"}]}, "listeners[0]: cannot listen on 192.0.2.77:0"),
    ],
)
def test_unusable_configuration(bed: Any, config: Any, message: str) -> None:
    forwarder = bed.raw(config)
    assert forwarder.exit() == 2
    log = forwarder.log()
    assert message in log
    assert log.startswith("s2ds: ")
    assert log.count("\n") == 1


def test_missing_configuration_and_directory(bed: Any) -> None:
    forwarder = bed.raw({}, "--directory", "/nonexistent")
    assert forwarder.exit() == 2
    assert "/nonexistent: No such file or directory" in forwarder.log()
    forwarder = bed.raw({}, "--wrong")
    assert forwarder.exit() == 2
    assert "unknown argument --wrong" in forwarder.log()


def test_port_taken(bed: Any) -> None:
    with socket.create_server(("127.0.0.2", 0)) as other:
        port = other.getsockname()[1]
        forwarder = bed.raw({"listeners": [{**LISTENER, "port": port}]})
        assert forwarder.exit() == 2
        assert f"listeners[0]: cannot listen on 127.0.0.2:{port}: Address already in use" in forwarder.log()


def test_port_zero_is_within_the_range(bed: Any) -> None:
    with socket.create_server(("127.0.0.2", 0)) as probe:
        low = probe.getsockname()[1]
        free = [port for port in range(low + 1, low + 20) if is_free(port)][:3]
        forwarder = bed.forwarder(targets=[None] * 3, port_range=[low, free[-1]])
        ports = [int(name.split(":")[1]) for name in forwarder.status()["listeners"]]
        assert sorted(ports) == free
        forwarder.close()
        forwarder = bed.raw(bed.config(targets=[None], port_range=[low, low]))
        assert forwarder.exit() == 2
        assert f"cannot listen on 127.0.0.2:{low}: Address already in use" in forwarder.log()


def is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.2", port)).close()
    except OSError:
        return False
    return True


def test_status(bed: Any) -> None:
    forwarder, client, server = bed.pair()
    client.send(b"12345")
    assert server.receive(5) == b"12345"
    server.send(b"123")
    assert client.receive(3) == b"123"
    status = forwarder.status()
    assert status["program"] == "s2ds"
    galaxy = Path(__file__).resolve().parents[4] / "galaxy.yml"
    assert f"\nversion: {status['version']}\n" in galaxy.read_text()
    assert status["pid"] == forwarder.process.pid
    assert abs(status["since"] - time.time()) < 60
    assert status["connections"] == {"open": 1, "total": 1, "refused": 0, "failed": 0}
    bed.wait_until(lambda: forwarder.status()["bytes"] == {"to_consumer": 3, "to_producer": 5}, "bytes counted")
    mode = (forwarder.directory / "run" / "control.sock").stat().st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (b"nonsense\n", "not JSON"),
        (b"[]\n", "a request is"),
        (b'{"op": "status", "x": 1}\n', "a request is"),
        (b'{"op": "stop"}\n', 'unknown op "stop"'),
    ],
)
def test_requests_that_are_none(bed: Any, request_: bytes, error: str) -> None:
    forwarder = bed.forwarder(targets=[None])
    answer = forwarder.ask(request_)
    assert not answer["ok"]
    assert error in answer["error"]


def test_reload_is_for_new_connections(bed: Any) -> None:
    one, two = bed.target(), bed.target()
    config = bed.config(targets=[one.address])
    forwarder = bed.raw(config).started()
    client, server = bed.link(forwarder, one)
    config["listeners"][0]["target"] = two.address
    assert forwarder.reload(config)["status"]["targets"] == [f"127.0.0.1:{two.address[1]}"]
    new_client, new_server = bed.link(forwarder, two)
    for left, right in ((client, server), (new_client, new_server)):
        left.send(b"x")
        assert right.receive(1) == b"x"
    config["allow"] = ["127.0.0.200/32"]
    assert forwarder.reload(config)["ok"]
    assert forwarder.turned_away()
    server.send(b"still")
    assert client.receive(5) == b"still"


def test_reload_that_is_refused_changes_nothing(bed: Any) -> None:
    one, two = bed.target(), bed.target()
    forwarder = bed.forwarder(targets=[one.address])
    bound = int(forwarder.status()["listeners"][0].split(":")[1])
    moved = bed.config(targets=[two.address])
    moved["listeners"][0]["port"] = bound + 1
    more = bed.config(targets=[two.address, two.address])
    for config, error in (
        (moved, "may not change"),
        (more, "listeners: may not change"),
        (bed.config(targets=[two.address], rate=-1), "rate: -1 must be"),
    ):
        answer = forwarder.reload(config)
        assert not answer["ok"]
        assert error in answer["error"]
    bed.link(forwarder, one)
    # The port that was got for a 0 is as good as the 0.
    named = bed.config(targets=[two.address])
    named["listeners"][0]["port"] = bound
    assert forwarder.reload(named)["ok"]
    bed.link(forwarder, two)


def test_rate_can_be_set_and_lifted_while_bytes_flow(bed: Any) -> None:
    target = bed.target()
    config = bed.config(targets=[target.address], rate=800_000)
    forwarder = bed.raw(config).started()
    client, server = bed.link(forwarder, target)
    size = 8 << 20  # 84 seconds at this rate
    begin = time.monotonic()

    def lift() -> None:
        time.sleep(0.5)
        assert forwarder.status()["bytes"]["to_producer"] < 1 << 20
        assert forwarder.reload({**config, "rate": None})["ok"]

    digest, got, _unused = bed.together(lambda: client.send_stream(size, 5), server.receive_stream, lift)
    assert got == (size, digest)
    assert time.monotonic() - begin < 15


def test_one_worker_for_each_connection_until_there_are_enough(bed: Any) -> None:
    target = bed.target()
    forwarder = bed.forwarder(targets=[target.address], workers=2)
    assert forwarder.workers() == []
    pairs = [bed.link(forwarder, target) for _unused in range(5)]
    assert sorted(worker["open"] for worker in forwarder.status()["workers"]) == [2, 3]
    assert len(pairs) == 5


def test_worker_killed(bed: Any) -> None:
    """Its connections are reset, which no end takes for an end of stream; the others and the counters stay.

    A worker counts bytes after it has passed them on, so what has arrived need not have been counted when it is killed.
    """
    target = bed.target()
    forwarder = bed.forwarder(targets=[target.address], workers=2)
    first, second = bed.link(forwarder, target), bed.link(forwarder, target)
    for client, server in (first, second):
        client.send(b"12345")
        assert server.receive(5) == b"12345"
    bed.wait_until(lambda: forwarder.status()["bytes"]["to_producer"] == 10, "bytes counted")
    assert forwarder.status()["exact"]
    victim = forwarder.workers()[0]
    os.kill(victim, signal.SIGKILL)
    assert first[0].outcome() == "reset"
    assert first[1].outcome() == "reset"
    forwarder.counted("open", 1)
    second[0].send(b"on")
    assert second[1].receive(2) == b"on"
    third = bed.link(forwarder, target)
    third[0].send(b"new")
    assert third[1].receive(3) == b"new"
    bed.wait_until(lambda: len(forwarder.status()["workers"]) == 2, "a worker in its place")
    assert victim not in forwarder.workers()
    bed.wait_until(lambda: forwarder.status()["bytes"]["to_producer"] == 15, "bytes counted")
    status = forwarder.status()
    assert status["connections"] == {"open": 2, "total": 3, "refused": 0, "failed": 0}
    assert f"worker {victim} died" in forwarder.log()
    # It might have passed on more than it counted.
    assert not status["exact"]


def test_idle_worker_killed(bed: Any) -> None:
    """All that it passed on has been counted."""
    forwarder, client, server = bed.pair()
    client.send(b"12345")
    assert server.receive(5) == b"12345"
    client.close()
    server.close()
    forwarder.counted("open", 0)
    victim = forwarder.workers()[0]
    os.kill(victim, signal.SIGKILL)
    bed.wait_until(lambda: f"worker {victim} died" in forwarder.log(), "its end is seen")
    status = forwarder.status()
    assert status["exact"] and status["bytes"] == {"to_consumer": 0, "to_producer": 5}


def test_dispatcher_killed(bed: Any) -> None:
    """The workers end with it and their connections are reset; the next one takes the place."""
    target = bed.target()
    forwarder = bed.forwarder(targets=[target.address], workers=2)
    pairs = [bed.link(forwarder, target) for _unused in range(3)]
    workers = forwarder.workers()
    forwarder.process.kill()
    assert forwarder.exit() == -signal.SIGKILL
    for peers in pairs:
        for peer in peers:
            assert peer.outcome() == "reset"
    for pid in workers:
        bed.wait_until(lambda pid=pid: ended(pid), "the end of a worker")
    bed.link(bed.forwarder(targets=[target.address]), target)


def ended(pid: int) -> bool:
    """Whether a process has ended, collected by its parent or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_everything(bed: Any, number: int) -> None:
    target = bed.target()
    forwarder = bed.forwarder(targets=[target.address], workers=2)
    pairs = [bed.link(forwarder, target) for _unused in range(3)]
    workers = forwarder.workers()
    address = forwarder.status()["listeners"][0].split(":")
    forwarder.process.send_signal(number)
    assert forwarder.exit() == 0
    for peers in pairs:
        for peer in peers:
            assert peer.outcome() == "reset"
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert not (forwarder.directory / "run" / "control.sock").exists()
    assert forwarder.log().count("reason='forwarder stopped'") == 3
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address[0], int(address[1])))


def test_second_forwarder_in_one_directory(bed: Any) -> None:
    forwarder = bed.forwarder(targets=[None])
    second = bed.raw(bed.config(targets=[None]))
    assert second.exit() == 2
    assert "another forwarder serves this directory" in second.log()
    assert forwarder.status()["pid"] == forwarder.process.pid


def test_log_that_nobody_reads_stops_nothing(bed: Any) -> None:
    target = bed.target()
    forwarder = bed.raw(bed.config(targets=[target.address]), unread_log=True).started()
    for _unused in range(600):
        client, server = forwarder.connect(), target.accept()
        client.close()
        server.close()
    forwarder.counted("open", 0)
    client, server = bed.link(forwarder, target)
    client.send(b"x")
    assert server.receive(1) == b"x"
