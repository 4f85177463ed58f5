# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel decrypts the records of a peer that changes its keys all the time, is cut off, or is changed on the way.

The tests make these records themselves, after a handshake of OpenSSL.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import platform
import socket
import struct
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

WHERE = pytest.mark.parametrize("where", ["accept", "connect"])
# Since then, the kernel takes new keys in a connection.
RENEWS = (6, 14)
KERNEL = tuple(int(part) for part in platform.release().split(".")[:2])
SIZES = (1, 16384, 700, 16384, 5)
# Bytes that arrive of the last record: none, parts of its header, its first bytes, all but its last one.
CUTS = (0, 1, 4, 5, 6, -1)
# Type, version and length in the header, then ciphertext and tag.
DAMAGED = (0, 1, 3, 4, 5, 10, -16, -1)
ALERT, HANDSHAKE, DATA = 21, 22, 23
CLOSE_NOTIFY = b"\x01\x00"
# KeyUpdate without and with a request for one of the other end.
KEY_UPDATE = (b"\x18\x00\x00\x01\x00", b"\x18\x00\x00\x01\x01")
HASH, KEY_SIZE, NONCE_SIZE = "sha384", 32, 12  # of TLS_AES_256_GCM_SHA384
HEADER = 5


class Keys:
    """The keys of one direction."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._begin()

    def _begin(self) -> None:
        self._cipher = AESGCM(self._expand("key", KEY_SIZE))
        self._iv = int.from_bytes(self._expand("iv", NONCE_SIZE), "big")
        self._sequence = 0

    def renew(self) -> None:
        self._secret = self._expand("traffic upd", len(self._secret))
        self._begin()

    def nonce(self) -> bytes:
        nonce = (self._iv ^ self._sequence).to_bytes(NONCE_SIZE, "big")
        self._sequence += 1
        return nonce

    def seal(self, kind: int, content: bytes) -> bytes:
        inner = content + bytes([kind])
        head = struct.pack("!BHH", DATA, 0x0303, len(inner) + 16)
        return head + self._cipher.encrypt(self.nonce(), inner, head)

    def open(self, head: bytes, body: bytes) -> tuple[int, bytes]:
        inner = self._cipher.decrypt(self.nonce(), body, head).rstrip(b"\0")
        return inner[-1], inner[:-1]

    def _expand(self, label: str, size: int) -> bytes:
        name = b"tls13 " + label.encode()
        info = struct.pack("!HB", size, len(name)) + name + b"\0"
        result = block = b""
        for number in range(1, 3):
            block = hmac.new(self._secret, block + info + bytes([number]), HASH).digest()
            result += block
        return result[:size]


class Records:
    """The end of a connection that speaks TLS in a test, after its handshake.

    OpenSSL did the handshake, and wrote the secrets to a file of the test.
    """

    def __init__(self, end: Any, keylog: Path, server: bool) -> None:
        assert end.sock.tls.cipher()[0] == "TLS_AES_256_GCM_SHA384"
        self.sock: socket.socket = end.sock.raw
        secrets = {line.split()[0]: bytes.fromhex(line.split()[2]) for line in keylog.read_text().splitlines()[1:]}
        names = ("SERVER_TRAFFIC_SECRET_0", "CLIENT_TRAFFIC_SECRET_0")
        own, other = names if server else names[::-1]
        self.out, self._in = Keys(secrets[own]), Keys(secrets[other])
        self.updates = 0  # of the other end

    def send(self, *contents: bytes) -> None:
        self.sock.sendall(b"".join(self.out.seal(DATA, content) for content in contents))

    def update(self, request: bool) -> bytes:
        """Return a KeyUpdate. What follows it has new keys."""
        record = self.out.seal(HANDSHAKE, KEY_UPDATE[request])
        self.out.renew()
        return record

    def end(self) -> None:
        self.sock.sendall(self.out.seal(ALERT, CLOSE_NOTIFY))
        self.sock.shutdown(socket.SHUT_WR)

    def receive(self, size: int) -> bytes:
        """Receive so many bytes, and what announces new keys between them."""
        found = b""
        while len(found) < size:
            head = self._exactly(HEADER)
            kind, content = self._in.open(head, self._exactly(int.from_bytes(head[3:], "big")))
            if kind == HANDSHAKE:
                assert content in KEY_UPDATE, content
                self._in.renew()
                self.updates += 1
            else:
                assert kind == DATA, (kind, content)
                found += content
        return found

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.sock.recv(size - len(data))
            assert part, "the connection ended"
            data += part
        return data


class Opened:
    """A gateway, and connections through it whose end that speaks TLS is a test."""

    def __init__(self, sealed: Any, where: str, directory: Path) -> None:
        self._sealed, self._where, self._keylog = sealed, where, directory / "keys"
        self._target = sealed.bed.target()
        self.gateway = sealed.gateway(where, self._target.address)

    def connect(self) -> tuple[Records, Any]:
        """Return the end that speaks TLS, and the other one."""
        sealed, gateway = self._sealed, self.gateway
        server = self._where == "connect"
        own, peer = (sealed.producer, sealed.consumer) if server else (sealed.consumer, sealed.producer)
        context = sealed.context(server, own, peer)
        self._keylog.unlink(missing_ok=True)
        context.keylog_filename = str(self._keylog)
        if server:
            # Records are counted from the end of the handshake.
            context.num_tickets = 0
            actions = (gateway.connect, lambda: sealed.answer(self._target, context=context))
            far, near = sealed.bed.together(*actions)
        else:
            near, far = sealed.bed.together(lambda: sealed.dial(gateway, context=context), self._target.accept)
        return Records(near, self._keylog, server), far

    def ended(self, number: int) -> list[str]:
        """Return why so many connections ended."""
        self.gateway.counted("open", 0)
        reasons = [line.partition("reason=")[2] for line in self.gateway.log().splitlines() if " close " in line]
        assert len(reasons) == number, self.gateway.log()
        return reasons


def _end(far: Any) -> tuple[bytes, str]:
    """Return what still comes, and how it ends."""
    got = b""
    try:
        while part := far.sock.recv(1 << 16):
            got += part
    except ConnectionResetError:
        return got, "reset"
    return got, "end"


@pytest.fixture
def opened(sealed: Any, where: str, tmp_path: Path) -> Opened:
    return Opened(sealed, where, tmp_path)


@pytest.mark.skipif(KERNEL < RENEWS, reason="this kernel takes no new keys in a connection")
@WHERE
def test_storm_of_new_keys(sealed: Any, opened: Opened) -> None:
    """Each record has other keys, several changes follow each other, and some ask for ours."""
    near, far = opened.connect()
    sent = [os.urandom(1 + 97 * number % 9000) for number in range(300)]

    def send() -> None:
        for number, content in enumerate(sent):
            updates = b"".join(near.update(request=not number % 10) for _unused in range(1 + number % 3))
            near.sock.sendall(updates + near.out.seal(DATA, content))

    size, answer = sum(map(len, sent)), os.urandom(1 << 20)
    got, back = sealed.bed.together(
        lambda: far.receive(size), lambda: near.receive(len(answer)), send, lambda: far.send(answer)
    )[:2]
    assert got == b"".join(sent)
    assert back == answer
    far.send(b"last")
    assert near.receive(4) == b"last"
    # One answer suits several requests.
    assert 1 <= near.updates <= 60
    near.end()
    assert far.rest() == b""
    far.end()
    assert opened.ended(1) == ["'end of stream'"]


@WHERE
def test_cut_at_every_record(opened: Opened) -> None:
    """What arrived whole is delivered, and nothing else; then the connection is reset."""
    contents = [os.urandom(size) for size in SIZES]
    cuts = [(number, cut) for number in range(len(SIZES)) for cut in CUTS]
    for number, cut in cuts:
        near, far = opened.connect()
        near.send(*contents[:number])
        before = b"".join(contents[:number])
        assert far.receive(len(before)) == before
        near.sock.sendall(near.out.seal(DATA, contents[number])[:cut])
        near.sock.shutdown(socket.SHUT_WR)
        assert _end(far) == (b"", "reset"), (number, cut)
    assert all("end of stream without close_notify" in reason for reason in opened.ended(len(cuts)))


@WHERE
def test_a_changed_byte_anywhere(opened: Opened) -> None:
    """Nothing of the record is delivered, and nothing behind it."""
    contents = [os.urandom(size) for size in SIZES[:3]]
    changes = [(number, place) for number in range(len(contents)) for place in DAMAGED]
    for number, place in changes:
        near, far = opened.connect()
        near.send(*contents[:number])
        before = b"".join(contents[:number])
        assert far.receive(len(before)) == before
        records = [bytearray(near.out.seal(DATA, content)) for content in contents[number:]]
        records[0][place] ^= 0x20
        # It may be reset before all of it was sent.
        with contextlib.suppress(OSError):
            near.sock.sendall(b"".join(records))
            near.sock.shutdown(socket.SHUT_WR)
        assert _end(far) == (b"", "reset"), (number, place)
    assert all("end of stream'" not in reason for reason in opened.ended(len(changes)))


def test_server_of_openssl(sealed: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    files = ["-cert", str(sealed.producer.certificate), "-key", str(sealed.producer.key)]
    trust = ["-Verify", "1", "-verify_return_error", "-CAfile", str(sealed.consumer.certificate)]
    words = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-tls1_3", "-naccept", "1", *files, *trust]
    server = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    stdin, stdout = server.stdin, server.stdout
    assert stdin is not None and stdout is not None
    while b"ACCEPT" not in stdout.readline():
        assert server.poll() is None
    gateway = sealed.gateway("connect", ["127.0.0.1", port])
    client = gateway.connect()
    # Not letters that are commands at the begin of a line.
    lines = b"".join(b"line %d\n" % number for number in range(20_000))
    client.send(b"begin\n")
    while stdout.readline() != b"begin\n":
        assert server.poll() is None
    writer = threading.Thread(target=lambda: (stdin.write(lines), stdin.flush()))
    writer.start()
    assert client.receive(len(lines)) == lines
    writer.join()
    encryption = gateway.status()["tls"]
    assert encryption["sending"] == encryption["receiving"] == "kernel"
    client.send(lines)
    client.end()
    # Before its input ends, which would end it at once.
    assert stdout.read(len(lines)) == lines
    server.communicate(timeout=120)
    gateway.counted("open", 0)
