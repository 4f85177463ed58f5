# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys that change in the middle of a connection: what the proxies do if the other gateway wants it, and by themselves.

OpenSSL's own client and server are the other gateway; a line K makes them change their key and ask for another one.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.tests.integration.proxies.certificates import Pair
from ansible_collections.scistream.gateway.tests.integration.proxies.harness import MIB, Stream, program
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import (
    PATIENCE,
    Application,
    connect,
    eventually,
    exchange,
    listening,
)

OTHERS = ("haproxy-tls", "nginx-tls", "stunnel")
ROUNDS = 3
SUITE = "TLS_CHACHA20_POLY1305_SHA256"


class Openssl:
    """OpenSSL's client or server with the certificate of a gateway, and the messages that it has seen."""

    def __init__(self, root: Path, own: Pair, *options: str) -> None:
        (root / "own.pem").write_text(own.certificate + own.key)
        self._messages = root / "messages"
        words = ["openssl", *options, "-cert", str(root / "own.pem"), "-msg", "-msgfile", str(self._messages)]
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        self.process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=nowhere)

    def type(self, text: bytes) -> None:
        """Write a line. It takes all that it reads at once for one command or for data."""
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def until(self, line: bytes) -> None:
        """Read what it prints up to a line from the other end."""
        assert self.process.stdout is not None
        while (found := self.process.stdout.readline()) != line:
            assert found, f"the connection ended before {line!r}"

    def updates(self, direction: str) -> int:
        """Return how many KeyUpdates it has sent (``>>>``) or received (``<<<``)."""
        lines = self._messages.read_text().splitlines() if self._messages.exists() else []
        return sum(1 for line in lines if line.startswith(direction) and line.endswith("KeyUpdate"))

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture(params=["producer", "consumer"])
def ends(
    request: pytest.FixtureRequest, gateway: S2CS, tmp_path: Path, kind: str, application: Application
) -> Iterator[tuple[Openssl, socket.socket]]:
    """OpenSSL in the place of a gateway, and the application beyond the proxy, whose role the parameter is."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server.settimeout(PATIENCE)
        stream = Stream(gateway, kind, f"127.0.0.1:{server.getsockname()[1]}")
        if request.param == "producer":
            listener = stream.session["listeners"][0]
            openssl = Openssl(tmp_path, stream.pairs["consumer"], "s_client", "-connect", listener)
            stack.callback(openssl.close)
            other = server.accept()[0]
        else:
            address = "127.0.0.77"
            with socket.create_server((address, 0)) as probe:
                port = probe.getsockname()[1]
            words = ("s_server", "-accept", f"{address}:{port}", "-Verify", "1")
            openssl = Openssl(tmp_path, stream.pairs["producer"], *words)
            stack.callback(openssl.close)
            eventually("it listens", lambda: port in listening(address))
            stream.point_front(f"{address}:{port}")
            other = connect(stream.listener)
        stack.enter_context(other)
        other.settimeout(PATIENCE)
        yield openssl, other


def _exchange(openssl: Openssl, other: socket.socket, number: int) -> None:
    line = b"line %d\n" % number
    other.sendall(line)
    openssl.until(line)
    openssl.type(line)
    received = b""
    while not received.endswith(line):
        data = other.recv(1 << 16)
        assert data, f"the connection ended after {received!r}"
        received += data


@pytest.mark.parametrize("kind", OTHERS)
def test_they_follow_and_answer_the_other_gateway(ends: tuple[Openssl, socket.socket]) -> None:
    openssl, other = ends
    _exchange(openssl, other, 0)
    for number in range(1, ROUNDS + 1):
        openssl.type(b"K\n")
        eventually("it has sent it", lambda number=number: openssl.updates(">>>") == number)  # type: ignore[misc]
        _exchange(openssl, other, number)
        eventually("it is answered", lambda number=number: openssl.updates("<<<") == number)  # type: ignore[misc]


@pytest.mark.parametrize("kind", OTHERS)
def test_the_longest_connection_is_known(gateway: S2CS, kind: str) -> None:
    """By the bytes that the kernel has counted of it, as these programs do not tell."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        stream = Stream(gateway, kind, f"127.0.0.1:{server.getsockname()[1]}")
        assert {gateway.info(stream.uid, role)["tls"]["with_one_key"] for role in stream.roles} == {0}
        with contextlib.ExitStack() as stack:
            # One after the other, because programs may connect to their target in another order.
            short = stack.enter_context(connect(stream.listener))
            stack.enter_context(server.accept()[0])
            long = stack.enter_context(connect(stream.listener))
            other = stack.enter_context(server.accept()[0])
            short.sendall(b"x" * 1000)
            other.sendall(bytes(MIB))
            received = 0
            while received < MIB:
                received += len(long.recv(1 << 16))
            for role in stream.roles:
                found = gateway.info(stream.uid, role)["tls"]
                # With the overhead of the records and of the handshake.
                assert MIB < found["with_one_key"] < MIB + (MIB >> 4)
                assert found["suite"] is None and "does not change its key" in found["reason"]


@pytest.mark.parametrize("kind", OTHERS)
def test_the_cipher_is_a_setting(
    make_gateway: Callable[..., S2CS], kind: str, application: Application, tmp_path: Path
) -> None:
    gateway = make_gateway({program(kind): {"cipher": "chacha20-poly1305"}})
    stream = Stream(gateway, kind, application.endpoint)
    assert exchange(stream.listener) == b"one:hello"
    assert [gateway.info(stream.uid, role)["tls"]["suite"] for role in stream.roles] == [SUITE, SUITE]
    (tmp_path / "own.pem").write_text(stream.pairs["consumer"].certificate + stream.pairs["consumer"].key)
    words = ["openssl", "s_client", "-connect", stream.session["listeners"][0], "-cert", str(tmp_path / "own.pem")]
    all_suites = subprocess.run(words, capture_output=True, input=b"", timeout=PATIENCE, check=False)
    assert f"Cipher is {SUITE}".encode() in all_suites.stdout
    others = [*words, "-ciphersuites", "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"]
    refused = subprocess.run(others, capture_output=True, input=b"", timeout=PATIENCE, check=False)
    assert refused.returncode and b"handshake failure" in refused.stderr
