# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Configurations: what templates get, what they may write, and what the templates of the roles make of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import parse_endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import programs
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.credentials import SUITES
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies import rendering
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.haproxy import HAProxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.nginx import Nginx
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.stunnel import Stunnel
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.templated import TemplatedProxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec
from ansible_collections.scistream.gateway.tests.integration.proxies.certificates import make as make_certificate
from ansible_collections.scistream.gateway.tests.integration.proxies.certificates import of_gateway

ROLES = Path(__file__).resolve().parents[6] / "roles"
PROXIES: list[type[TemplatedProxy]] = [HAProxy, Nginx, Stunnel]
UID = "11111111-2222-4333-8444-555555555555"
NAMES = ("certificate", "key", "peer_certificate")
HAPROXY_TLS = "ssl crt gateway.crt ca-file peer.crt verify required "
OWN = {role: of_gateway(role, UID) for role in ("producer", "consumer")}


def instance(**values: Any) -> DataServerSpec:
    """Return an instance with two listeners and one target."""
    listeners = [parse_endpoint("listeners", f"192.0.2.1:{port}") for port in (5100, 5101)]
    targets = [parse_endpoint("targets", "10.1.0.5:7000")]
    if values.get("encryption") == "tls":
        role = values.get("role") or "producer"
        peer = OWN["consumer" if role == "producer" else "producer"]
        values = {"certificate": OWN[role].certificate, "peer_certificate": peer.certificate, **values}
    return DataServerSpec("producer-x", listeners, targets, **{"role": "producer", **values})


def make(kind: type[TemplatedProxy], tmp_path: Path, **settings: Any) -> TemplatedProxy:
    """Return a proxy with the template of its role."""
    return kind(Layout(str(tmp_path), template_dir=str(ROLES / kind.name / "files")), settings)


def rendered(kind: type[TemplatedProxy], tmp_path: Path, **values: Any) -> str:
    """Return the configuration that the template of the role makes."""
    if kind is Stunnel:
        values = {"encryption": "tls", **values}
    return make(kind, tmp_path).files(instance(**values))[kind.config]


@pytest.mark.parametrize(
    "value",
    [
        "a b",
        "a\nb",
        "a;b",
        "a'b",
        'a"b',
        "a{b",
        "a#b",
        "a\\b",
        "a$b",
        "a\x00b",
        "caf\u00e9",
        "\u2028",
        1.5,
        b"x",
        object(),
    ],
)
def test_values_that_are_no_word_are_refused(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "t.j2"
    path.write_text("nothing of it")
    with pytest.raises(S2DSException, match="is not allowed in a configuration"):
        rendering.render(str(path), "the.role", {"deep": [{"value": value}]})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("{{ a }}:{{ n }}", "192.0.2.1:7"),
        ("{{ items | join(', ') }}", "x, y"),
        ("{% for item in items %}\n{{ item }}\n{% endfor %}\n", "x\ny\n"),
        ("{{ n * 2 + 1 }}", "15"),
        ("a\tb", "a\tb"),
    ],
)
def test_what_a_template_may_write(tmp_path: Path, text: str, result: str) -> None:
    path = tmp_path / "t.j2"
    path.write_text(text)
    assert rendering.render(str(path), "the.role", {"a": "192.0.2.1", "n": 7, "items": ["x", "y"]}) == result


@pytest.mark.parametrize(
    "text",
    [
        "{{ missing }}",
        "{{ a.b.c }}",
        "{{ a.__class__ }}",
        "{{ items.append('z') }}",
        "{{ 'a\nb' }}",
        "{{ '$(reboot)' }}",
        "{{ true }}",
        "{{ none }}",
        "{{ items }}",
        "{% if %}",
        "{% import 'os' as os %}",
        "\x1b[0m",
    ],
)
def test_what_a_template_may_not_write(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.j2"
    path.write_text(text)
    with pytest.raises(S2DSException) as caught:
        rendering.render(str(path), "the.role", {"a": "x", "items": ["x", "y"]})
    assert str(path) in str(caught.value) and str(caught.value).isprintable()


def test_a_missing_template_names_the_role(tmp_path: Path) -> None:
    with pytest.raises(S2DSException, match=r"run the role the\.role"):
        rendering.render(str(tmp_path / "t.j2"), "the.role", {})


def test_without_jinja2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "JINJA2_PROBLEM", "No module named 'jinja2'")
    with pytest.raises(S2DSException, match=r"scistream\.gateway\.s2cs"):
        rendering.check_jinja2()


def test_a_host_name_is_never_put_into_a_configuration() -> None:
    with pytest.raises(S2DSException, match="an IP address and a port are required"):
        rendering.template_values(
            DataServerSpec("x", [parse_endpoint("l", "192.0.2.1:1")], [parse_endpoint("t", "example.org:1")])
        )


@pytest.mark.parametrize("kind", PROXIES)
@pytest.mark.parametrize("clients", [(), ("198.51.100.0/24", "2001:db8::/32")])
@pytest.mark.parametrize("egress", [None, "192.0.2.9", "2001:db8::9"])
def test_configurations_name_what_is_asked_for(
    tmp_path: Path, kind: type[TemplatedProxy], clients: tuple[str, ...], egress: str | None
) -> None:
    text = rendered(kind, tmp_path, clients=clients, egress=egress)
    assert text.count("10.1.0.5:7000") == 2
    assert all(f"192.0.2.1:{port}" in text for port in (5100, 5101))
    assert (str(egress) in text) == (egress is not None)
    assert "2073600" in text and "None" not in text
    if kind is not Stunnel:
        assert all((network in text) == bool(clients) for network in ("198.51.100.0/24", "2001:db8::/32"))
        assert ("reject" in text or "deny all" in text) == bool(clients)


def test_haproxy_splices_by_name(tmp_path: Path) -> None:
    text = rendered(HAProxy, tmp_path)
    assert "option splice-request\n" in text and "option splice-response\n" in text
    assert "option splice-auto" not in text and "tune.pipesize 1048576\n" in text and "noreuseport\n" in text


@pytest.mark.parametrize(("transport", "tcp", "udp"), [("tcp", 2, 0), ("udp", 0, 2), ("both", 2, 2)])
def test_nginx_forwards_what_is_asked_for(tmp_path: Path, transport: str, tcp: int, udp: int) -> None:
    text = rendered(Nginx, tmp_path, transport=transport)
    assert (text.count("so_keepalive="), text.count(" udp;")) == (tcp, udp)
    assert "\nuser " not in text and text.count("proxy_timeout 600s;") == udp
    assert transport == "tcp" or "worker_processes 1;" in text


@pytest.mark.parametrize("kind", PROXIES)
@pytest.mark.parametrize("role", ["producer", "consumer"])
def test_tls_by_role(tmp_path: Path, kind: type[TemplatedProxy], role: str) -> None:
    text = rendered(kind, tmp_path, role=role, encryption="tls")
    listens = re.findall(r"^\s*(?:bind|listen) \S+:51.*", text, re.MULTILINE)
    connects = re.findall(r"^\s*server target .*", text, re.MULTILINE)
    needed = {
        ("haproxy", "producer"): lambda: all(HAPROXY_TLS in line for line in listens) and "ssl" not in connects[0],
        ("haproxy", "consumer"): lambda: (
            all(HAPROXY_TLS in line and "no-ssl-reuse" in line for line in connects) and "ssl" not in listens[0]
        ),
        ("nginx", "producer"): lambda: (
            all(" ssl " in line for line in listens)
            and {"ssl_verify_client on;", "ssl_client_certificate peer.crt;", "ssl_protocols TLSv1.3;"} <= words(text)
            and "proxy_ssl" not in text
        ),
        ("nginx", "consumer"): lambda: (
            all(" ssl" not in line for line in listens)
            and {"proxy_ssl on;", "proxy_ssl_verify on;", "proxy_ssl_trusted_certificate peer.crt;"} <= words(text)
            and {f"proxy_ssl_name producer.{UID};", "proxy_ssl_protocols TLSv1.3;"} <= words(text)
        ),
        ("stunnel", "producer"): lambda: text.count("client = no\n") == text.count("verifyPeer = yes\n") == 2,
        ("stunnel", "consumer"): lambda: text.count("client = yes\n") == text.count("verifyPeer = yes\n") == 2,
    }
    assert needed[kind.name, role]()
    assert "splice" not in text and "gateway.crt" in text and "peer.crt" in text


def words(text: str) -> set[str]:
    """Return the lines of a configuration."""
    return {line.strip() for line in text.splitlines()}


@pytest.mark.parametrize("kind", [HAProxy, Nginx])
def test_without_encryption_there_is_none(tmp_path: Path, kind: type[TemplatedProxy]) -> None:
    text = rendered(kind, tmp_path)
    assert "ssl" not in text and ".crt" not in text


@pytest.mark.parametrize("kind", [HAProxy, Nginx])
def test_a_template_that_knows_nothing_of_tls(tmp_path: Path, kind: type[TemplatedProxy]) -> None:
    """That of a site, from before there was any, would forward unprotected what was to be protected."""
    text = (ROLES / kind.name / "files" / f"{kind.config}.j2").read_text()
    (tmp_path / f"{kind.config}.j2").write_text(text.replace("if tls", "if false"))
    proxy = kind(Layout(str(tmp_path), template_dir=str(tmp_path)), {})
    assert proxy.files(instance())
    with pytest.raises(S2DSException, match=r"gateway\.crt and peer\.crt"):
        proxy.files(instance(encryption="tls"))


@pytest.mark.parametrize("kind", PROXIES)
def test_the_cipher_that_is_set_is_the_only_one(tmp_path: Path, kind: type[TemplatedProxy]) -> None:
    session = instance(encryption="tls")
    for suite, others in (("TLS_CHACHA20_POLY1305_SHA256", "TLS_AES"), ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20")):
        cipher = next(name for name, known in SUITES.items() if known == suite)
        text = make(kind, tmp_path, cipher=cipher).files(session)[kind.config]
        assert suite in text and others not in text
    assert all(suite in make(kind, tmp_path).files(session)[kind.config] for suite in SUITES.values())
    # The template of a site must not ignore it.
    text = (ROLES / kind.name / "files" / f"{kind.config}.j2").read_text()
    (tmp_path / f"{kind.config}.j2").write_text(text.replace("tls.ciphersuites", "'any'"))
    layout = Layout(str(tmp_path), template_dir=str(tmp_path))
    assert kind(layout, {}).files(session)
    with pytest.raises(S2DSException, match=r"cannot be used with the setting cipher: .* TLS_AES_256_GCM_SHA384"):
        kind(layout, {"cipher": "aes-256-gcm"}).files(session)


def test_nginx_needs_the_name_of_a_server(tmp_path: Path) -> None:
    nameless = make_certificate("-", "producer").certificate
    with pytest.raises(S2DSException, match="peer_certificate: nginx needs a name"):
        make(Nginx, tmp_path).files(instance(encryption="tls", role="consumer", peer_certificate=nameless))
    assert make(Nginx, tmp_path).files(instance(encryption="tls", peer_certificate=nameless))


@pytest.mark.parametrize("kind", PROXIES)
@pytest.mark.parametrize(
    "settings",
    [
        {"unknown": 1},
        *({"idle_timeout": value} for value in (0, "1d", True)),
        *({"program": value} for value in ("x; y", "/a/../b", 7, "/a b")),
        {"keepalive_count": None},
        *({"cipher": value} for value in ("AES", "aes-128-gcm:aes-256-gcm", None, ["auto"])),
    ],
)
def test_settings_that_are_refused(tmp_path: Path, kind: type[TemplatedProxy], settings: dict[str, Any]) -> None:
    with pytest.raises(ValueRefused, match=rf"proxies\.{kind.name}\.settings"):
        make(kind, tmp_path, **settings)


@pytest.mark.parametrize("kind", PROXIES)
def test_what_a_proxy_cannot_do(tmp_path: Path, kind: type[TemplatedProxy]) -> None:
    proxy = make(kind, tmp_path, program="/bin/true")
    fine = instance(encryption=proxy.capabilities.encryptions[0])
    proxy.check(fine)
    certificate = OWN["producer"].certificate
    cases: list[tuple[dict[str, Any], str]] = [
        ({"rate": 10**9} if kind is Stunnel else {"rate": 10**9, "transport": "both"}, "rate: "),
        ({"encryption": "none" if kind is Stunnel else "ipsec"}, "encryption"),
        ({"transport": "sctp"}, "transport"),
        ({"encryption": "tls", "transport": "udp"}, "encryption" if kind is Nginx else "transport"),
        ({"encryption": "tls", "role": ""}, "role"),
    ]
    if kind is not Stunnel:
        cases += [({"encryption": "none", name: certificate}, name) for name in NAMES]
    for values, word in cases:
        with pytest.raises(S2DSException, match=word):
            proxy.check(instance(**{"encryption": fine.encryption, **values}))


def test_words_of_a_program_are_readable() -> None:
    assert programs.one_line([]) == "no output"
    assert programs.one_line(["a\x1b[1m\tb", "c"]) == "a [1m b | c"
    assert len(programs.one_line(["x" * 5000])) <= 600 and programs.one_line(["x" * 700 + "end"]).endswith("end")


def old(tmp_path: Path, said: str) -> str:
    """Return a program that reports a version."""
    path = tmp_path / "haproxy"
    path.write_text(f"#!/bin/sh\necho '{said}'\n")
    path.chmod(0o755)
    return str(path)


def test_a_rate_that_only_newer_versions_can_limit(tmp_path: Path) -> None:
    for said in ("HAProxy version 2.6.12-1+deb12u4 2026/10/17", "HA-Proxy version 2.4.22-f8e3218 2023/02/14"):
        proxy = make(HAProxy, tmp_path, program=old(tmp_path, said))
        proxy.check(instance())
        with pytest.raises(S2DSException, match=r"before version 2\.7, and /.*/haproxy is version 2\.[46]\..*nginx"):
            proxy.check(instance(rate=10**9))
    for said in ("HAProxy version 2.7.0-1 x", "HAProxy version 3.0.11-1+deb13u5 x", "HAProxy version 10.0 x", "none"):
        make(HAProxy, tmp_path, program=old(tmp_path, said)).check(instance(rate=10**9))


def test_the_program_of_an_image_that_cannot_limit_a_rate(tmp_path: Path) -> None:
    said = "[ALERT] (6) : config : parsing [x:5] : 'filter' : unknown keyword 'bwlim-in'. Registered keywords :"
    with pytest.raises(S2DSException, match=r"rate: .* before version 2\.7: omit rate, use an image"):
        make(HAProxy, tmp_path).verify("/", lambda command, directory: (1, [said]))
    with pytest.raises(S2DSException, match="rejects the configuration"):
        make(HAProxy, tmp_path).verify("/", lambda command, directory: (1, ["something else"]))


@pytest.mark.parametrize(
    ("rate", "limit"),
    [
        (8_000, "1000"),
        (20_000_000, "2500000"),
        (10**10, "1250000000"),
        (10**11, "1250000000"),
        (10**12, "1250000000"),
    ],
)
def test_what_limits_the_rate_of_haproxy(tmp_path: Path, rate: int, limit: str) -> None:
    text = rendered(HAProxy, tmp_path, rate=rate)
    period = {10**11: 100, 10**12: 10}.get(rate, 1000)
    # The connections of all listeners count together.
    assert text.count(f"filter bwlim-in upload limit {limit} key int(0) table upload") == 2
    assert text.count(f"filter bwlim-out download limit {limit} key int(0) table download") == 2
    assert text.count(f"bytes_in_rate({period}ms)") == text.count(f"bytes_out_rate({period}ms)") == 1
    assert "splice" not in text
    with pytest.raises(S2DSException, match="rate: 10000000000000 is too high for the proxy haproxy: must be at most"):
        make(HAProxy, tmp_path, program="/bin/true").check(instance(rate=10**13))


@pytest.mark.parametrize(("rate", "each", "buffer"), [(20_000_000, 1_250_000, 125_000), (10**10, 625_000_000, 1 << 24)])
def test_what_limits_the_rate_of_nginx(tmp_path: Path, rate: int, each: int, buffer: int) -> None:
    for encryption in ("tls", "none"):
        text = rendered(Nginx, tmp_path, rate=rate, encryption=encryption)
        assert f"proxy_upload_rate {each};" in text and f"proxy_download_rate {each};" in text
        assert "limit_conn session 2;" in text and f"proxy_buffer_size {buffer};" in text
    with pytest.raises(S2DSException, match=r"rate: 9000 is too low for num_conn 2: .* at least 16000 bits"):
        make(Nginx, tmp_path, program="/bin/true").check(instance(rate=9_000))


@pytest.mark.parametrize("kind", [HAProxy, Nginx])
def test_a_template_that_does_not_limit_the_rate_is_refused(tmp_path: Path, kind: type[TemplatedProxy]) -> None:
    assert kind.rate_directives and not any(word in rendered(kind, tmp_path) for word in kind.rate_directives)
    text = (ROLES / kind.name / "files" / f"{kind.config}.j2").read_text().replace("if rate", "if false")
    (tmp_path / f"{kind.config}.j2").write_text(text)
    proxy = kind(Layout(str(tmp_path), template_dir=str(tmp_path)), {})
    assert proxy.files(instance())
    with pytest.raises(S2DSException, match=r"cannot be used with a rate: .* use the variable rate"):
        proxy.files(instance(rate=10**9))
