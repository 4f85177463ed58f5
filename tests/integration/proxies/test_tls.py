# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Encryption between the gateways: what is on the wire, who gets through, and who does not."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.proxies.certificates import (
    Pair,
    impostors,
    make,
    of_gateway,
)
from ansible_collections.scistream.gateway.tests.integration.proxies.harness import Stream, drain
from ansible_collections.scistream.gateway.tests.integration.proxies.tls import DATA, TLS_1_2, context, talk, tls_server
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import (
    Application,
    ask,
    connect,
    eventually,
    exchange,
    pair,
)


def test_what_is_on_the_wire_is_tls_1_3(gateway: S2CS, encrypted: str, application: Application) -> None:
    """A relay between the gateways sees TLS 1.3 records and nothing of the data, and not whose they are."""
    seen = bytearray()
    stream = Stream(gateway, encrypted, application.endpoint)
    with socket.create_server(("127.0.0.1", 0)) as relay:

        def run() -> None:
            inner, _peer = relay.accept()
            outer = socket.create_connection(pair(stream.session["listeners"][0]))

            def copy(source: socket.socket, sink: socket.socket) -> None:
                while True:
                    data = source.recv(65536)
                    if not data:
                        break
                    seen.extend(data)
                    sink.sendall(data)
                with contextlib.suppress(OSError):
                    sink.shutdown(socket.SHUT_WR)

            threading.Thread(target=copy, args=(inner, outer), daemon=True).start()
            copy(outer, inner)

        threading.Thread(target=run, daemon=True).start()
        stream.point_front(f"127.0.0.1:{relay.getsockname()[1]}")
        assert exchange(stream.listener, DATA) == b"one:" + DATA
    assert b"experiment" not in seen and stream.uid.encode() not in seen
    assert seen[0] == 22 and b"\x00\x2b\x00\x02\x03\x04" in seen[:4096]


def test_who_may_not_reach_the_producer(
    gateway: S2CS, encrypted: str, application: Application, tmp_path: Path
) -> None:
    stream = Stream(gateway, encrypted, application.endpoint)
    listener, right = stream.session["listeners"][0], stream.pairs["consumer"]
    client = ssl.PROTOCOL_TLS_CLIENT
    wrong: dict[str, Pair | None] = {
        "none at all": None,
        "the producer's own": stream.pairs["producer"],
        **impostors("consumer", stream.uid, right),
    }
    for what, own in wrong.items():
        assert talk(listener, context(client, tmp_path, own)) == b"", what
    assert talk(listener, context(client, tmp_path, right, TLS_1_2)) == b""
    assert exchange(listener, b"GET / HTTP/1.0\r\n\r\n") == b""
    assert application.peers == []
    refused = len(wrong) + 2
    eventually("all are counted", lambda: stream.counters()["connections"]["refused"] == refused)
    assert stream.counters()["bytes"] == {"to_consumer": 0, "to_producer": 0}
    # What is refused is the certificate, and nothing else about these attempts.
    assert talk(listener, context(client, tmp_path, right)) == b"one:" + DATA
    assert exchange(stream.listener) == b"one:hello"
    assert stream.counters()["connections"]["refused"] == refused


def test_who_may_not_be_taken_for_the_producer(
    gateway: S2CS, encrypted: str, application: Application, tmp_path: Path
) -> None:
    """Whoever stands between the gateways gets not one byte of the consumer's."""
    stream = Stream(gateway, encrypted, application.endpoint)
    right = stream.pairs["producer"]
    wrong: dict[str, Pair | None] = {
        "plain": None,
        "the consumer's own": stream.pairs["consumer"],
        **impostors("producer", stream.uid, right),
    }
    for what, own in wrong.items():
        with tls_server(tmp_path, own) as (endpoint, got):
            stream.point_front(endpoint)
            assert exchange(stream.listener, DATA) == b"", what
        assert DATA not in b"".join(got), what
    with tls_server(tmp_path, right, TLS_1_2) as (endpoint, got):
        stream.point_front(endpoint)
        assert exchange(stream.listener, DATA) == b""
        assert got == []
    with tls_server(tmp_path, right) as (endpoint, got):
        stream.point_front(endpoint)
        exchange(stream.listener, DATA)
        eventually("the right one gets it", lambda: got == [DATA])


def test_another_certificate_opens_nothing_more(
    gateway: S2CS, encrypted: str, application: Application, tmp_path: Path
) -> None:
    """An UPDATE with another certificate is in force at once, and keeps what was established before."""
    stream = Stream(gateway, encrypted, application.endpoint)
    listener, before = stream.session["listeners"][0], stream.pairs["consumer"]
    after = of_gateway("consumer", stream.uid)
    with connect(stream.listener) as established:
        assert ask(established, b"before") == b"one:before"
        stream.pairs["consumer"] = after
        stream.point(application.endpoint)
        assert exchange(stream.listener) == b""
        assert talk(listener, context(ssl.PROTOCOL_TLS_CLIENT, tmp_path, before)) == b""
        assert talk(listener, context(ssl.PROTOCOL_TLS_CLIENT, tmp_path, after)) == b"one:" + DATA
        assert ask(established, b"still") == b"still"


def test_an_expired_certificate(gateway: S2CS, encrypted: str, application: Application, tmp_path: Path) -> None:
    """New connections end with it; an established one goes on, and no other UPDATE brings an expired one."""
    stream = Stream(gateway, encrypted, application.endpoint)
    stream.pairs["consumer"] = short = of_gateway("consumer", stream.uid, ends=6)
    ends = time.time() + 6
    stream.point(application.endpoint)
    client = context(ssl.PROTOCOL_TLS_CLIENT, tmp_path, short)
    with connect(stream.session["listeners"][0]) as raw, client.wrap_socket(raw) as established:
        assert ask(established, b"before") == b"one:before"
        time.sleep(max(0.0, ends + 1 - time.time()))
        assert talk(stream.session["listeners"][0], client) == b""
        assert ask(established, b"still") == b"still"
    gone = of_gateway("consumer", stream.uid, ends=-60).certificate
    options: dict[str, Any] = {"uid": stream.uid, "role": "producer", "remote_listeners": [application.endpoint]}
    result = gateway.call("update", peer_certificate=gone, **options)
    assert result["failed"] and "peer_certificate: it has expired" in result["msg"]


def test_the_certificate_of_an_authority_is_refused(gateway: S2CS, encrypted: str, application: Application) -> None:
    """Of such a one any certificate that it issues would do."""
    stream = Stream(gateway, encrypted, application.endpoint)
    authority = make(f"consumer.{stream.uid}", "consumer", authority=True).certificate
    options = {"uid": stream.uid, "role": "producer", "remote_listeners": [application.endpoint]}
    gateway.refused("update", "peer_certificate", "CA certificate", peer_certificate=authority, **options)
    assert exchange(stream.listener) == b"one:hello"


def test_no_session_is_resumed(gateway: S2CS, encrypted: str, application: Application, tmp_path: Path) -> None:
    stream = Stream(gateway, encrypted, application.endpoint)
    own = stream.pairs["consumer"]
    (tmp_path / "own.pem").write_text(own.certificate + own.key)
    host, port = pair(stream.session["listeners"][0])
    base = f"openssl s_client -connect {host}:{port} -cert own.pem -key own.pem -tls1_3"
    session = tmp_path / "session"
    for option in ("-sess_out", "-sess_in"):
        if option == "-sess_out" or session.exists():
            said = subprocess.run(
                ["/bin/sh", "-c", f"(echo hello; sleep 0.5) | {base} {option} session"],
                cwd=tmp_path,
                capture_output=True,
                timeout=20,
                check=False,
            ).stdout.decode("utf-8", "replace")
            assert "one:hello" in said and "New, TLSv1.3" in said and "Reused" not in said


def test_a_handshake_that_never_comes(
    make_gateway: Callable[..., S2CS], encrypted: str, application: Application
) -> None:
    """Who says nothing is cut off after a while; a connection that came about may be silent."""
    s2cs = make_gateway({encrypted.partition("-")[0]: {"connect_timeout": 1}})
    stream = Stream(s2cs, encrypted, application.endpoint)
    with connect(stream.listener) as silent:
        assert ask(silent, b"before") == b"one:before"
        began = time.monotonic()
        with connect(stream.session["listeners"][0]) as mute:
            with contextlib.suppress(ConnectionError):
                assert mute.recv(1) == b""
            assert 0.5 < time.monotonic() - began < 10
        time.sleep(2)
        assert ask(silent, b"still") == b"still"
    eventually("it counts as refused", lambda: stream.counters()["connections"]["refused"] == 1)


@pytest.mark.parametrize("first", ["consumer", "producer"])
def test_half_a_connection_may_wait(make_gateway: Callable[..., S2CS], encrypted: str, first: str) -> None:
    """What is the limit of a handshake is none of what comes after one side has ended its direction."""
    s2cs = make_gateway({encrypted.partition("-")[0]: {"connect_timeout": 1}})
    with socket.create_server(("127.0.0.1", 0)) as server:
        stream = Stream(s2cs, encrypted, f"127.0.0.1:{server.getsockname()[1]}")
        server.settimeout(20)
        with connect(stream.listener) as consumer:
            consumer.sendall(b"begin")
            producer = server.accept()[0]
            with producer:
                producer.settimeout(20)
                assert producer.recv(5, socket.MSG_WAITALL) == b"begin"
                ends, goes_on = (consumer, producer) if first == "consumer" else (producer, consumer)
                ends.sendall(DATA)
                ends.shutdown(socket.SHUT_WR)
                assert drain(goes_on)[0] == len(DATA)
                time.sleep(2.5)
                goes_on.sendall(DATA)
                goes_on.shutdown(socket.SHUT_WR)
                assert drain(ends)[0] == len(DATA)
