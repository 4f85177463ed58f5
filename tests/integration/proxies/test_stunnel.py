# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TLS with a shared key: who gets through, who does not, and where the key may be found."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.tests.integration.proxies.rig import Stream, directory
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_address, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import (
    Application,
    ask,
    connect,
    exchange,
    pair,
    processes,
)


def test_what_is_on_the_wire_is_tls_1_3(gateway: S2CS, application: Application) -> None:
    """A relay between the gateways sees TLS 1.3 records and nothing of the data."""
    seen = bytearray()
    stream = Stream(gateway, "stunnel", application.endpoint)
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
                sink.shutdown(socket.SHUT_WR)

            threading.Thread(target=copy, args=(inner, outer), daemon=True).start()
            copy(outer, inner)

        threading.Thread(target=run, daemon=True).start()
        port = relay.getsockname()[1]
        gateway.done("update", uid=stream.uid, role="consumer", remote_listeners=[f"127.0.0.1:{port}"])
        assert exchange(stream.listener, b"the data of the experiment") == b"one:the data of the experiment"
    assert b"experiment" not in seen and stream.uid.encode() not in seen
    assert seen[0] == 22 and b"\x00\x2b\x00\x02\x03\x04" in seen[:4096]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_without_the_key_nobody_gets_to_the_producer(
    gateway: S2CS, application: Application, version: ssl.TLSVersion
) -> None:
    stream = Stream(gateway, "stunnel", application.endpoint)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    with connect(stream.session["listeners"][0]) as raw, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(raw).recv(10)
    assert exchange(stream.session["listeners"][0], b"GET / HTTP/1.0\r\n\r\n") == b""
    assert application.peers == []
    assert stream.counters()["connections"]["refused"] == 2
    assert exchange(stream.listener) == b"one:hello"


def test_no_certificate_stands_for_the_key(gateway: S2CS, tmp_path: Path) -> None:
    """Somebody between the gateways, with any certificate, gets not one byte of the consumer's."""
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=nobody", "-days", "2"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _peer = server.accept()
            try:
                with context.wrap_socket(connection, server_side=True) as tls:
                    got.append(tls.recv(100))
            except (ssl.SSLError, OSError) as error:
                got.append(b"")
                assert "handshake" in str(error) or "alert" in str(error).lower()

        thread = threading.Thread(target=serve)
        thread.start()
        with Application("one") as application:
            stream = Stream(gateway, "stunnel", application.endpoint)
        port = server.getsockname()[1]
        gateway.done("update", uid=stream.uid, role="consumer", remote_listeners=[f"127.0.0.1:{port}"])
        assert exchange(stream.listener, b"secret data") == b""
        thread.join(10)
    assert got == [b""]
    assert stream.counters("consumer")["connections"]["failed"] == 1


def test_the_key_is_in_its_file_and_nowhere_else(gateway: S2CS, application: Application) -> None:
    uid = own_uid()
    key, other_key = "ab" * 32, "cd" * 32
    gateway.request(uid, proxy="stunnel", encryption="tls")
    gateway.hello(uid, application.endpoint)
    gateway.refused("update", "psk", uid=uid, role="producer", psk="ab" * 31)
    gateway.refused("update", "psk", uid=uid, role="producer", psk="xy" * 32)
    results = [gateway.call("update", uid=uid, role="producer", psk=key, check=True)]
    results.append(gateway.done("update", uid=uid, role="producer", psk=key.upper()))
    with connect(gateway.info(uid)["listeners"][0]):
        results.append(gateway.done("update", uid=uid, role="producer", psk=key))
        results.append(gateway.done("update", uid=uid, role="producer", psk=other_key))
        results.append(gateway.done("update", sessions=[{"uid": uid, "role": "producer", "psk": other_key}]))
        results.append(gateway.done("info"))
        assert [item["changed"] for item in results] == [True, True, False, True, False, False]
        commands = str(processes(f"{gateway.state}/"))
    where = directory(gateway, results[1]["session"])
    files = [path for path in gateway.root.rglob("*") if path.is_file()]
    holding = [path for path in files if any(item.encode() in path.read_bytes() for item in (key, other_key))]
    assert holding == [where / "psk.txt"]
    assert (where / "psk.txt").stat().st_mode & 0o777 == 0o600
    assert key not in str(results) and other_key not in str(results) and other_key not in commands


def test_a_key_is_needed_and_only_where_it_is_used(gateway: S2CS, application: Application) -> None:
    uid = own_uid()
    gateway.request(uid, proxy="stunnel", encryption="tls")
    gateway.hello(uid, application.endpoint)
    gateway.refused("update", "psk", "first UPDATE", uid=uid, role="producer")
    plain = Stream(gateway, "haproxy", application.endpoint)
    gateway.refused("update", "psk", uid=plain.uid, role="producer", psk="ab" * 32)


def test_another_key_opens_nothing_more(gateway: S2CS, application: Application) -> None:
    stream = Stream(gateway, "stunnel", application.endpoint)
    with connect(stream.listener) as established:
        assert ask(established, b"before") == b"one:before"
        stream.key["psk"] = "ef" * 32
        stream.point(application.endpoint)
        assert exchange(stream.listener) == b""
        assert ask(established, b"still") == b"still"
        gateway.done(
            *("update",),
            uid=stream.uid,
            role="consumer",
            remote_listeners=stream.session["listeners"],
            **stream.key,
        )
        assert exchange(stream.listener) == b"one:hello"
        assert ask(established, b"still") == b"still"


def test_clients_of_the_consumers_listeners(
    make_gateway: Callable[..., S2CS], application: Application, tmp_path: Path
) -> None:
    """stunnel cannot tell them apart: refused, unless the administrator says that the firewall does."""
    friend = own_address()
    s2cs = make_gateway(clients={"consumer": [friend]})
    request = {"uid": own_uid(), "proxy": "stunnel", "encryption": "tls", "secret": SECRET}
    s2cs.refused("request", "clients", "stunnel", "clients_by_firewall", role="consumer", **request)
    s2cs.done("request", role="producer", **request)
    s2cs.write_policy(proxies={**s2cs.policy["proxies"], "stunnel": {"settings": {"clients_by_firewall": True}}})
    stream = Stream(s2cs, "stunnel", application.endpoint)
    assert exchange(stream.listener, source=friend) == b"one:hello"
