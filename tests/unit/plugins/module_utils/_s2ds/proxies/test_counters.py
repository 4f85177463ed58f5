# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Counters: logs of the programs, files that they keep, and what the kernel tells of sockets."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import activity, connection_log
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.log_totals import Tally
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.processes import group_in, started_at
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.socket_diag import held_by, sockets
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies import haproxy, stunnel
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.haproxy import Master
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Place


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory of an instance."""
    (tmp_path / "run").mkdir()
    return tmp_path


def here(directory: Path) -> Place:
    """The instance of a proxy that runs on this host."""
    return Place(str(directory), str(directory))


@pytest.mark.parametrize("text", ["", "0", "1", "-5", "x", "99999999"])
def test_a_pid_that_is_not_the_proxys_is_not_believed(directory: Path, text: str) -> None:
    (directory / "run" / "pid").write_text(text)
    assert activity.main_process(here(directory), "run/pid") is None


def test_a_pid_is_believed_where_the_process_works_in_the_directory(directory: Path) -> None:
    (directory / "run" / "pid").write_text(f"{os.getpid()}\n")
    assert activity.main_process(here(directory), "run/pid") is None
    assert activity.main_process(here(Path.cwd()), str(directory / "run" / "pid")) == os.getpid()


def test_sockets_of_this_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
        udp.bind(("::1", 0))
        with socket.create_connection(server.getsockname()) as client:
            accepted, _peer = server.accept()
            with accepted:
                client.sendall(b"x" * 1000)
                assert len(accepted.recv(2000)) == 1000
                accepted.sendall(b"y" * 500)
                assert len(client.recv(2000)) == 500
                now = activity.open_connections([os.getpid()])
                port = server.getsockname()[1]
                found = next(item for item in now.accepted if item.local.port == port)
                assert found.remote.port == client.getsockname()[1] and found.received >= 1000 and found.sent >= 500
                assert any(item.remote.port == port for item in now.outgoing)
                assert {port, udp.getsockname()[1]} <= {item.port for item in now.listeners}
    assert sockets(held_by([2**22 + 1])) == []


def test_an_end_of_a_stream_is_no_byte() -> None:
    """Closed in turn from both sides, with bytes each way; the opening side counts its SYN in all of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _peer = listener.accept()
        with ours, theirs:
            theirs.sendall(b"1234567")
            theirs.shutdown(socket.SHUT_WR)
            assert ours.makefile("rb").read() == b"1234567"
            ours.sendall(b"xyz")
            assert theirs.recv(3) == b"xyz"
            inodes = {os.fstat(item.fileno()).st_ino for item in (ours, theirs)}
            port = listener.getsockname()[1]
            counted: dict[bool, tuple[int, int]] = {}
            for _unused in range(100):
                # A confirmation may take its time.
                counted = {item.local.port == port: (item.sent, item.received) for item in sockets(inodes)}
                if counted == {True: (7, 3), False: (3 + 1, 7)}:
                    break
                time.sleep(0.05)
            assert counted == {True: (7, 3), False: (3 + 1, 7)}


def test_since() -> None:
    started = started_at(os.getpid())
    assert started is not None and abs(started - os.stat("/proc/self").st_mtime) < 86400 * 365
    assert started_at(2**22 + 1) is None


def test_processes_of_a_group_that_work_elsewhere_are_not_ours(tmp_path: Path) -> None:
    assert os.getpid() in [pid for pid, _started in group_in(os.getpgid(0), os.getcwd())]
    assert group_in(os.getpgid(0), str(tmp_path)) == []


def test_refused_connections_survive_reloads_and_restarts(tmp_path: Path) -> None:
    place = here(tmp_path)
    first, second = Master(os.getppid(), os.getpid(), (), 0), Master(os.getppid(), 6, (os.getpid(),), 1)
    statistics = "# pxname,svname,status,dcon,dses,\na,FRONTEND,OPEN,3,1,\na,BACKEND,UP,,,\nb,FRONTEND,OPEN,2,,\n\n"
    assert haproxy.refused(haproxy.listener_rows(statistics)) == 6
    one, two = (haproxy.worker_identity(place, master) for master in (first, second))
    assert one != two
    tally = Tally()
    assert tally.refused_before(one) == 0
    for here_now in (6, 8, 8):
        tally.remember(one, here_now)
        assert tally.refused_before(one) == 0
        assert tally.refused_before(two) == here_now
    tally.remember(two, 5)
    assert tally.refused_before(two) == 8
    assert tally.refused_before("of another start") == 13
    assert haproxy.listener_rows("Unknown command\n") == []


STUNNEL = """\
2026.01.31 12:00:00 LOG5[ui]: stunnel 5.68 on x86_64-pc-linux-gnu platform
2026.01.31 12:00:00 LOG5[0]: Service [listener0] accepted connection from 192.0.2.7:1
2026.01.31 12:00:00 LOG5[ui]: stunnel 5.68 on x86_64-pc-linux-gnu platform
2026.01.31 12:00:01 LOG5[0]: Service [listener0] accepted connection from 192.0.2.7:2
2026.01.31 12:00:01 LOG5[0]: Service [listener0] connected remote server from 192.0.2.1:3
2026.01.31 12:00:01 LOG5[1]: Service [listener1] accepted connection from 192.0.2.7:3
2026.01.31 12:00:02 LOG3[1]: SSL_accept: error:0A000076:SSL routines::no suitable signature algorithm
2026.01.31 12:00:02 LOG5[1]: Connection reset/closed: 0 byte(s) sent to TLS, 0 byte(s) sent to socket
2026.01.31 12:00:02 LOG5[2]: Service [listener0] accepted connection from 192.0.2.7:4
2026.01.31 12:00:02 LOG3[2]: s_connect: connect 10.1.0.5:7000: Connection refused (111)
2026.01.31 12:00:02 LOG5[2]: Connection reset: 0 byte(s) sent to TLS, 0 byte(s) sent to socket
2026.01.31 12:00:03 LOG5[0]: Connection closed: 5000000000 byte(s) sent to TLS, 7 byte(s) sent to socket
2026.01.31 12:00:03 LOG5[3]: Service [listener0] accepted connection from 192.0.2.7:5
2026.01.31 12:00:03 LOG5[9]: Connection closed: 1 byte(s) sent to TLS, 1 byte(s) sent to socket
something else
"""


@pytest.mark.parametrize(("client", "to_consumer", "to_producer"), [(False, 5000000000, 7), (True, 7, 5000000000)])
def test_the_log_of_stunnel(directory: Path, client: bool, to_consumer: int, to_producer: int) -> None:
    (directory / "run" / "stunnel.log").write_text(STUNNEL)
    found = connection_log.read_totals(here(directory), "run/stunnel.log", stunnel.line_parser(client))
    assert (found.starts, found.total, found.refused, found.failed) == (2, 4, 1, 1)
    assert (found.to_consumer, found.to_producer) == (to_consumer, to_producer)
    # One was open when it was started again, so that nobody knows what it carried.
    assert not found.exact and list(found.open) == ["3"]
    assert found.last - found.since == 3.0


@pytest.mark.parametrize(
    "answer",
    [
        "#<PID> <type> <reloads> <uptime> <version>\n"
        "29997 master 3 [failed: 1] 0d00h00m05s 2.6.12\n"
        "# workers\n30491 worker 0 0d00h00m01s 2.6.12\n"
        "# old workers\n30334 worker 1 x x\n30000 worker 3 x x\n# programs\n",
        "#<PID> <type> <relative PID> <reloads> <uptime> <version>\n"
        "29997 master 0 3 0d00h00m05s 2.4.22\n"
        "# workers\n30491 worker 1 0 0d00h00m01s 2.4.22\n"
        "# old workers\n30334 worker [was: 1] 1 x x\n30000 worker x 3 x x\n",
    ],
)
def test_the_processes_of_haproxy(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr(haproxy, "ask", lambda *_arguments: answer)
    assert haproxy._master("x") == Master(29997, 30491, (30334, 30000), 3)
