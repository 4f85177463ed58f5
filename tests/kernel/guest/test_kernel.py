# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is particular about encryption in the kernel. The other tests of this directory run with it as well."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

MIB = 1 << 20
SOME = MIB // 2
WHERE = pytest.mark.parametrize("where", ["accept", "connect"])
# Since then, it takes new keys in a connection.
RENEWS = (6, 14)
KERNEL = tuple(int(part) for part in platform.release().split(".")[:2])


def outside(where: str, client: Any, server: Any) -> tuple[Any, Any]:
    """The end that speaks TLS, and the other one."""
    return (client, server) if where == "accept" else (server, client)


@WHERE
def test_the_kernel_encrypts_and_decrypts(sealed: Any, where: str) -> None:
    (gateway,), client, server = sealed.pair(where)
    client.send(b"question")
    assert server.receive(8) == b"question"
    server.send(b"answer")
    assert client.receive(6) == b"answer"
    found = gateway.status()["tls"]
    assert found == {
        "sending": "kernel",
        "receiving": "kernel",
        "suite": "TLS_AES_256_GCM_SHA384",
        "reason": "kernel_tls is true",
        "with_one_key": found["with_one_key"],
    }


# A transfer as in the measurement of costs, which compares the bytes. A buffer would show that bytes were copied.
_TRACK = """
import sys
sys.path.insert(0, sys.argv[1])
import splice
from kernel_channel import KernelTls
from kernel_measure import End, Track, measure
from log import Log
texts = [open(name).read() for name in sys.argv[2:]]
kernel = KernelTls(Log())
track = Track((End(True, *texts), End(False, *texts)), kernel, splice.find(), Log())
print(track.run())
assert track._resources._buffer is None
print(measure(*texts, splice.find(), Log()))
"""


def test_no_byte_enters_the_program(sealed: Any) -> None:
    print(script(_TRACK, sealed))


def script(text: str, sealed: Any) -> str:
    """Run a script with the modules of the program."""
    program = Path(__file__).parents[5] / "roles/s2ds/files/s2ds"
    words = [sys.executable, "-Bc", text, program, sealed.producer.certificate, sealed.producer.key]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


# The gateway that sends has small buffers, and closes its socket as soon as its pump has finished.
_SMALL = """
import contextlib, fcntl, os, socket, struct, sys, termios, time
sys.path.insert(0, sys.argv[1])
import pump, splice
from kernel_channel import KernelTls
from kernel_measure import End, Track
from kernel_tls import Outflow
from log import Log
from sockets import ORDERLY
texts = [open(name).read() for name in sys.argv[2:]]
kernel, waits, exact = KernelTls(Log()), 0, []
original = Outflow.is_in_tcp
def is_in_tcp(self, data):
    global waits
    done = original(self, data)
    waits += not done
    excess = self._in_tcp() - self._base - data - self._controls - 22 * (self._records + self._sequence())
    assert not done or excess == 0, excess
    exact.append(done)
    return done
Outflow.is_in_tcp = is_in_tcp
def queues(track):
    ask = lambda sock, what: struct.unpack("i", fcntl.ioctl(sock.fileno(), what, bytes(4)))[0]
    middle = [track._legs[0].sock, track._legs[3].sock]
    found = [ask(sock, what) for sock in middle for what in (termios.TIOCOUTQ, termios.FIONREAD)]
    return found, sender._down._held, sender._down._notified, sender._down.moved, receiver._down.moved
class Small(Track):
    # Segments as on Ethernet.
    def _pair(self):
        with socket.socket() as listener:
            one = socket.socket()
            for sock in (listener, one):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1448)
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            one.connect(listener.getsockname())
            other, _address = listener.accept()
        for sock in (one, other):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.append(sock)
        return one, other
for number in range(12):
    track = Small((End(True, *texts), End(False, *texts)), kernel, splice.find(), Log())
    wire = track._legs[0].sock
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
    track._legs[2].sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    track._end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    track._resources.pool.resize(65536)
    track._shake()
    sender, receiver = track._pump(0), track._pump(1)
    data, got = os.urandom(200_000 + 1000 * number), b""
    track._begin.setblocking(True)
    track._begin.sendall(data)
    track._begin.shutdown(socket.SHUT_WR)
    track._end.shutdown(socket.SHUT_WR)
    state, begin, more = None, time.monotonic(), None
    while more != b"":
        assert time.monotonic() < begin + 60, (number, len(got), state, queues(track))
        track._ready()
        track._timers.run()
        if state != pump.FINISHED:
            state = sender.turn()
            if state == pump.FINISHED:
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ORDERLY)
                wire.close()
        receiver.turn()
        with contextlib.suppress(BlockingIOError):
            more = track._end.recv(1 << 20)
            got += more
    assert got == data, (number, len(got), len(data))
print("waits:", waits)
assert exact.count(True) == 24  # in both directions
"""


def test_nothing_is_lost_in_small_buffers(sealed: Any) -> None:
    """Every stream arrives, and TCP has exactly the bytes that were computed when it is shut down."""
    print(script(_SMALL, sealed))


@WHERE
def test_secrets_leave_no_trace(sealed: Any, where: str) -> None:
    (gateway,), client, server = sealed.pair(where)
    client.send(b"x")
    assert server.receive(1) == b"x"
    (worker,) = gateway.workers()
    with pytest.raises(PermissionError):
        os.listdir(f"/proc/{worker}/fd")
    with pytest.raises(PermissionError), open(f"/proc/{worker}/mem", "rb"):
        pass
    assert sorted(os.listdir(gateway.directory)) == ["log", "run", "s2ds.json"]


@WHERE
@pytest.mark.parametrize("size", [1, 7, 16384, 16385, 100_000])
def test_short_messages_do_not_wait(sealed: Any, where: str, size: int) -> None:
    _gateways, client, server = sealed.pair(where)
    for number in range(20):
        message = hashlib.shake_128(b"%d" % number).digest(size)
        client.send(message)
        assert server.receive(size) == message
        server.send(message)
        assert client.receive(size) == message


@WHERE
def test_bytes_behind_the_handshake(sealed: Any, where: str) -> None:
    """They arrive together with its last message, before the kernel has the keys."""
    target = sealed.bed.target()
    gateway = sealed.gateway(where, target.address)
    data = os.urandom(25_000)
    if where == "accept":
        near = gateway.connect()
        near.sock = Early(near.sock, sealed.context(False, sealed.consumer, sealed.producer), data)
        far = sealed.bed.together(near.sock.shake, target.accept)[1]
    else:
        far, near = sealed.bed.together(gateway.connect, lambda: sealed.answer(target))
        near.send(data)
    assert far.receive(len(data)) == data
    assert gateway.status()["tls"]["receiving"] == "kernel"


class Early:
    """A client that sends its first bytes, and the last message of its handshake, in one call."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, data: bytes) -> None:
        self.raw, self._data = sock, data
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def shake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.raw.sendall(self._outgoing.read())
                self._incoming.write(self.raw.recv(65536))
        self._tls.write(self._data)
        self.raw.sendall(self._outgoing.read())


@WHERE
@pytest.mark.parametrize(
    ("junk", "reason"),
    [
        (b"GET / HTTP/1.0\r\n\r\n" * 400, "TLS: "),
        (b"\x17\x03\x03\xff\xff" + bytes(70_000), "TLS: "),
        (b"\x17\x03\x03\x00\x20" + bytes(32), "TLS: bad record mac"),
        (b"\x17\x03\x03\x40\x11" + bytes(16401), "TLS: bad record mac"),
        (b"\x14\x03\x03\x00\x01\x01" * 40, "TLS: "),
        (b"\x17\x03\x03\x00\x20" + bytes(7), "end of stream without close_notify"),
        (b"\x17\x03", "end of stream without close_notify"),
        (b"", "end of stream without close_notify"),
    ],
    ids=[
        "text",
        "too long",
        "corrupted",
        "corrupted, large",
        "unencrypted",
        "cut in a record",
        "cut in a header",
        "cut",
    ],
)
def test_what_is_no_stream_breaks_the_connection(sealed: Any, where: str, junk: bytes, reason: str) -> None:
    (gateway,), client, server = sealed.pair(where)
    near, far = outside(where, client, server)
    near.send(b"good")
    assert far.receive(4) == b"good"
    try:
        near.sock.raw.sendall(junk)
        near.sock.raw.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # It has been reset already.
    assert far.outcome() == "reset"
    gateway.counted("open", 0)
    assert reason in gateway.log(), gateway.log()


@WHERE
def test_other_alerts_are_no_end(sealed: Any, where: str) -> None:
    (gateway,), client, server = sealed.pair(where)
    near, far = outside(where, client, server)
    near.send(b"good")
    assert far.receive(4) == b"good"
    # It makes OpenSSL send an alert.
    near.sock._incoming.write(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(ssl.SSLError):
        near.sock.tls.read(1)
    near.sock._flush()
    assert far.outcome() == "reset"
    gateway.counted("open", 0)
    assert "TLS: tlsv1 alert bad record mac" in gateway.log()


@pytest.mark.parametrize("number", range(2))
@WHERE
def test_nothing_is_lost_behind_close_notify(sealed: Any, where: str, number: int) -> None:
    """The last bytes, close_notify and the end of the connection follow each other at once, and the reader is slow."""
    (gateway,), client, server = sealed.pair(where)
    near, far = outside(where, client, server)
    near.sock.raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    data = os.urandom(MIB + number)
    near.end()  # so that the connection is closed behind the other direction
    assert far.rest() == b""
    sender = threading.Thread(target=lambda: (far.send(data), far.end()))
    sender.start()
    time.sleep(0.5)
    got = near.rest()
    sender.join()
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
    gateway.counted("open", 0)
    assert "reason='end of stream'" in gateway.log()


@WHERE
def test_copying_where_nothing_is_spliced(sealed: Any, where: str) -> None:
    target = sealed.bed.target()
    settings = sealed.bed.config(targets=[target.address], tls=sealed.tls(where), kernel_tls=True)
    gateway = sealed.bed.raw(settings, "--copy").started()
    if where == "accept":
        client, server = sealed.bed.together(lambda: sealed.dial(gateway), target.accept)
    else:
        client, server = sealed.bed.together(gateway.connect, lambda: sealed.answer(target))
    digests = sealed.bed.together(
        lambda: client.send_stream(SOME, 1),
        lambda: server.send_stream(SOME, 2),
        server.receive_stream,
        client.receive_stream,
    )
    assert digests[2:] == [(SOME, digests[0]), (SOME, digests[1])]
    assert gateway.status()["tls"]["sending"] == gateway.status()["tls"]["receiving"] == "kernel"


@WHERE
def test_one_direction_only(sealed: Any, where: str) -> None:
    """The kernel may encrypt and OpenSSL decrypt, or the other way round."""
    program = sealed.installed()
    for directions in ((True, False), (False, True)):
        target = sealed.bed.target()
        prefer(program, *directions)
        gateway = sealed.gateway(where, target.address, f"gateway{directions[0]}", program=program, kernel_tls="auto")
        if where == "accept":
            client, server = sealed.bed.together(lambda gateway=gateway: sealed.dial(gateway), target.accept)
        else:
            client, server = sealed.bed.together(gateway.connect, lambda target=target: sealed.answer(target))
        digests = sealed.bed.together(
            lambda client=client: client.send_stream(SOME, 1),
            lambda server=server: server.send_stream(SOME, 2),
            server.receive_stream,
            client.receive_stream,
        )
        assert digests[2:] == [(SOME, digests[0]), (SOME, digests[1])]
        found = gateway.status()["tls"]
        assert (found["sending"] == "kernel", found["receiving"] == "kernel") == directions
        gateway.counted("open", 0)
        assert "reason='end of stream'" in gateway.log()


def calibrate(bed: Any, program: Path, *options: str) -> str:
    words = [bed.python, "-IB", str(program), "--calibrate", *options]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def costs(program: Path) -> Path:
    return program.parent / "kernel-tls.json"


_HOST = """
import json, sys
sys.path.insert(0, sys.argv[1])
from costs import Measurement, this_host
print(Measurement(this_host(), "", json.loads(sys.argv[2])).text())
"""


def prefer(program: Path, sending: bool, receiving: bool) -> None:
    """Have an earlier measurement say that the kernel is better or worse."""
    found = {
        direction: {"kernel": 0.5 if kernel else 1.5, "user space": 1.0}
        for direction, kernel in (("sending", sending), ("receiving", receiving))
    }
    words = [sys.executable, "-Bc", _HOST, str(program), json.dumps(found)]
    costs(program).write_text(subprocess.check_output(words, text=True))


def test_measured_once(sealed: Any) -> None:
    """By a program of the administrator, for all sessions, until the kernel or OpenSSL changes."""
    target, program = sealed.bed.target(), sealed.installed()
    gateway = sealed.gateway("accept", target.address, program=program, kernel_tls="auto")
    assert "has not been measured" in gateway.status()["tls"]["reason"]
    assert "would be written" in calibrate(sealed.bed, program, "--check")
    assert not costs(program).exists()
    changed = calibrate(sealed.bed, program)
    assert "as measured on this host in CPU seconds for each GB" in changed
    before, good = costs(program).stat(), costs(program).read_text()
    assert before.st_mode & 0o777 == 0o644
    for options in ((), ("--check",)):
        assert calibrate(sealed.bed, program, *options) == ""
    assert costs(program).stat().st_mtime_ns == before.st_mtime_ns
    assert gateway.reload(json.loads((gateway.directory / "s2ds.json").read_text()))["ok"]
    assert gateway.status()["tls"]["reason"] == changed.strip()
    client, server = sealed.bed.together(lambda: sealed.dial(gateway), target.accept)
    client.send(b"x")
    assert server.receive(1) == b"x"
    found = gateway.status()["tls"]
    measured = json.loads(costs(program).read_text())["seconds_per_gb"]
    for direction in ("sending", "receiving"):
        cheaper = measured[direction]["kernel"] < 0.95 * measured[direction]["user space"]
        assert (found[direction] == "kernel") == cheaper
        assert f"{direction} in {'the kernel' if cheaper else 'user space'}" in changed
    for changes in ({"kernel": "2.6.32"}, {"openssl": "OpenSSL 0.9.8"}, {"processor": "Z80"}):
        costs(program).write_text(json.dumps({**json.loads(good), **changes}))
        assert gateway.reload(json.loads((gateway.directory / "s2ds.json").read_text()))["ok"]
        (name,) = changes
        assert f"was measured with another {name}" in gateway.status()["tls"]["reason"]
        assert "would be written" in calibrate(sealed.bed, program, "--check")
    assert calibrate(sealed.bed, program)
    assert not [path for path in program.parent.iterdir() if path not in (program, costs(program))]


@pytest.mark.parametrize("directions", [(True, True), (True, False), (False, True)])
def test_own_new_keys(sealed: Any, directions: tuple[bool, bool]) -> None:
    """Where both ends are able, the kernel changes its key after an amount of data; elsewhere, it does not."""
    target, program = sealed.bed.target(), sealed.installed()
    # It looks at the amount in each turn, in which it fills the pipe several times.
    settings = {"kernel_tls": "auto", "key_update": MIB, "pipe_size": 65536}
    prefer(program, *directions)
    inner = sealed.gateway("accept", target.address, program=program, **settings)
    prefer(program, True, True)
    outer = sealed.gateway("connect", sealed.address(inner), program=program, **settings)
    client, server = sealed.bed.link(outer, target)
    size = 2 * MIB + 100_000
    digests = sealed.bed.together(
        lambda: client.send_stream(size, 1),
        lambda: server.send_stream(size, 2),
        server.receive_stream,
        client.receive_stream,
    )
    assert digests[2:] == [(size, digests[0]), (size, digests[1])]
    for gateway, sending in ((inner, directions[0]), (outer, True)):
        gateway.counted("open", 0)
        assert "reason='end of stream'" in gateway.log()
        assert ("changes its key after" in gateway.log()) == (sending and KERNEL >= RENEWS)


class TestOpenssl:
    """OpenSSL's own client. A line K makes it change its own key and ask for another one of ours, k its own only."""

    def client(self, sealed: Any, forwarder: Any, *options: str) -> subprocess.Popen[bytes]:
        host, port = sealed.address(forwarder)
        files = ["-cert", str(sealed.consumer.certificate), "-key", str(sealed.consumer.key)]
        words = ["openssl", "s_client", "-connect", f"{host}:{port}", *files, *options]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    @pytest.mark.parametrize(
        "suite", ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
    )
    def test_suites(self, sealed: Any, suite: str) -> None:
        target = sealed.bed.target()
        forwarder = sealed.gateway("accept", target.address)
        client = self.client(sealed, forwarder, "-quiet", "-ciphersuites", suite)
        server = target.accept()
        assert client.stdin is not None and client.stdout is not None
        lines = b"".join(b"line %d\n" % number for number in range(20_000))
        writer = threading.Thread(target=lambda: (client.stdin.write(lines), client.stdin.flush()))  # type: ignore[union-attr]
        writer.start()
        assert server.receive(len(lines)) == lines
        writer.join()
        server.send(lines)
        server.end()
        assert lines in client.communicate(timeout=120)[0]
        assert forwarder.status()["tls"]["suite"] == suite
        assert forwarder.status()["tls"]["sending"] == "kernel"

    @pytest.mark.parametrize("letter", ["k", "K"])
    def test_new_keys(self, sealed: Any, letter: str) -> None:
        target = sealed.bed.target()
        forwarder = sealed.gateway("accept", target.address)
        client = self.client(sealed, forwarder)
        server = target.accept()
        assert client.stdin is not None and client.stdout is not None
        for number in range(4):
            client.stdin.write(letter.encode() + b"\n")
            client.stdin.flush()
            if KERNEL < RENEWS:
                assert server.outcome() == "reset"
                client.communicate(timeout=120)
                forwarder.counted("open", 0)
                assert "new keys, which this kernel does not take" in forwarder.log()
                return
            # It takes all that it reads at once for the command.
            time.sleep(1)
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
        client.communicate(timeout=120)
        forwarder.counted("open", 0)
        assert "reason='end of stream'" in forwarder.log()
