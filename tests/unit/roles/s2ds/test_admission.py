# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who gets a connection, and what becomes of one that cannot be made."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest


def test_only_allowed_networks(bed: Any) -> None:
    target = bed.target()
    forwarder = bed.forwarder(targets=[target.address], allow=["127.0.0.3/32", "127.4.0.0/16"])
    for source in ("127.0.0.3", "127.4.5.6"):
        client = forwarder.connect(source=source)
        client.send(b"x")
        assert target.accept().receive(1) == b"x"
    for source in ("127.0.0.4", "127.5.0.1"):
        assert forwarder.turned_away(source=source)
    assert forwarder.status()["connections"]["refused"] == 2
    assert "refused 127.0.0.4:" in forwarder.log()
    assert "reason='not allowed'" in forwarder.log()


def test_without_a_target_connections_are_reset(bed: Any) -> None:
    target = bed.target()
    forwarder = bed.forwarder(targets=[None, target.address])
    assert forwarder.turned_away(0)
    bed.link(forwarder, target, 1)
    assert forwarder.status()["connections"] == {"open": 1, "total": 1, "refused": 1, "failed": 0}
    assert forwarder.status()["targets"] == [None, f"127.0.0.1:{target.address[1]}"]


def test_target_that_refuses(bed: Any) -> None:
    target = bed.target()
    target.close()
    forwarder = bed.forwarder(targets=[target.address])
    assert forwarder.turned_away()
    forwarder.counted("failed", 1)
    forwarder.counted("open", 0)
    assert "target: Connection refused" in forwarder.log()


def test_target_that_does_not_answer(bed: Any) -> None:
    target = bed.target(backlog=0)
    fill = [socket.socket() for _unused in range(3)]
    for sock in fill:
        sock.setblocking(False)
        sock.connect_ex(tuple(target.address))
    time.sleep(0.1)
    other = bed.target()
    forwarder = bed.forwarder(targets=[target.address, other.address], connect_timeout=1)
    begin = time.monotonic()
    slow = forwarder.connect(0)
    # Meanwhile others are served.
    client, server = bed.link(forwarder, other, 1)
    client.send(b"x")
    assert server.receive(1) == b"x"
    assert slow.outcome() == "reset"
    assert 0.9 < time.monotonic() - begin < 5
    forwarder.counted("failed", 1)
    assert "no connection within 1 s" in forwarder.log()
    for sock in fill:
        sock.close()


def test_more_than_max_connections(bed: Any) -> None:
    target = bed.target()
    forwarder = bed.forwarder(targets=[target.address], max_connections=2)
    pairs = [bed.link(forwarder, target) for _unused in range(2)]
    assert forwarder.turned_away()
    assert forwarder.status()["connections"]["refused"] == 1
    pairs[0][0].close()
    pairs[0][1].close()
    forwarder.counted("open", 1)
    bed.link(forwarder, target)


def test_refusals_do_not_fill_the_log(bed: Any) -> None:
    forwarder = bed.forwarder(targets=[None])
    for _unused in range(60):
        assert forwarder.turned_away()
    assert forwarder.status()["connections"]["refused"] == 60
    assert forwarder.log().count("\n") < 50


def test_source_address_of_outgoing_connections(bed: Any) -> None:
    target = bed.target()
    forwarder = bed.forwarder(targets=[target.address], source="127.0.0.9")
    _client, server = bed.link(forwarder, target)
    assert server.sock.getpeername()[0] == "127.0.0.9"


def test_binds_only_to_its_address(bed: Any) -> None:
    target = bed.target()
    forwarder = bed.forwarder(address="127.0.0.6", targets=[target.address])
    port = int(forwarder.status()["listeners"][0].split(":")[1])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.7", port))


@pytest.mark.parametrize("leg", ["accept", "connect"])
def test_congestion_control_of_each_leg(bed: Any, leg: str) -> None:
    available = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control").read_text().split()
    target = bed.target()
    forwarder = bed.forwarder(targets=[target.address], congestion={leg: available[0]})
    client, server = bed.link(forwarder, target)
    client.send(b"x")
    assert server.receive(1) == b"x"


def test_out_of_descriptors_neither_spins_nor_loses_the_listener(bed: Any) -> None:
    """Both processes have 24 descriptors: some connections are made, others wait or are reset; none hangs for ever."""
    target = bed.target()
    forwarder = bed.forwarder(targets=[target.address], descriptors=24, workers=1)
    clients = [forwarder.connect() for _unused in range(4)]
    servers = [target.accept() for _unused in clients]
    address = forwarder.status()["listeners"][0].split(":")
    more = []
    for _unused in range(40):
        # One that is reset at once may see it here already.
        with contextlib.suppress(ConnectionResetError):
            more.append(socket.create_connection((address[0], int(address[1])), timeout=20))
    before = cpu([forwarder.process.pid, *forwarder.workers()])
    time.sleep(1)
    assert cpu([forwarder.process.pid, *forwarder.workers()]) - before < 0.3
    for number, client in enumerate(clients):
        client.send(b"%d" % number)
    assert sorted(server.receive(1) for server in servers) == [b"0", b"1", b"2", b"3"]
    for peer in (*clients, *servers):
        peer.close()
    for sock in more:
        sock.close()
    target.sock.setblocking(False)

    def all_closed() -> bool:
        try:
            while True:
                target.sock.accept()[0].close()
        except BlockingIOError:
            return bool(forwarder.status()["connections"]["open"] == 0)

    bed.wait_until(all_closed, "the end of all connections")
    target.sock.settimeout(20)
    client, server = bed.link(forwarder, target)
    client.send(b"after")
    assert server.receive(5) == b"after"
    assert forwarder.status()["connections"]["failed"] > 0


def cpu(pids: list[int]) -> float:
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(field[11]) + int(field[12]) for field in fields) / os.sysconf("SC_CLK_TCK")
