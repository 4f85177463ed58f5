# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the forwarder sets on its sockets for long and short paths, as the kernel says, and what it says of them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

LINE = Path(__file__).resolve().parents[4] / "benchmarks/delay_line.py"
NEW_NETWORK, NOTSENT_LOWAT = 0x40000000, 25
NEW_MOUNTS, OWN_DIRECTORY, BIND, PRIVATE = 0x00020000, 0x00000200, 0x1000, 0x44000
ALLOWED = b"/proc/sys/net/ipv4/tcp_allowed_congestion_control"
PIDFD_OPEN, PIDFD_GETFD = 434, 438
LONG, UNSENT = 40, 4 << 20
NEAR, FAR = "10.251.1.1", "10.251.1.2"


def _missing() -> str:
    """Return what this host lacks for a network of its own with a long path, or an empty string."""
    if os.geteuid() != 0:
        return "only root can make networks"
    if shutil.which("ip") is None or not os.path.exists("/dev/net/tun"):
        return "there is no program ip (package iproute2), or no device /dev/net/tun"
    allowed = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
    return "" if {"bbr", "cubic"} <= set(allowed) else "this kernel does not have both BBR and CUBIC"


long_path = pytest.mark.skipif(bool(_missing()), reason=_missing())


class Network:
    """Two network namespaces with a long path between them."""

    def __init__(self, stack: contextlib.ExitStack, usual: str) -> None:
        self.names = [f"lp{os.getpid()}{end}" for end in "ab"]
        for name in self.names:
            self._run("ip", "netns", "add", name)
            stack.callback(self._run, "ip", "netns", "delete", name)
            self._run("ip", "-n", name, "link", "set", "lo", "up")
        with self.within(0):
            Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text(usual)
        words = [self.names[0], f"{NEAR}/24", self.names[1], f"{FAR}/24", "--round-trip", str(LONG)]
        line = subprocess.Popen([sys.executable, str(LINE), *words], stdout=subprocess.PIPE, text=True)
        stack.callback(line.wait)
        stack.callback(line.kill)
        assert line.stdout is not None and line.stdout.readline() == "ready\n"
        stack.callback(line.stdout.close)

    @contextlib.contextmanager
    def within(self, index: int) -> Iterator[None]:
        """New sockets and programs of this thread are in a namespace."""
        library = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as before, open(f"/run/netns/{self.names[index]}") as namespace:
            assert library.setns(namespace.fileno(), NEW_NETWORK) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert library.setns(before.fileno(), NEW_NETWORK) == 0, os.strerror(ctypes.get_errno())

    def forwarder(self, bed: Any, allowed: str, **config: Any) -> Any:
        """Start a forwarder in the first namespace, to which the kernel seems to allow other congestion controls."""
        file = bed.directory / "allowed"
        file.write_text(allowed)

        def start() -> Any:
            library = ctypes.CDLL(None, use_errno=True)
            calls: tuple[Callable[[], int], ...] = (
                lambda: library.unshare(NEW_MOUNTS | OWN_DIRECTORY),
                lambda: library.mount(b"none", b"/", None, PRIVATE, None),
                lambda: library.mount(bytes(file), ALLOWED, None, BIND, None),
            )
            with self.within(0):
                for call in calls:
                    assert call() == 0, os.strerror(ctypes.get_errno())
                return bed.forwarder(**config)

        # In a thread that ends, because it cannot return to the mounts of the others.
        return bed.together(start)[0]

    @staticmethod
    def _run(*words: str) -> None:
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL)


def _sockets(pid: int) -> dict[str, socket.socket]:
    """Return copies of the connected TCP sockets of a process, by the address of the peer."""
    library = ctypes.CDLL(None, use_errno=True)
    process = library.syscall(PIDFD_OPEN, pid, 0)
    assert process >= 0, os.strerror(ctypes.get_errno())
    found = {}
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            if not os.readlink(entry.path).startswith("socket:"):
                continue
            descriptor = library.syscall(PIDFD_GETFD, process, int(entry.name), 0)
            assert descriptor >= 0, os.strerror(ctypes.get_errno())
            sock = socket.socket(fileno=descriptor)
            if sock.family == socket.AF_INET:
                found[sock.getpeername()[0]] = sock
            else:
                sock.close()
    finally:
        os.close(process)
    return found


def _options(sock: socket.socket) -> tuple[str, int]:
    with sock:
        name = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()
        return name, sock.getsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT)


# Allowed and usual ones of the host, that of the policy, and those for the long and the short leg.
CASES = [
    ("reno cubic bbr", "reno", None, "bbr", "reno"),
    ("reno cubic bbr", "bbr", None, "bbr", "cubic"),
    ("reno bbr", "bbr", None, "bbr", "bbr"),
    ("reno cubic", "reno", None, "reno", "reno"),
    ("reno cubic bbr", "reno", "cubic", "cubic", "cubic"),
]


@long_path
@pytest.mark.parametrize(("allowed", "usual", "configured", "far", "near"), CASES)
def test_each_leg_is_adapted_to_its_path(
    bed: Any, allowed: str, usual: str, configured: str | None, far: str, near: str
) -> None:
    if usual not in Path(ALLOWED.decode()).read_text().split():
        pytest.skip(f"this host does not allow {usual} in a network namespace")
    with contextlib.ExitStack() as stack:
        network = Network(stack, usual)
        with network.within(1):
            producer = bed.target(FAR)
        settings = {"congestion": {"accept": configured, "connect": configured}}
        forwarder = network.forwarder(bed, allowed, address="127.0.0.1", targets=[producer.address], **settings)
        with network.within(0):
            consumer, served = bed.link(forwarder, producer)
        served.send(b"data")
        assert consumer.receive(4) == b"data"
        (worker,) = forwarder.workers()
        sockets = _sockets(worker)
        assert _options(sockets[FAR]) == (far, UNSENT)
        # The default of the kernel.
        name, unsent = _options(sockets["127.0.0.1"])
        assert name == near and unsent != UNSENT
        path = forwarder.status()["path"]
        assert (path["client"]["congestion"], path["target"]["congestion"]) == (near, far)
        assert path["target"]["rtt"] >= LONG and 0 < path["client"]["rtt"] < path["target"]["rtt"]
        # Before the namespaces are deleted.
        bed.close()


@long_path
def test_the_leg_of_a_client_can_be_the_long_one(bed: Any) -> None:
    with contextlib.ExitStack() as stack:
        network = Network(stack, "reno")
        with network.within(0):
            producer = bed.target()
        forwarder = network.forwarder(bed, "reno cubic bbr", address=NEAR, targets=[producer.address])
        with network.within(0):
            port = int(forwarder.status()["listeners"][0].rpartition(":")[2])
        with network.within(1), socket.create_connection((NEAR, port), 20) as client:
            served = producer.accept()
            served.send(b"data")
            assert client.recv(4, socket.MSG_WAITALL) == b"data"
            sockets = _sockets(forwarder.workers()[0])
            assert _options(sockets[FAR]) == ("bbr", UNSENT)
            assert _options(sockets["127.0.0.1"])[0] == "reno"
            assert forwarder.status()["path"]["client"]["rtt"] >= LONG
            served.close()
        bed.close()


def test_nothing_is_known_before_the_first_connection(bed: Any) -> None:
    forwarder = bed.forwarder(targets=[bed.target().address])
    assert forwarder.status()["path"] == {"client": None, "target": None}


def test_the_path_of_a_connection_on_this_host(bed: Any) -> None:
    forwarder, client, server = bed.pair()
    server.send(b"data")
    assert client.receive(4) == b"data"
    with socket.socket() as sock:
        usual = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()
    for leg in forwarder.status()["path"].values():
        assert 0 < leg["rtt"] < 10_000 and leg["congestion"] in (usual, "cubic")
