# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The forwarder on one gateway, and another program on the other one. Those that are not installed are left out."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

MIB = 1 << 20
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


def free_port() -> int:
    with socket.create_server(("127.0.0.5", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


class Other:
    """Another program in the place of a gateway: `side` accept is the TLS server."""

    def __init__(self, sealed: Any, kind: str, side: str, directory: Path, target: list[Any]) -> None:
        self.port = free_port()
        self._own, self._peer = (
            (sealed.producer, sealed.consumer) if side == "accept" else (sealed.consumer, sealed.producer)
        )
        self._directory = directory
        file = directory / f"{kind}.conf"
        file.write_text(getattr(self, f"_{kind}")(side, f"{target[0]}:{target[1]}"))
        words = {
            "haproxy": ["haproxy", "-db", "-f", str(file)],
            "nginx": ["nginx", "-p", str(directory), "-e", "stderr", "-c", str(file)],
            "stunnel": ["stunnel", str(file)],
        }[kind]
        self._log = (directory / "other.log").open("wb")
        self.process = subprocess.Popen(words, stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL)
        sealed.bed.wait_until(self._listens, f"{kind} to listen")

    def _listens(self) -> bool:
        assert self.process.poll() is None, (self._directory / "other.log").read_text()
        # Looked at and not called: a call would be a connection to the target.
        # At its own address: others of this machine may have the same port.
        return f" 0500007F:{self.port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text()

    def _haproxy(self, side: str, target: str) -> str:
        both = self._directory / "both.pem"
        both.write_text(self._own.certificate.read_text() + self._own.key.read_text())
        tls = f"ssl crt {both} ca-file {self._peer.certificate} verify required"
        bind, server = (tls, "") if side == "accept" else ("", tls)
        return (
            "defaults\n mode tcp\n timeout connect 10s\n timeout client 1h\n timeout server 1h\n"
            f"listen hop\n bind 127.0.0.5:{self.port} {bind}\n server target {target} {server}\n"
        )

    def _nginx(self, side: str, target: str) -> str:
        modules = f"load_module {STREAM_MODULE};" if STREAM_MODULE.exists() else ""
        prefix = "ssl" if side == "accept" else "proxy_ssl"
        settings = {
            f"{prefix}_protocols": "TLSv1.3",
            f"{prefix}_certificate": self._own.certificate,
            f"{prefix}_certificate_key": self._own.key,
        }
        if side == "accept":
            settings.update({"ssl_client_certificate": self._peer.certificate, "ssl_verify_client": "on"})
        else:
            settings.update({"proxy_ssl": "on", "proxy_ssl_verify": "on", "proxy_ssl_name": "producer.producer.stream"})
            settings.update({"proxy_ssl_trusted_certificate": self._peer.certificate})
        lines = "".join(f"{name} {value};\n" for name, value in settings.items())
        listen = f"listen 127.0.0.5:{self.port}{' ssl' if side == 'accept' else ''};"
        return (
            f"{modules}\ndaemon off;\npid {self._directory}/nginx.pid;\nevents {{}}\n"
            f"stream {{\nproxy_half_close on;\n{lines}server {{ {listen} proxy_pass {target}; }}\n}}\n"
        )

    def _stunnel(self, side: str, target: str) -> str:
        return (
            f"foreground = yes\npid =\n[hop]\nclient = {'no' if side == 'accept' else 'yes'}\n"
            f"accept = 127.0.0.5:{self.port}\nconnect = {target}\nsslVersion = TLSv1.3\nverifyPeer = yes\n"
            f"cert = {self._own.certificate}\nkey = {self._own.key}\nCAfile = {self._peer.certificate}\n"
        )

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.5", self.port), timeout=20)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self._log.close()


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    assert shutil.which(name), f"{name} is not installed; make test-unit installs it"
    return name


@pytest.fixture(params=["accept", "connect"])
def ends(request: pytest.FixtureRequest, sealed: Any, kind: str, tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """Both ends of a connection over both; the parameter is the side of the forwarder."""
    target = sealed.bed.target()
    if request.param == "accept":
        forwarder = sealed.gateway("accept", target.address)
        other = Other(sealed, kind, "connect", tmp_path, sealed.address(forwarder))
        client = forwarder.connect()  # for its class
        client.close()
        client.sock = other.connect()
        sealed.bed.wait_until(lambda: "end of stream in the handshake" in forwarder.log(), "the end of the other one")
    else:
        other = Other(sealed, kind, "accept", tmp_path, target.address)
        forwarder = sealed.gateway("connect", ["127.0.0.5", other.port])
        client = forwarder.connect()
    server = target.accept()
    yield client, server
    client.close()
    server.close()
    other.close()


def with_(*kinds: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", kinds, indirect=True)


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@with_("haproxy", "nginx", "stunnel")
def test_every_byte_both_ways(sealed: Any, ends: tuple[Any, Any]) -> None:
    client, server = ends
    up, down = os.urandom(8 * MIB), os.urandom(8 * MIB)
    got_up, got_down = sealed.bed.together(
        lambda: server.receive(len(up)),
        lambda: client.receive(len(down)),
        lambda: client.send(up),
        lambda: server.send(down),
    )[:2]
    assert digest(got_up) == digest(up)
    assert digest(got_down) == digest(down)


@pytest.mark.parametrize("who", ["client", "target"])
@with_("haproxy")
def test_one_end_is_done_and_still_gets_the_answer(sealed: Any, ends: tuple[Any, Any], who: str) -> None:
    near, far = ends if who == "client" else (ends[1], ends[0])
    near.send(b"question")
    near.end()
    assert far.rest() == b"question"
    answer = os.urandom(3 * MIB)
    got = sealed.bed.together(lambda: (far.send(answer), far.end()), near.rest)[1]
    assert digest(got) == digest(answer)


@pytest.mark.parametrize("who", ["client", "target"])
@with_("nginx")
def test_nginx_ends_one_direction_without_close_notify(
    request: pytest.FixtureRequest, ends: tuple[Any, Any], who: str
) -> None:
    """That may be anybody's work, and is no end of stream: the bytes before it arrive, then the connection is reset."""
    near, far = ends if who == "client" else (ends[1], ends[0])
    near.send(b"question")
    assert far.receive(8) == b"question"
    near.end()
    from_nginx = (request.node.callspec.params["ends"], who) in {("accept", "client"), ("connect", "target")}
    assert far.outcome() == ("reset" if from_nginx else "end")


class TestOpenssl:
    def client(self, sealed: Any, forwarder: Any, *options: str) -> subprocess.Popen[bytes]:
        host, port = sealed.address(forwarder)
        files = ["-cert", str(sealed.consumer.certificate), "-key", str(sealed.consumer.key)]
        words = ["openssl", "s_client", "-connect", f"{host}:{port}", *files, *options]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def test_older_protocol(self, sealed: Any) -> None:
        target = sealed.bed.target()
        forwarder = sealed.gateway("accept", target.address)
        client = self.client(sealed, forwarder, "-tls1_2")
        output = client.communicate(b"", timeout=20)[0]
        assert client.returncode == 1
        assert b"alert protocol version" in output
        forwarder.counted("refused", 1)
        assert "unsupported protocol" in forwarder.log()

    def test_new_keys_on_the_way(self, sealed: Any) -> None:
        """A line K makes it change its own key and ask for another one of ours."""
        target = sealed.bed.target()
        forwarder = sealed.gateway("accept", target.address)
        client = self.client(sealed, forwarder)
        assert client.stdin is not None and client.stdout is not None
        server = target.accept()
        for number in range(6):
            client.stdin.write(b"K\n")
            client.stdin.flush()
            # It takes all that it reads at once for the command.
            time.sleep(0.1)
            line = b"line %d\n" % number
            client.stdin.write(line)
            client.stdin.flush()
            assert server.receive(len(line)) == line
            server.send(line)
            seen = b""
            while seen != line:
                seen = client.stdout.readline()
                assert seen
        server.end()
        client.communicate(timeout=20)
        assert forwarder.status()["bytes"] == {"to_consumer": 42, "to_producer": 42}
