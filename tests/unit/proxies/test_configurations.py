# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Configurations: what templates get, what they may write, and what the templates of the roles make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import programs, templates
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.configured import ConfiguredProxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.endpoint import parse_endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import S2DSException, ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.haproxy import HAProxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.instance import Instance
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.nginx import Nginx
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.site import Site
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.stunnel import Stunnel

ROLES = Path(__file__).resolve().parents[3] / "roles"
PROXIES: list[type[ConfiguredProxy]] = [HAProxy, Nginx, Stunnel]
KEY = "5a" * 32


def instance(**values: Any) -> Instance:
    """Return an instance with two listeners and one target."""
    listeners = [parse_endpoint("listeners", f"192.0.2.1:{port}") for port in (5100, 5101)]
    targets = [parse_endpoint("targets", "10.1.0.5:7000")]
    return Instance("producer-x", listeners, targets, **{"role": "producer", "psk": None, **values})


def make(kind: type[ConfiguredProxy], tmp_path: Path, **settings: Any) -> ConfiguredProxy:
    """Return a proxy with the template of its role."""
    return kind(Site(str(tmp_path), template_dir=str(ROLES / kind.name / "files")), settings)


def rendered(kind: type[ConfiguredProxy], tmp_path: Path, **values: Any) -> str:
    """Return the configuration that the template of the role makes."""
    if kind is Stunnel:
        values = {"psk": KEY, "encryption": "tls", **values}
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
    with pytest.raises(S2DSException, match="cannot be put into a configuration"):
        templates.render(str(path), "the.role", {"deep": [{"value": value}]})


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
    assert templates.render(str(path), "the.role", {"a": "192.0.2.1", "n": 7, "items": ["x", "y"]}) == result


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
        templates.render(str(path), "the.role", {"a": "x", "items": ["x", "y"]})
    assert str(path) in str(caught.value) and str(caught.value).isprintable()


def test_a_missing_template_names_the_role(tmp_path: Path) -> None:
    with pytest.raises(S2DSException, match=r"run the role the\.role"):
        templates.render(str(tmp_path / "t.j2"), "the.role", {})


def test_without_jinja2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "JINJA2_PROBLEM", "No module named 'jinja2'")
    with pytest.raises(S2DSException, match=r"scistream\.gateway\.s2cs"):
        templates.check_jinja2()


def test_a_host_name_is_never_put_into_a_configuration() -> None:
    with pytest.raises(S2DSException, match="an IP address and a port are needed"):
        templates.instance_values(
            Instance("x", [parse_endpoint("l", "192.0.2.1:1")], [parse_endpoint("t", "example.org:1")])
        )


@pytest.mark.parametrize("kind", PROXIES)
@pytest.mark.parametrize("clients", [(), ("198.51.100.0/24", "2001:db8::/32")])
@pytest.mark.parametrize("egress", [None, "192.0.2.9", "2001:db8::9"])
def test_configurations_name_what_is_asked_for(
    tmp_path: Path, kind: type[ConfiguredProxy], clients: tuple[str, ...], egress: str | None
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


def test_stunnel_by_role(tmp_path: Path) -> None:
    producer = rendered(Stunnel, tmp_path)
    consumer = rendered(Stunnel, tmp_path, role="consumer")
    assert producer.count("client = no\n") == 2 and "CAfile" not in producer
    assert consumer.count("client = yes\nverifyChain") == 0 and consumer.count("verifyChain = yes\nCAfile") == 2
    assert producer.count("sslVersionMin = TLSv1.3\n") == consumer.count("sslVersionMin = TLSv1.3\n") == 2
    files = make(Stunnel, tmp_path).files(instance(role="consumer", psk=KEY))
    assert files["psk.txt"] == f"scistream:{KEY}\n" and "CERTIFICATE" in files["nobody.pem"]
    assert KEY not in consumer + repr(instance(psk=KEY))
    with pytest.raises(S2DSException, match="psk"):
        make(Stunnel, tmp_path).files(instance())


def test_nobody_can_have_the_key_of_the_authority() -> None:
    """Its public key is not on the curve, so that there is no private key to it."""
    y, p = 2, 2**255 - 19
    d = -121665 * pow(121666, p - 2, p) % p
    square = (y * y - 1) * pow(d * y * y + 1, p - 2, p) % p
    assert pow(square, (p - 1) // 2, p) == p - 1


@pytest.mark.parametrize("kind", PROXIES)
@pytest.mark.parametrize(
    "settings",
    [
        {"unknown": 1},
        *({"idle_timeout": value} for value in (0, "1d", True)),
        *({"program": value} for value in ("x; y", "/a/../b", 7, "/a b")),
        {"keepalive_count": None},
    ],
)
def test_settings_that_are_refused(tmp_path: Path, kind: type[ConfiguredProxy], settings: dict[str, Any]) -> None:
    with pytest.raises(ValueRefused, match=rf"proxies\.{kind.name}\.settings"):
        make(kind, tmp_path, **settings)


@pytest.mark.parametrize("kind", PROXIES)
def test_what_a_proxy_cannot_do(tmp_path: Path, kind: type[ConfiguredProxy]) -> None:
    proxy = make(kind, tmp_path, program="/bin/true")
    fine = instance(encryption=proxy.encryptions[0])
    proxy.check(fine)
    for values, word in (
        ({"rate": 10**9}, "rate"),
        ({"encryption": "none" if kind is Stunnel else "tls"}, "encryption"),
        ({"transport": "sctp"}, "transport"),
    ):
        with pytest.raises(S2DSException, match=word):
            proxy.check(instance(**{"encryption": fine.encryption, **values}))


def test_words_of_a_program_are_readable() -> None:
    assert programs.words([]) == "it says nothing"
    assert programs.words(["a\x1b[1m\tb", "c"]) == "a [1m b | c"
    assert len(programs.words(["x" * 5000])) <= 600 and programs.words(["x" * 700 + "end"]).endswith("end")
