# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What encryption in the kernel consists of without the kernel. tests/kernel has the rest."""

from __future__ import annotations

import importlib
import json
import os
import socket
import ssl
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PROGRAM = Path(__file__).resolve().parents[5] / "roles" / "s2ds" / "files" / "s2ds"
NAMES = ("costs", "encryption", "encrypted_pump", "kernel_channel", "kernel_choice", "log", "tls_keys", "tls_secrets")
RECORD = struct.Struct("!BHH")


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Its modules, which are taken away after the test: their names are short."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    sys.path.insert(0, str(PROGRAM))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in NAMES})
    finally:
        sys.path.remove(str(PROGRAM))
        for name in set(sys.modules) - before:
            if str(PROGRAM) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]


def test_keys_of_the_example_in_rfc_8448(program: SimpleNamespace) -> None:
    """The server's application data in its simple handshake (section 3)."""
    secret = bytes.fromhex("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643")
    info = program.tls_keys.TrafficKeys(program.tls_keys.suite_named("TLS_AES_128_GCM_SHA256"), secret).info()
    key, nonce = bytes.fromhex("9f02283b6c9c07efc26bb9f2ac92e356"), bytes.fromhex("cf782b88dd83549aadf1e984")
    assert info == struct.pack("=HH", 0x0304, 51) + nonce[4:] + key + nonce[:4] + bytes(8)


@pytest.mark.parametrize(
    ("name", "size"),
    [("TLS_AES_128_GCM_SHA256", 40), ("TLS_AES_256_GCM_SHA384", 56), ("TLS_CHACHA20_POLY1305_SHA256", 56)],
)
def test_sizes_of_the_structures_of_the_kernel(program: SimpleNamespace, name: str, size: int) -> None:
    suite = program.tls_keys.suite_named(name)
    keys = program.tls_keys.TrafficKeys(suite, bytes(48))
    before = keys.info()
    assert len(before) == suite.info_size() == size
    keys.renew()
    assert keys.info() != before and len(keys.info()) == size


def test_secrets_of_a_handshake_open_its_records(program: SimpleNamespace, sealed: Any) -> None:
    """Both ends find the same secrets, without a file, and what one of them writes is decrypted with them."""
    collected = program.tls_secrets.collected
    contexts = (
        sealed.context(False, sealed.consumer, sealed.producer),
        sealed.context(True, sealed.producer, sealed.consumer),
    )
    contexts[1].num_tickets = 0
    buffers = (ssl.MemoryBIO(), ssl.MemoryBIO())
    ends = [
        context.wrap_bio(buffers[index], buffers[1 - index], server_side=bool(index))
        for index, context in enumerate(contexts)
    ]
    found: list[dict[str, bytes]] = [{}, {}]
    left = [0, 1]
    descriptors = os.listdir("/proc/self/fd")
    while left:
        for index in list(left):
            with collected(contexts[index], found[index]):
                try:
                    ends[index].do_handshake()
                    left.remove(index)
                except ssl.SSLWantReadError:
                    pass
    assert os.listdir("/proc/self/fd") == descriptors
    assert contexts[0].keylog_filename is None
    assert found[0] == found[1] and sorted(found[0]) == ["client", "server"]
    ends[0].write(b"attack at dawn")
    record = buffers[1].read()
    suite = program.tls_keys.suite_named(ends[0].cipher()[0])
    info = program.tls_keys.TrafficKeys(suite, found[1]["client"]).info()
    nonce, key = info[4 + 8 + suite.key :][: suite.salt] + info[4:12], info[12 : 12 + suite.key]
    assert RECORD.unpack(record[:5]) == (23, 0x0303, len(record) - 5)
    assert AESGCM(key).decrypt(nonce, record[5:], record[:5]) == b"attack at dawn\x17"


@pytest.mark.parametrize("name", ["pipe2", "open"])
def test_handshake_without_a_free_descriptor(
    program: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    secrets: dict[str, bytes] = {}

    def fail(_flags: int) -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    def gone(_flags: int) -> tuple[int, int]:
        output, write_end = pipe2(0)
        close(write_end)
        return output, 1 << 20  # which cannot be opened or closed

    pipe2, close = os.pipe2, os.close
    monkeypatch.setattr(os, "pipe2", fail if name == "pipe2" else gone)
    monkeypatch.setattr(os, "close", lambda fd: None if fd == 1 << 20 else close(fd))
    descriptors = os.listdir("/proc/self/fd")
    entered = []
    with program.tls_secrets.collected(context, secrets):
        entered.append(True)
    assert entered and not secrets
    assert not context.keylog_filename
    assert os.listdir("/proc/self/fd") == descriptors


@pytest.mark.parametrize("where", ["both", "accept", "connect"])
def test_where_the_kernel_has_none_openssl_does_it(sealed: Any, program: SimpleNamespace, where: str) -> None:
    gateways, client, server = sealed.pair(where, kernel_tls=True)
    sent, got = sealed.bed.together(lambda: client.send_stream(3 << 20, 1), server.receive_stream)
    assert got == (3 << 20, sent)
    reason = program.kernel_choice.unavailable()
    for gateway in gateways:
        found = gateway.status()["tls"]
        by = "user space" if reason else "kernel"
        assert found == {
            "sending": by,
            "receiving": by,
            "suite": "TLS_AES_256_GCM_SHA384",
            "reason": reason or "kernel_tls is true",
        }


def test_not_encrypted_or_not_used(sealed: Any) -> None:
    target = sealed.bed.target()
    assert sealed.bed.forwarder(targets=[target.address]).status()["tls"] is None
    gateway = sealed.gateway("accept", target.address, kernel_tls=False)
    unknown = dict.fromkeys(("sending", "receiving", "suite"))
    assert gateway.status()["tls"] == {**unknown, "reason": "kernel_tls is false"}


def test_the_same_connection_goes_on_where_the_kernel_refuses(
    program: SimpleNamespace, sealed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that arrive with the end of the handshake are neither lost nor repeated."""
    log = Lines()
    kernel = program.kernel_channel.KernelTls(log)
    monkeypatch.setattr(program.tls_secrets, "hide", lambda: None)
    monkeypatch.setattr(program.kernel_channel.kernel_tls, "TCP_ULP", 250)  # no kernel has that option
    texts = (sealed.producer.certificate, sealed.producer.key, sealed.consumer.certificate)
    credentials = importlib.import_module("credentials").Credentials("accept", *(path.read_text() for path in texts))
    tls = importlib.import_module("tls_context").TlsContext(credentials)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        outside = socket.create_connection(listener.getsockname())
        wire = listener.accept()[0]
    wire.setblocking(False)
    leg = importlib.import_module("pump").Leg("client", wire, lambda _fd, _mask: None)
    channel = program.encrypted_pump.channel_of(tls, leg, kernel, True, True)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = sealed.context(False, sealed.consumer, sealed.producer).wrap_bio(incoming, outgoing)
    assert kernel.prepare()
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    outside.sendall(outgoing.read())
    leg.readable = True
    assert not channel.shake()
    incoming.write(outside.recv(65536))
    client.do_handshake()
    client.write(b"early" * 5000)
    outside.sendall(outgoing.read())
    while not channel.shake():
        leg.readable = True
    assert not kernel.available
    assert "the kernel does not encrypt" in log.lines[0]
    assert channel.encryption().document() == {
        "sending": "user space",
        "receiving": "user space",
        "suite": "TLS_AES_256_GCM_SHA384",
    }
    wire.setblocking(True)
    buffer, got = memoryview(bytearray(1 << 16)), b""
    while len(got) < 25000:
        got += bytes(channel.open(buffer[: wire.recv_into(buffer)]))
    assert got == b"early" * 5000
    outside.close()
    wire.close()


def test_no_shutdown_before_tcp_has_everything(program: SimpleNamespace) -> None:
    """Behind close_notify, the connection is only shut down when all records are in TCP."""
    modules = {name: importlib.import_module(name) for name in ("counters", "kernel_pump", "pump", "timers")}
    bucket = importlib.import_module("token_bucket").TokenBucket
    answers, sent, wakes = [False, False, True], [], []

    class Outflow:
        def send_control(self, kind: int, message: bytes) -> None:
            sent.append((kind, message))

        def is_in_tcp(self, data: int) -> bool:
            assert data == 4
            return answers.pop(0)

    timers = modules["timers"].Timers()
    counters = modules["counters"].Counters(1).block(0)
    resources = modules["pump"].WorkerResources(
        None, importlib.import_module("pipe_pool").PipePool(65536), counters, None
    )
    (near, source), (wire, far) = (socket.socketpair() for _unused in range(2))
    for sock in (source, wire):
        sock.setblocking(False)
    legs = [modules["pump"].Leg(name, sock, lambda _fd, _mask: None) for name, sock in (("a", source), ("b", wire))]
    shared = (resources, 0, bucket(timers), lambda: wakes.append(1), timers)
    flow = modules["kernel_pump"].KernelSealing(Outflow(), *legs, *shared)
    near.sendall(b"data")
    near.shutdown(socket.SHUT_WR)
    far.settimeout(0.1)
    for turns in (1, 2):
        assert not flow.turn() and not flow.finished
        assert far.recv(4) == b"data" if turns == 1 else True
        with pytest.raises(socket.timeout):
            far.recv(1)
        while len(wakes) < turns:
            timers.run()
    assert not flow.turn() and flow.finished
    assert far.recv(1) == b"" and sent == [(21, b"\x01\x00")]
    for sock in (near, source, wire, far):
        sock.close()


class Lines:
    """In place of the log."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


COSTS = {direction: {"kernel": 0.5, "user space": 1.0} for direction in ("sending", "receiving")}


def document(**changes: Any) -> bytes:
    versions = {"kernel": os.uname().release, "openssl": ssl.OPENSSL_VERSION}
    return json.dumps({**versions, "seconds_per_gb": COSTS, **changes}).encode()


def test_costs_are_kept_for_this_kernel_and_this_openssl(
    program: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    assert program.costs.kept() is None
    program.costs.keep(COSTS, Lines())
    assert program.costs.kept() == COSTS
    for changes in ({"kernel": "2.6.32"}, {"openssl": "OpenSSL 0.9.8"}):
        Path("run/kernel-tls.json").write_bytes(document(**changes))
        assert program.costs.kept() is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[" * 100_000,
        document(seconds_per_gb={}),
        document(seconds_per_gb={**COSTS, "sending": {"kernel": float("nan"), "user space": 1}}),
        document(seconds_per_gb={**COSTS, "sending": {"kernel": True, "user space": 1}}),
        document(seconds_per_gb={**COSTS, "sending": {"kernel": -1, "user space": 1}}),
    ],
    ids=range(7),
)
def test_costs_that_are_none(program: SimpleNamespace, text: bytes) -> None:
    assert program.costs.parse(document()) == COSTS
    with pytest.raises(ValueError):
        program.costs.parse(text)


@pytest.mark.parametrize(
    ("sending", "receiving", "expected"),
    [(0.5, 0.5, (True, True)), (0.5, 0.96, (True, False)), (1.2, 0.9, (False, True)), (1.0, 2.0, (False, False))],
)
def test_each_direction_takes_what_costs_clearly_less(
    program: SimpleNamespace, sending: float, receiving: float, expected: tuple[bool, bool]
) -> None:
    found = {
        "sending": {"kernel": sending, "user space": 1.0},
        "receiving": {"kernel": receiving, "user space": 1.0},
    }
    choice = program.kernel_choice.cheaper(found)
    assert choice.directions == expected
    assert f"sending {sending:.2f} in the kernel, 1.00 in user space" in choice.reason


def test_the_latest_connection_counts(program: SimpleNamespace) -> None:
    encryption = program.encryption
    first = encryption.Encryption(True, True, "TLS_AES_256_GCM_SHA384").packed(7)
    later = encryption.Encryption(False, True, "TLS_CHACHA20_POLY1305_SHA256").packed(8)
    assert encryption.latest([0, 0]) is None
    assert encryption.latest([later, first, 0]).document() == {
        "sending": "user space",
        "receiving": "kernel",
        "suite": "TLS_CHACHA20_POLY1305_SHA256",
    }
