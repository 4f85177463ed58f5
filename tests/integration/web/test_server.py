# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The web server: what it answers, and to what end whoever means it no good comes."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import web
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.host_names import HostNames
from ansible_collections.scistream.gateway.tests.integration.web.conftest import Site, page
from ansible_collections.scistream.gateway.tests.unit.plugins.module_utils._s2cs.service.samples import session

PAGES = ("/", "/metrics", "/status.json")


def connect(site: Site, data: bytes = b"") -> socket.socket:
    connection = socket.create_connection((site.host, site.port), timeout=30)
    connection.sendall(data)
    return connection


def everything(connection: socket.socket) -> bytes:
    """Return all that comes until the other end closes."""
    found = b""
    with connection, contextlib.suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            found += part
    return found


@pytest.mark.parametrize("path", PAGES)
def test_each_document_is_the_same_for_get_and_head(site: Site, path: str) -> None:
    site.monitor.snapshot()
    full, body = site.request("GET", path)
    head, nothing = site.request("HEAD", f"{path}?x=1")
    assert (full.status, head.status, nothing) == (200, 200, b"")
    assert len(body) == int(full.headers["Content-Length"]) == int(head.headers["Content-Length"]) > 100


def test_the_documents_say_what_they_are(site: Site) -> None:
    site.show(session(0))
    assert "scistream_up 1" in site.request("GET", "/metrics")[1].decode().splitlines()
    assert site.request("GET", "/metrics")[0].headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert [one["name"] for one in json.loads(site.request("GET", "/status.json")[1])["sessions"]] == ["tomography-0"]
    assert b"<!DOCTYPE html>" in site.request("GET", "/")[1]


@pytest.mark.parametrize("path", [*PAGES, "/nothing"])
def test_answers_are_safe_to_show_and_say_nothing_of_the_server(site: Site, path: str) -> None:
    headers = site.request("GET", path)[0].headers
    assert "Server" not in headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"unsafe|https?:|\*", policy)


def test_the_page_asks_no_other_host() -> None:
    # Names of namespaces are no addresses.
    assert set(re.findall(r"\w+://[^\s'\"]+", page())) <= {"http://www.w3.org/2000/svg"}
    assert len(re.findall(r"<style>|<script>", page())) == 2
    assert "{%" not in page()


@pytest.mark.parametrize("secret", ["BEGIN", "key", "secret", "log"])
def test_no_certificate_and_no_log_is_on_the_page(site: Site, secret: str) -> None:
    pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    site.show(session(0, certificate=pem, peer_certificate=pem, log=["a line of the log"]))
    assert f'"{secret}"' not in site.request("GET", "/status.json")[1].decode()
    assert "MIIB" not in site.request("GET", "/status.json")[1].decode()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
def test_nothing_can_be_changed(site: Site, method: str) -> None:
    response, _body = site.request(method, "/")
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "path", ["/../../etc/passwd", "/page.html", "/status.json/", "/%2e%2e/", "/metrics%00", "http://x/"]
)
def test_other_paths_are_not_there(site: Site, path: str) -> None:
    assert site.request("GET", path, Host="localhost")[0].status == 404


OWN = socket.gethostname()


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("host", ["rebound.example.org", "127.0.0.1.example.org:80", "x@127.0.0.1", "[::1", "\xe9"])
def test_names_of_other_hosts_are_refused(site: Site, path: str, host: str) -> None:
    response, body = site.request("GET", path, Host=host)
    assert (response.status, b"s2cs_status_names" in body) == (421, True)
    assert host.encode() not in body
    answer = everything(connect(site, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nHost: {host}\r\n\r\n".encode()))
    assert b" 421 " in answer.splitlines()[0]


@pytest.mark.parametrize(
    "host",
    [
        *("", "127.0.0.1", "192.0.2.7:9464", "[::1]:9464", "[2001:db8::1]", "[fe80::1%25eth0]", "LocalHost:80"),
        *(OWN, f"{OWN.upper()}.:9464", "status.example.org"),
    ],
)
def test_addresses_and_own_names_are_served(site: Site, host: str) -> None:
    site.server.names = HostNames(["Status.Example.org"])
    assert site.request("HEAD", "/status.json", Host=host)[0].status == 200


def test_clients_of_http_1_0_send_no_name(site: Site) -> None:
    assert b" 200 " in everything(connect(site, b"GET /metrics HTTP/1.0\r\n\r\n")).splitlines()[0]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 20000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n", b"431"),
        (b"GET / HTTP/9.9\r\n\r\n", b"505"),
        (b"<script>alert(1)</script>\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"BREW / HTTP/1.1\r\n\r\n", b"501"),
    ],
    ids=["headers", "header", "line", "version", "markup", "tls", "method"],
)
def test_what_is_no_request_is_refused(site: Site, request_: bytes, status: bytes) -> None:
    answer = everything(connect(site, request_))
    assert status in answer.splitlines()[0]
    assert b"script" not in answer and b"Server:" not in answer
    assert site.request("GET", "/metrics")[0].status == 200


def test_clients_share_snapshots(site: Site) -> None:
    for _unused in range(20):
        site.request("GET", "/status.json")
        site.request("GET", "/metrics")
    assert 1 <= site.asked < 40


def test_silent_clients_hold_up_nobody(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "REQUEST_SECONDS", 1.0)
    silent = [connect(site, b"GET / HTTP/1.1\r\nX: ") for _unused in range(web.MAX_CLIENT_CONNECTIONS)]
    # From one address no more are let in, and none of those stays.
    assert b"503" in everything(connect(site)).splitlines()[0]
    for connection in silent:
        # A letter now and then is no request either.
        with contextlib.suppress(OSError):
            connection.sendall(b"a")
        assert everything(connection) == b""
    assert site.request("GET", "/metrics")[0].status == 200


def test_silent_clients_of_many_addresses_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MAX_CONNECTIONS", 3)
    monkeypatch.setattr(web, "client_of", str)
    monkeypatch.setattr(web, "MAX_CLIENT_CONNECTIONS", 100)
    site = Site(tmp_path)
    try:
        silent = [connect(site, b"GET /") for _unused in range(3)]
        end = time.monotonic() + 30
        while site.request("GET", "/metrics")[0].status != 200:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert everything(silent[0]) == b""
        for connection in silent:
            connection.close()
    finally:
        site.close()


def test_a_client_that_does_not_read_is_left(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "RESPONSE_SECONDS", 1.0)
    site.show(*(session(number, labels={"stream": "x" * 256}) for number in range(5000)))
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect((site.host, site.port))
    slow.sendall(b"GET /status.json HTTP/1.1\r\n\r\n")
    for number in (1, 0):
        end = time.monotonic() + 60
        while site.server.connections != number:
            assert time.monotonic() < end, f"there are not {number} connections"
            time.sleep(0.01)
    slow.close()


def test_ipv6(tmp_path: Path) -> None:
    site = Site(tmp_path, "::1")
    try:
        assert site.request("GET", "/metrics")[0].status == 200
    finally:
        site.close()


@pytest.mark.parametrize(
    ("host", "owner"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_one_host_of_ipv6_is_one_host(host: str, owner: str) -> None:
    assert web.client_of(host) == owner
