# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with a listener, without a connection that goes through to an application."""

from __future__ import annotations

import queue
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Callable, Iterator

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import listener_contact
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.listener_contact import (
    contact,
    contact_all,
)
from ansible_collections.scistream.gateway.tests.integration.proxies.certificates import of_gateway

UID = "11111111-2222-4333-8444-555555555555"
OWN, OTHER = of_gateway("producer", UID), of_gateway("producer", UID)


class Listener:
    """A listener that does something with each connection."""

    def __init__(self, act: Callable[[socket.socket], object], address: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._server = socket.create_server((address, 0), family=family)
        self.endpoint = Endpoint(address, self._server.getsockname()[1])
        self._outcomes: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._act = act
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection = self._server.accept()[0]
                with connection:
                    connection.settimeout(5)
                    self._outcomes.put(self._act(connection))

    def outcome(self) -> object:
        """Return what became of the next connection."""
        return self._outcomes.get(timeout=10)

    def close(self) -> None:
        """End, after what it does now."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._server.close()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """Create listeners, which are closed at the end."""
    made: list[Listener] = []

    def create(act: Callable[[socket.socket], object], address: str = "127.0.0.1") -> Listener:
        made.append(Listener(act, address))
        return made[-1]

    yield create
    for listener in made:
        listener.close()


@pytest.fixture
def server(tmp_path: Path) -> ssl.SSLContext:
    """TLS as the data server of the producer's gateway has it: it requires a certificate, too."""
    (tmp_path / "pem").write_text(OWN.certificate + OWN.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=OTHER.certificate)
    return context


def shake(context: ssl.SSLContext) -> Callable[[socket.socket], str]:
    """Return what a data server does with a connection."""

    def act(connection: socket.socket) -> str:
        try:
            with context.wrap_socket(connection, server_side=True):
                return "through"
        except OSError as error:
            return type(error).__name__

    return act


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_right_certificate(listen: Callable[..., Listener], server: ssl.SSLContext, address: str) -> None:
    listener = listen(shake(server), address)
    found = contact(listener.endpoint, None, OWN.certificate)
    assert (found.problem, found.msg, found.source) == (None, None, address)
    assert found.seconds is not None and found.seconds > 0
    # No data server connects to its target before the handshake is complete.
    assert listener.outcome() != "through"


def test_another_certificate(listen: Callable[..., Listener], server: ssl.SSLContext) -> None:
    listener = listen(shake(server))
    found = contact(listener.endpoint, None, OTHER.certificate)
    assert found.problem == "certificate" and "another certificate" in str(found.msg)
    assert listener.outcome() != "through"


def test_a_connection_without_a_byte(listen: Callable[..., Listener]) -> None:
    listener = listen(lambda connection: connection.recv(100))
    found = contact(listener.endpoint, "127.0.0.9")
    assert (found.problem, found.source) == (None, "127.0.0.9")
    assert listener.outcome() == b""


@pytest.mark.parametrize(
    ("act", "problem"),
    [
        (lambda connection: None, "closed"),
        (lambda connection: connection.recv(5000), "closed"),
        (lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n") or connection.recv(1), "no_tls"),
        (lambda connection: connection.recv(9999) and connection.recv(1), "silent"),
    ],
    ids=["closed at once", "closed later", "another program", "no answer"],
)
def test_what_answers_otherwise(
    listen: Callable[..., Listener],
    act: Callable[[socket.socket], object],
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener_contact, "ANSWER_SECONDS", 0.5)
    found = contact(listen(act).endpoint, None, OWN.certificate)
    assert found.problem == problem and found.msg


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        endpoint = Endpoint("127.0.0.1", closed.getsockname()[1])
    found = contact(endpoint)
    assert (found.problem, found.msg, found.seconds) == ("refused", "connection refused", None)


def test_what_a_firewall_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    # A queue that is full does not answer either.
    monkeypatch.setattr(listener_contact, "CONNECT_SECONDS", 0.3)
    with socket.socket() as server, socket.socket() as one, socket.socket() as two:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for waiting in (one, two):
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        target = Endpoint(*server.getsockname())
        found = contact_all([target, Endpoint("127.0.0.2", target.port), target])
    assert [item.problem for item in found] == ["timeout", "refused"]
    assert found[0].msg == "no answer within 0.3 s"
