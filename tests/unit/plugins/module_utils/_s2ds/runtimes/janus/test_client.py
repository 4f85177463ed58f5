# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client of Janus: what it sends, what it makes of answers, and what it never tells."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus.client import (
    JanusClient,
    JanusError,
    NoContainer,
    NotRunning,
    repository,
)

USER, PASSWORD = "admin", "the-password-of-janus"
PREFIX = "/api/janus/controller"


class Server(ThreadingHTTPServer):
    """Answers as it was told, and keeps what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[tuple[int, Any]]] = {"POST /token": [(200, {"access_token": "token-1"})]}
        self.asked: list[tuple[str, str, Any]] = []
        self.location = ""

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Handler(BaseHTTPRequestHandler):
    server: Server

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        what = f"{self.command} {self.path[len(PREFIX) :]}"
        self.server.asked.append((what, self.headers["Authorization"], json.loads(body) if body else None))
        known = self.server.answers.get(what, [(404, "<html>no such page</html>")])
        status, answer = known.pop(0) if len(known) > 1 else known[0]
        text = answer if isinstance(answer, str) else json.dumps(answer)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = do_PUT = do_DELETE = _serve

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def client(server: Server) -> JanusClient:
    return JanusClient(f"http://127.0.0.1:{server.port}/", USER, PASSWORD, timeout=5)


def test_the_password_goes_out_once(server: Server, client: JanusClient) -> None:
    server.answers["GET /active"] = [(200, [])]
    assert client.sessions("x") == [] == client.sessions("x")
    basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert [item[:2] for item in server.asked] == [
        ("POST /token", basic),
        ("GET /active", "Bearer token-1"),
        ("GET /active", "Bearer token-1"),
    ]


@pytest.mark.parametrize("status", [404, 405])
def test_a_controller_without_tokens(server: Server, client: JanusClient, status: int) -> None:
    server.answers["POST /token"] = [(status, {"error": "?"})]
    server.answers["GET /active"] = [(200, [])]
    client.sessions("x")
    assert server.asked[-1][1].startswith("Basic ")


def test_a_token_that_became_void_is_renewed_once(server: Server, client: JanusClient) -> None:
    server.answers["GET /active"] = [(200, []), (401, {"error": "Unauthorized"}), (200, [])]
    server.answers["POST /token"] = [(200, {"access_token": "token-1"}), (200, {"access_token": "token-2"})]
    client.sessions("x")
    client.sessions("x")
    assert server.asked[-1] == ("GET /active", "Bearer token-2", None)


def test_a_wrong_password(server: Server, client: JanusClient) -> None:
    server.answers["POST /token"] = [(401, {"error": f"Unauthorized {PASSWORD}"})]
    with pytest.raises(JanusError, match="does not accept the user admin") as caught:
        client.sessions("x")
    assert PASSWORD not in str(caught.value)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"error": "Creating session failed: Profile x not found"}, "Profile x not found"),
        ([{"type": "bool_parsing", "msg": "should be a boolean"}], "should be a boolean"),
        ({"message": "what is this"}, "what is this"),
        ("<html>500</html>", "a web page instead of an error"),
        ("broken\x07\nlines", "broken | lines"),
        ("", "no reason given, status 500"),
    ],
)
def test_the_words_of_janus(server: Server, client: JanusClient, answer: Any, words: str) -> None:
    server.answers["POST /create"] = [(500, answer)]
    with pytest.raises(JanusError) as caught:
        client.create({})
    assert words in str(caught.value)
    assert str(caught.value).isprintable() and "POST /create" in str(caught.value)


@pytest.mark.parametrize("answer", ["not JSON", [], {}, {"x": 1}, None])
def test_an_answer_that_is_none(server: Server, client: JanusClient, answer: Any) -> None:
    server.answers["POST /create"] = [(200, answer)]
    with pytest.raises(JanusError):
        client.create({})


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Could not execute command: (409)\nReason: Conflict\nContainer x is paused", NotRunning),
        ("Could not execute command: (500)\nReason: Internal\ncontainer x is not running: Exited (1)", NotRunning),
        ("Could not execute command: (404)\nReason: Not Found\nNo such container: x", NoContainer),
        ("Could not execute command: (502)\nReason: Bad Gateway", JanusError),
    ],
)
def test_a_container_that_runs_no_command(
    server: Server, client: JanusClient, said: str, kind: type[JanusError]
) -> None:
    server.answers["POST /exec"] = [(500, {"error": said + " " * 50 + "x" * 2000})]
    with pytest.raises(JanusError) as caught:
        client.execute("node", "x", ["true"])
    assert caught.value.__class__ is kind


def test_start_answers_in_two_forms(server: Server, client: JanusClient) -> None:
    server.answers["PUT /start/7"] = [
        (200, {"7": {"state": "STARTED"}}),
        (200, {"state": "STARTED", "id": 7}),
        (200, {}),
    ]
    assert client.start(7)["state"] == "STARTED" == client.start(7)["state"]
    with pytest.raises(JanusError, match="did not return"):
        client.start(7)


def test_sessions_are_known_by_name(server: Server, client: JanusClient) -> None:
    mine = [{"id": 12, "name": "mine"}, {"id": 3, "name": "mine"}]
    server.answers["GET /active"] = [(200, [*mine, {"id": 1, "name": "mine-not"}, {"id": 2, "name": None}])]
    assert [item["id"] for item in client.sessions("mine")] == [3, 12]


def test_what_is_not_there(server: Server, client: JanusClient) -> None:
    server.answers["DELETE /active/7"] = [(404, {"error": "Not found"})]
    client.delete(7)
    server.answers["GET /nodes/x%2Fy"] = [(404, {"error": "Not found"})]
    assert client.node("x/y") is None
    server.answers["DELETE /active/8"] = [(500, {"error": "no"})]
    with pytest.raises(JanusError):
        client.delete(8)


def test_a_redirection_is_not_followed(server: Server, client: JanusClient) -> None:
    with Server() as other:
        threading.Thread(target=other.serve_forever, args=(0.02,), daemon=True).start()
        server.answers["POST /token"] = [(302, "")]
        server.location = f"http://127.0.0.1:{other.port}{PREFIX}/token"
        with pytest.raises(JanusError):
            client.sessions("x")
        assert not other.asked
        other.shutdown()


def test_a_proxy_of_the_environment_is_not_used(
    server: Server, client: JanusClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server.answers["GET /active"] = [(200, [])]
    JanusClient(client.url, USER, PASSWORD).sessions("x")
    assert server.asked


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(JanusError, match="does not answer"):
        JanusClient(f"http://127.0.0.1:{port}", USER, PASSWORD).sessions("x")


def test_somebody_who_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(JanusError, match="does not answer"):
        JanusClient(f"http://127.0.0.1:{silent.getsockname()[1]}", USER, PASSWORD, timeout=0.2).sessions("x")


def test_nothing_is_shown(client: JanusClient) -> None:
    assert PASSWORD not in repr(client) and PASSWORD not in str(client)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("haproxy:2.6", "haproxy"),
        ("haproxy", "haproxy"),
        ("registry:5000/dir/haproxy", "registry:5000/dir/haproxy"),
        ("registry:5000/haproxy:2.6", "registry:5000/haproxy"),
        ("haproxy@sha256:00", "haproxy"),
        ("haproxy:2.6@sha256:00", "haproxy"),
    ],
)
def test_the_name_of_an_image(image: str, name: str) -> None:
    assert repository(image) == name


def _certificate(directory: Path) -> Path:
    """Make a certificate for 127.0.0.1 that vouches for itself; the file has its key as well."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "janus")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "janus.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def test_tls_is_verified(server: Server, tmp_path: Path) -> None:
    path = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.answers["GET /active"] = [(200, [])]
    url = f"https://127.0.0.1:{server.port}"
    with pytest.raises(JanusError, match=r"(?i)certificate"):
        JanusClient(url, USER, PASSWORD).sessions("x")
    # It has been told nothing, not even the name of the user.
    assert not server.asked
    with pytest.raises(JanusError, match=r"(?i)certificate|mismatch"):
        JanusClient(f"https://localhost:{server.port}", USER, PASSWORD, ca=str(path)).sessions("x")
    assert JanusClient(url, USER, PASSWORD, ca=str(path)).sessions("x") == []
    assert JanusClient(url, USER, PASSWORD, verify=False).sessions("x") == []


def test_authorities_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(JanusError, match="cannot be used"):
        JanusClient("https://127.0.0.1:1", USER, PASSWORD, ca=str(tmp_path / "ca.pem"))


@pytest.mark.parametrize("answer", [["x"], [{"name": "mine"}], [{"name": "mine", "id": "x"}], {"mine": 1}, 7])
def test_what_is_no_list_of_sessions(server: Server, client: JanusClient, answer: Any) -> None:
    server.answers["GET /active"] = [(200, answer)]
    if answer == ["x"]:
        assert client.sessions("mine") == []
    else:
        with pytest.raises(JanusError, match="a list of its sessions"):
            client.sessions("mine")
