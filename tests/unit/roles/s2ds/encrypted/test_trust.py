# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is let in and who is not, on both sides: before any byte of the application, and before the target is called."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from typing import Any

import pytest


def nobody_calls(target: Any) -> bool:
    target.sock.settimeout(0.3)
    try:
        target.sock.accept()
    except socket.timeout:
        return True
    finally:
        target.sock.settimeout(20)
    return False


def refused(forwarder: Any, target: Any, *reasons: str) -> None:
    forwarder.counted("refused", 1)
    forwarder.counted("open", 0)
    assert forwarder.status()["connections"] == {"open": 0, "total": 0, "refused": 1, "failed": 0}
    log = forwarder.log()
    assert "refused #" in log
    assert any(reason in log for reason in reasons), log
    assert nobody_calls(target)


def certificate(sealed: Any, kind: str, role: str) -> Any:
    if kind == "none":
        return None
    if kind == "own":  # the gateway's own certificate, sent back to it
        return sealed.consumer if role == "producer" else sealed.producer
    validity: dict[str, dict[str, float]] = {"expired": {"ends": -0.5}, "early": {"begins": 1}}
    return sealed.identity(kind, role, **validity.get(kind, {}))


# In TLS 1.3 a client has done its part of the handshake before the server has judged its certificate.
CLIENT_ERRORS = (ssl.SSLError, ConnectionError)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("none", "peer did not return a certificate"),
        ("own", "certificate verify failed"),
        ("another", "certificate verify failed: self"),
    ],
)
def test_client_that_is_not_the_peer(sealed: Any, kind: str, reason: str) -> None:
    target = sealed.bed.target()
    forwarder = sealed.gateway("accept", target.address)
    context = sealed.context(False, certificate(sealed, kind, "consumer"), sealed.producer)
    with pytest.raises(CLIENT_ERRORS):
        peer = sealed.dial(forwarder, context=context)
        peer.send(b"let me in")
        peer.receive(1)
    refused(forwarder, target, reason)


@pytest.mark.parametrize("kind", ["expired", "early"])
def test_client_whose_certificate_is_not_valid_now(sealed: Any, kind: str) -> None:
    target = sealed.bed.target()
    consumer = certificate(sealed, kind, "consumer")
    forwarder = sealed.gateway("accept", target.address, tls=sealed.tls("accept", peer=consumer))
    with pytest.raises(CLIENT_ERRORS):
        peer = sealed.dial(forwarder, own=consumer)
        peer.receive(1)
    refused(forwarder, target, {"expired": "has expired", "early": "not yet valid"}[kind])


def test_client_with_the_certificate_of_another_purpose(sealed: Any) -> None:
    """A producer's certificate proves a server, and no client."""
    target = sealed.bed.target()
    producer = sealed.identity("second")
    forwarder = sealed.gateway("accept", target.address, tls=sealed.tls("accept", peer=producer))
    with pytest.raises(CLIENT_ERRORS):
        peer = sealed.dial(forwarder, own=producer)
        peer.receive(1)
    refused(forwarder, target, "purpose")


def test_certificate_that_the_peer_issued(sealed: Any) -> None:
    """The peer's certificate is what is accepted: not what its key has signed."""
    target = sealed.bed.target()
    child = sealed.issued("child", by=sealed.consumer)
    authority = sealed.identity("authority", "consumer", ca=True)
    grandchild = sealed.issued("grandchild", by=authority)
    for number, (peer, own) in enumerate([(sealed.consumer, child), (authority, grandchild)]):
        forwarder = sealed.gateway("accept", target.address, f"g{number}", tls=sealed.tls("accept", peer=peer))
        with pytest.raises(CLIENT_ERRORS):
            dialled = sealed.dial(forwarder, own=own)
            dialled.receive(1)
        refused(forwarder, target, "certificate verify failed", "certificate is not the peer's")


@pytest.mark.parametrize(
    ("version", "reason"), [("TLSv1_2", "unsupported protocol"), ("TLSv1", "unsupported protocol")]
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_client_with_an_older_protocol(sealed: Any, version: str, reason: str) -> None:
    target = sealed.bed.target()
    forwarder = sealed.gateway("accept", target.address)
    context = sealed.context(False, sealed.consumer, sealed.producer)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion[version]
    with pytest.raises(CLIENT_ERRORS):
        sealed.dial(forwarder, context=context)
    refused(forwarder, target, reason)


@pytest.mark.parametrize(
    "text", [b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", bytes(70000), b"\x16\x03\x01\xff\xff" + bytes(70000)]
)
def test_client_without_tls(sealed: Any, text: bytes) -> None:
    target = sealed.bed.target()
    forwarder = sealed.gateway("accept", target.address)
    peer = forwarder.connect()
    with contextlib.suppress(ConnectionError):
        peer.send(text)
    assert peer.outcome() == "reset"
    refused(forwarder, target, "TLS: ")


def test_client_that_goes_before_it_has_shown_anything(sealed: Any) -> None:
    target = sealed.bed.target()
    forwarder = sealed.gateway("accept", target.address)
    forwarder.connect().close()
    sealed.bed.wait_until(lambda: "end of stream in the handshake" in forwarder.log(), "its end")
    # It is neither refused nor a connection of the stream: probes and monitoring systems do the same.
    assert forwarder.status()["connections"] == {"open": 0, "total": 0, "refused": 0, "failed": 0}
    target.sock.settimeout(0)
    with pytest.raises(BlockingIOError):
        target.accept()


def test_slow_handshake_ends_and_holds_nobody_up(sealed: Any) -> None:
    target = sealed.bed.target()
    forwarder = sealed.gateway("accept", target.address, connect_timeout=1, workers=1)
    begin = time.monotonic()
    silent, slow = forwarder.connect(), forwarder.connect()
    hello = b"\x16\x03\x01\x01\x00"
    client, server = sealed.bed.together(lambda: sealed.dial(forwarder), target.accept)
    client.send(b"x")
    assert server.receive(1) == b"x"
    with pytest.raises(ConnectionError):
        while time.monotonic() < begin + 10:
            slow.send(hello[:1])
            hello = hello[1:] or b"\x00"
            time.sleep(0.1)
    assert silent.outcome() == "reset"
    assert 0.9 < time.monotonic() - begin < 4
    forwarder.counted("refused", 2)
    assert "client: no handshake within 1 s" in forwarder.log()
    client.send(b"still here")
    assert server.receive(10) == b"still here"


def test_refusals_do_not_fill_the_log(sealed: Any) -> None:
    target = sealed.bed.target()
    forwarder = sealed.gateway("accept", target.address, workers=1)
    for _unused in range(60):
        peer = forwarder.connect()
        peer.send(b"nonsense")
        assert peer.outcome() == "reset"
    forwarder.counted("refused", 60)
    assert forwarder.log().count("\n") < 50


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("own", "certificate verify failed"),
        ("another", "certificate verify failed: self"),
    ],
)
def test_server_that_is_not_the_peer(sealed: Any, kind: str, reason: str) -> None:
    target = sealed.bed.target()
    forwarder = sealed.gateway("connect", target.address)
    client = forwarder.connect()
    client.send(b"secret")
    with pytest.raises(CLIENT_ERRORS):
        sealed.answer(target, context=sealed.context(True, certificate(sealed, kind, "producer"), sealed.consumer))
    assert client.outcome() == "reset"
    refused(forwarder, target, reason)


@pytest.mark.parametrize("kind", ["expired", "early"])
def test_server_whose_certificate_is_not_valid_now(sealed: Any, kind: str) -> None:
    target = sealed.bed.target()
    producer = certificate(sealed, kind, "producer")
    forwarder = sealed.gateway("connect", target.address, tls=sealed.tls("connect", peer=producer))
    client = forwarder.connect()
    with pytest.raises(CLIENT_ERRORS):
        sealed.answer(target, own=producer)
    assert client.outcome() == "reset"
    refused(forwarder, target, {"expired": "has expired", "early": "not yet valid"}[kind])


def test_server_with_an_older_protocol(sealed: Any) -> None:
    target = sealed.bed.target()
    forwarder = sealed.gateway("connect", target.address)
    client = forwarder.connect()
    context = sealed.context(True, sealed.producer, sealed.consumer)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(CLIENT_ERRORS):
        sealed.answer(target, context=context)
    assert client.outcome() == "reset"
    refused(forwarder, target, "protocol version")


def test_server_that_gets_no_certificate_it_knows(sealed: Any) -> None:
    """The server refuses after our part of the handshake: the client's connection is reset, and the reason is told."""
    target = sealed.bed.target()
    forwarder = sealed.gateway(
        "connect", target.address, tls=sealed.tls("connect", own=sealed.identity("x", "consumer"))
    )
    client = forwarder.connect()
    with pytest.raises(CLIENT_ERRORS):
        sealed.answer(target)
    assert client.outcome() == "reset"
    forwarder.counted("open", 0)
    assert "target: TLS: tlsv1 alert unknown ca" in forwarder.log()


@pytest.mark.parametrize("answer", [b"", b"220 welcome\r\n"])
def test_no_byte_leaves_before_the_server_has_shown_who_it_is(sealed: Any, answer: bytes) -> None:
    target = sealed.bed.target()
    forwarder = sealed.gateway("connect", target.address, connect_timeout=1)
    client = forwarder.connect()
    client.send(b"secret" * 100000)
    server = target.accept()
    if answer:
        server.send(answer)
    data = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while more := server.sock.recv(65536):
            data += more
    assert client.outcome() == "reset"
    assert data[:3] == b"\x16\x03\x01"
    assert b"secret" not in data
    assert len(data) < 2000
    forwarder.counted("refused" if answer else "failed", 1)
    assert ("wrong version number" if answer else "target: no handshake within 1 s") in forwarder.log()


def test_client_that_goes_while_the_server_is_asked_who_it_is(sealed: Any) -> None:
    target = sealed.bed.target()
    forwarder = sealed.gateway("connect", target.address, connect_timeout=60)
    client = forwarder.connect()
    server = target.accept()
    client.reset()
    assert server.outcome() == "reset"
    forwarder.counted("open", 0)
    forwarder.counted("failed", 1)


def test_no_session_can_be_resumed(sealed: Any) -> None:
    """The server gives no ticket: each connection proves anew that the client has its key."""
    target = sealed.bed.target()
    forwarder = sealed.gateway("accept", target.address)
    client, server = sealed.bed.together(lambda: sealed.dial(forwarder), target.accept)
    server.send(b"x" * 1000)
    assert client.receive(1000) == b"x" * 1000
    tls = client.sock.tls
    assert tls.version() == "TLSv1.3"
    assert not tls.session.has_ticket
    assert not tls.session_reused
