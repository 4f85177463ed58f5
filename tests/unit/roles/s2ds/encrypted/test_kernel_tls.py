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
import subprocess
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
    reason = "" if program.kernel_choice.available() else "the kernel has no TLS, or its module tls is not loaded"
    for gateway in gateways:
        found = gateway.status()["tls"]
        by = "user space" if reason else "kernel"
        assert found == {
            "sending": by,
            "receiving": by,
            "suite": "TLS_AES_256_GCM_SHA384",
            "reason": reason or "kernel_tls is true",
            # It grows from time to time.
            "with_one_key": found["with_one_key"],
        }


def test_not_encrypted_or_not_used(sealed: Any) -> None:
    target = sealed.bed.target()
    assert sealed.bed.forwarder(targets=[target.address]).status()["tls"] is None
    gateway = sealed.gateway("accept", target.address, kernel_tls=False)
    unknown = dict.fromkeys(("sending", "receiving", "suite"))
    assert gateway.status()["tls"] == {**unknown, "reason": "kernel_tls is false", "with_one_key": 0}


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


def test_keys_change_after_an_amount_of_data(program: SimpleNamespace) -> None:
    modules = {name: importlib.import_module(name) for name in ("counters", "kernel_pump", "pump", "timers")}
    bucket = importlib.import_module("token_bucket").TokenBucket
    events: list[Any] = []

    class Outflow:
        def send_control(self, kind: int, message: bytes) -> None:
            events.append((kind, message))

        def renew(self) -> None:
            events.append("renewed")

    timers = modules["timers"].Timers()
    counters, log = modules["counters"].Counters(1).block(0), Lines()
    pool = importlib.import_module("pipe_pool").PipePool(65536)
    resources = modules["pump"].WorkerResources(None, pool, counters, log)
    (near, source), (wire, far) = (socket.socketpair() for _unused in range(2))
    for sock in (source, wire):
        sock.setblocking(False)
    legs = [modules["pump"].Leg(name, sock, lambda _fd, _mask: None) for name, sock in (("a", source), ("b", wire))]
    shared = (resources, 0, bucket(timers), lambda: None, timers)
    flow = modules["kernel_pump"].KernelSealing(Outflow(), *legs, *shared, 10)
    update = [(22, b"\x18\x00\x00\x01\x00"), "renewed"]
    for count, expected in ((9, []), (1, []), (9, update), (1, update), (25, update * 2), (1, update * 3)):
        near.sendall(bytes(count))
        legs[0].readable = legs[1].writable = True
        flow.turn()
        assert far.recv(count) == bytes(count)
        assert events == expected
    assert log.lines[0] == "b changes its key after 10 bytes"
    for sock in (near, source, wire, far):
        sock.close()


@pytest.mark.parametrize("ends", [(True, True), (True, False), (False, True), (False, False)])
def test_both_ends_agree_on_new_keys(program: SimpleNamespace, sealed: Any, ends: tuple[bool, bool]) -> None:
    context_of = importlib.import_module("tls_context")
    credentials = importlib.import_module("credentials").Credentials
    contexts = [
        context_of.TlsContext(credentials(side, *(path.read_text() for path in texts)), follows=follows)
        for follows, side, texts in zip(
            ends,
            ("accept", "connect"),
            (
                (sealed.producer.certificate, sealed.producer.key, sealed.consumer.certificate),
                (sealed.consumer.certificate, sealed.consumer.key, sealed.producer.certificate),
            ),
        )
    ]
    buffers = (ssl.MemoryBIO(), ssl.MemoryBIO())
    objects = [
        context.context.wrap_bio(buffers[index], buffers[1 - index], server_side=not index)
        for index, context in enumerate(contexts)
    ]
    left = [1, 0]
    while left:
        for index in list(left):
            try:
                objects[index].do_handshake()
                left.remove(index)
            except ssl.SSLWantReadError:
                pass
    agreed = context_of.FOLLOWS if all(ends) else None
    assert [end.selected_alpn_protocol() for end in objects] == [agreed, agreed]


class Lines:
    """In place of the log."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


COSTS = {direction: {"kernel": 0.5, "user space": 1.0} for direction in ("sending", "receiving")}


@pytest.fixture
def measured(program: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A kernel with TLS, and a measurement without it."""
    calls: list[tuple[str, ...]] = []
    results: list[Any] = []

    def measure(*arguments: Any) -> Any:
        calls.append(arguments)
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    measurement = importlib.import_module("kernel_measure")
    monkeypatch.setattr(program.costs, "PLACE", str(tmp_path / "kernel-tls.json"))
    monkeypatch.setattr(program.kernel_choice, "AVAILABLE", str(tmp_path / "available"))
    (tmp_path / "available").write_text("mptcp tls\n")
    monkeypatch.setattr(measurement, "measure", measure)
    calibrate = importlib.import_module("calibration").calibrate
    return SimpleNamespace(
        calls=calls,
        results=results,
        error=measurement.MeasureError,
        place=tmp_path / "kernel-tls.json",
        available=tmp_path / "available",
        calibrate=lambda check=False: calibrate(check, None, Lines()),
        choice=lambda setting="auto": program.kernel_choice.choose(
            SimpleNamespace(kernel_tls=setting, cipher="auto", multipath=None, dial=None)
        ),
    )


def test_costs_are_measured_once_and_again_for_another_kernel_or_openssl(measured: SimpleNamespace) -> None:
    assert measured.choice().directions == (False, False)
    assert "has not been measured" in measured.choice().reason
    assert "would be written" in measured.calibrate(check=True)
    assert not measured.calls and not measured.place.exists()
    measured.results.append(COSTS)
    assert measured.calibrate() == measured.choice().reason
    assert measured.choice().directions == (True, True)
    assert measured.calibrate() == measured.calibrate(check=True) == ""
    assert len(measured.calls) == 1
    good = json.loads(measured.place.read_text())
    assert good["seconds_per_gb"] == COSTS and good["kernel"] == os.uname().release
    for number, name in enumerate(("kernel", "openssl", "processor"), 2):
        measured.place.write_text(json.dumps({**good, name: "other"}))
        assert measured.choice().directions == (False, False)
        assert f"with another {name}" in measured.choice().reason
        measured.results.append(COSTS)
        assert measured.calibrate() and len(measured.calls) == number
        assert measured.choice().directions == (True, True)
    # Running sessions of an older program may use it, too.
    measured.place.write_text(json.dumps({**good, "program": "0.0.1"}))
    assert measured.choice().directions == (True, True)
    assert measured.calibrate(check=True)
    assert sorted(measured.place.parent.iterdir()) == sorted([measured.available, measured.place])


def test_nothing_is_measured_where_the_kernel_has_no_tls(measured: SimpleNamespace) -> None:
    measured.available.write_text("mptcp espintcp\n")
    assert measured.calibrate() == measured.calibrate(check=True) == ""
    assert measured.choice(True).directions == (False, False)
    measured.available.unlink()
    assert measured.calibrate() == "" and not measured.place.exists()
    assert measured.choice(True).reason == "the kernel has no TLS, or its module tls is not loaded"


def test_a_failed_measurement_is_tried_again_by_the_next_run(measured: SimpleNamespace) -> None:
    measured.results += [measured.error("no handshake"), measured.error("no handshake"), COSTS]
    assert "could not be measured" in measured.calibrate()
    assert measured.choice().reason == "kernel TLS could not be measured: no handshake"
    assert measured.choice(True).directions == (True, True)
    assert measured.calibrate() == measured.calibrate(check=True) == ""
    assert len(measured.calls) == 2
    assert measured.calibrate() and measured.choice().directions == (True, True)


def document(**changes: Any) -> bytes:
    host = {"kernel": "6.1", "openssl": ssl.OPENSSL_VERSION, "processor": "Z80", "program": "0.2.0"}
    return json.dumps({**host, "seconds_per_gb": COSTS, **changes}).encode()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[" * 8000,
        document() + b" " * 8192,
        document(kernel=None),
        document(program=["0.2.0"]),
        document(failure=1),
        document(processor="Z80" * 100),
        document(seconds_per_gb={}),
        document(seconds_per_gb={**COSTS, "sending": {"kernel": float("nan"), "user space": 1}}),
        document(seconds_per_gb={**COSTS, "sending": {"kernel": True, "user space": 1}}),
        document(seconds_per_gb={**COSTS, "sending": {"kernel": -1, "user space": 1}}),
    ],
    ids=range(12),
)
def test_costs_that_are_none(program: SimpleNamespace, measured: SimpleNamespace, text: bytes) -> None:
    assert program.costs.parse(document()).costs == COSTS
    with pytest.raises(ValueError):
        program.costs.parse(text)
    measured.place.write_bytes(text)
    assert "is invalid" in measured.choice().reason
    measured.results.append(COSTS)
    assert measured.calibrate() and measured.choice().directions == (True, True)


def test_the_certificate_of_the_measurement(program: SimpleNamespace, tmp_path: Path) -> None:
    identity = importlib.import_module("kernel_identity")
    track = importlib.import_module("kernel_measure")
    ends = [track.End(accepts, identity.certificate(), identity.private_key()) for accepts in (True, False)]
    sending, receiving = track.Track(tuple(ends), None, None, Lines()).run()
    assert sending > 0 and receiving > 0


def test_the_command_that_measures(sealed: Any, program: SimpleNamespace) -> None:
    """It is quiet where there is nothing to do, and names the file that it cannot write."""
    directory = sealed.installed().parent
    words = [sealed.bed.python, "-IB", str(directory / "s2ds"), "--calibrate"]
    for options in ([], ["--check"]):
        done = subprocess.run([*words, *options], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and not done.stderr
        assert bool(done.stdout) == program.kernel_choice.available()
    assert subprocess.run([*words, "--chekc"], capture_output=True, check=False).returncode == 2


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
    place = "the kernel" if expected[0] else "user space"
    assert choice.reason.startswith(
        f"sending in {place} ({sending:.2f} in the kernel, 1.00 in user space), receiving in "
    )


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
