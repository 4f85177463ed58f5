# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Multipath TCP between two forwarders: over one path, over two of which one is cut, and without it at either end."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

MPTCP, NEW_NETWORK = 262, 0x40000000


def _missing() -> str:
    """Return what this host lacks for any test, or an empty string."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP).close()
    except OSError as error:
        return f"this kernel has no Multipath TCP: {error.strerror}"
    return ""


pytestmark = pytest.mark.skipif(bool(_missing()), reason=_missing())


def _address(forwarder: Any) -> list[Any]:
    host, _colon, port = forwarder.status()["listeners"][0].rpartition(":")
    return [host, int(port)]


def _gateways(bed: Any, accepting: str | None, connecting: str | None) -> tuple[Any, Any, Any, Any]:
    """The gateways of the producer and of the consumer, and the applications at both ends."""
    producer = bed.target()
    first = bed.forwarder(targets=[producer.address], multipath=accepting)
    second = bed.raw(bed.config(targets=[_address(first)], multipath=connecting), name="consumer").started()
    consumer, served = bed.link(second, producer)
    return first, second, consumer, served


def test_a_stream_over_one_path(bed: Any) -> None:
    first, second, consumer, producer = _gateways(bed, "accept", "connect")
    sent, back, taken, returned = bed.together(
        lambda: producer.send_stream(4 << 20, 1),
        lambda: consumer.send_stream(4 << 20, 2),
        consumer.receive_stream,
        producer.receive_stream,
    )
    assert taken == (4 << 20, sent) and returned == (4 << 20, back)
    assert [gateway.status()["multipath"] for gateway in (first, second)] == [{"paths": 1}] * 2


@pytest.mark.parametrize(("accepting", "connecting"), [("accept", None), (None, "connect")])
def test_ordinary_tcp_where_one_gateway_has_no_other(bed: Any, accepting: str | None, connecting: str | None) -> None:
    first, second, consumer, producer = _gateways(bed, accepting, connecting)
    producer.send(b"data")
    producer.end()
    assert consumer.rest() == b"data"
    found = [gateway.status()["multipath"] for gateway in (first, second)]
    assert found == [{"paths": 0} if setting else None for setting in (accepting, connecting)]


def test_nothing_is_known_before_the_first_connection(bed: Any) -> None:
    forwarder = bed.forwarder(targets=[bed.target().address], multipath="accept")
    assert forwarder.status()["multipath"] == {"paths": None}


@pytest.mark.parametrize("how", ["reset", "killed"])
def test_a_cut_is_no_end_of_stream(bed: Any, how: str) -> None:
    first, _second, consumer, producer = _gateways(bed, "accept", "connect")
    producer.send(b"data")
    assert consumer.receive(4) == b"data"
    if how == "reset":
        producer.reset()
    else:
        for pid in [*first.workers(), first.process.pid]:
            os.kill(pid, 9)
    assert consumer.outcome() == "reset"


def test_the_kernel_encrypts_no_multipath(bed: Any) -> None:
    files = {"side": "accept", "certificate": "a", "key": "b", "peer": "c"}
    config = bed.config(targets=[None], multipath="accept", kernel_tls=True, tls=files)
    refused = bed.raw(config)
    assert refused.exit() != 0
    assert 'kernel_tls: true must be false or "auto" with multipath' in refused.log()


class Networks:
    """Two network namespaces with two networks between them, of which the second is an additional path."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.names = [f"mp{os.getpid()}{end}" for end in "ab"]
        here, there = self.names
        for name in self.names:
            self._ip("netns", "add", name)
            stack.callback(self._ip, "netns", "delete", name)
            self._ip("-n", name, "link", "set", "lo", "up")
            self._ip("-n", name, "mptcp", "limits", "set", "subflows", "2", "add_addr_accepted", "2")
        for number in (1, 2):
            self._ip("link", "add", "near", "netns", here, "type", "veth", "peer", "name", "far", "netns", there)
            for name, end, host in ((here, "near", 1), (there, "far", 2)):
                self._ip("-n", name, "link", "set", end, "name", f"net{number}")
                self._ip("-n", name, "address", "add", f"10.250.{number}.{host}/24", "dev", f"net{number}")
                self._ip("-n", name, "link", "set", f"net{number}", "up")
        # The listener's address belongs to neither network, and both reach it.
        self._ip("-n", there, "address", "add", "10.250.9.2/32", "dev", "lo")
        self._ip("-n", here, "route", "add", "10.250.9.2", "via", "10.250.1.2")
        self._ip("-n", here, "route", "add", "10.250.9.2", "via", "10.250.2.2", "table", "250")
        self._ip("-n", here, "rule", "add", "from", "10.250.2.1", "table", "250")
        self._ip("-n", here, "mptcp", "endpoint", "add", "10.250.2.1", "dev", "net2", "subflow")

    def cut(self, number: int) -> None:
        self._ip("-n", self.names[1], "link", "set", f"net{number}", "down")

    @contextlib.contextmanager
    def within(self, index: int) -> Iterator[None]:
        """New sockets of this thread are in a namespace."""
        library = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as before, open(f"/run/netns/{self.names[index]}") as namespace:
            assert library.setns(namespace.fileno(), NEW_NETWORK) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert library.setns(before.fileno(), NEW_NETWORK) == 0, os.strerror(ctypes.get_errno())

    @staticmethod
    def _ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, stdin=subprocess.DEVNULL)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make networks")
@pytest.mark.skipif(shutil.which("ip") is None, reason="there is no program ip (package iproute2)")
def test_a_stream_survives_the_loss_of_a_path(bed: Any) -> None:
    with contextlib.ExitStack() as stack:
        networks = Networks(stack)
        gateways = {}
        with networks.within(1):
            producer = bed.target()
            gateways["producer"] = bed.forwarder(address="10.250.9.2", targets=[producer.address], multipath="accept")
        with networks.within(0):
            config = bed.config(address="127.0.0.1", targets=[_address(gateways["producer"])], multipath="connect")
            gateways["consumer"] = bed.raw(config, name="consumer").started()
            consumer, served = bed.link(gateways["consumer"], producer)
        # The kernel adds paths once the peer has acknowledged data.
        served.send(b"data")
        assert consumer.receive(4) == b"data"
        for gateway in gateways.values():
            bed.wait_until(lambda gateway=gateway: gateway.status()["multipath"] == {"paths": 2}, "the second path")
        piece = os.urandom(1 << 20)
        digest, received = hashlib.sha256(), hashlib.sha256()
        for number in range(24):
            if number == 8:
                networks.cut(1)
            served.send(piece)
            digest.update(piece)
            received.update(consumer.receive(len(piece)))
        served.end()
        assert consumer.rest() == b"" and received.digest() == digest.digest()
        # Before the namespaces are deleted.
        bed.close()
