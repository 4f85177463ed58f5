# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes wrong around each proxy: configurations it refuses, programs that are missing, ports that are taken."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.proxies.certificates import of_gateway
from ansible_collections.scistream.gateway.tests.integration.proxies.harness import (
    CONFIGURATIONS,
    PROXIES,
    Stream,
    encryption,
    encrypts,
    program,
)
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import (
    Application,
    ask,
    connect,
    exchange,
    pair,
)

# Something that each program knows nothing of, where it must be a word of its syntax.
UNKNOWN = {"haproxy": "    nonsense yes\n", "nginx": "nonsense yes;\n", "stunnel": "nonsense = yes\n"}


def _template(s2cs: S2CS, kind: str) -> Path:
    return Path(s2cs.policy["template_dir"]) / f"{CONFIGURATIONS[program(kind)]}.j2"


def announce(s2cs: S2CS, kind: str, uid: str, target: str) -> dict[str, Any]:
    """REQ and HELLO of the role producer; returns what its UPDATE needs."""
    s2cs.request(uid, proxy=program(kind), encryption=encryption(kind))
    own = of_gateway("producer", uid).hello if encrypts(kind) else {}
    s2cs.done("hello", uid=uid, role="producer", secret=SECRET, producer_listeners=[target], **own)
    return {"peer_certificate": of_gateway("consumer", uid).certificate} if encrypts(kind) else {}


def _update(stream: Stream, target: str) -> dict[str, Any]:
    return {"uid": stream.uid, "role": "producer", "remote_listeners": [target]}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("{{ nothing }}", ("nothing", "undefined")),
        ("{{ listeners[0].nothing }}", ("nothing",)),
        ("{% for %}", ("cannot be used, line",)),
        ("{{ ''.__class__.__mro__ }}", ("unsafe",)),
        ("{{ '\\n' }}", ("is not allowed in a configuration",)),
        ("{{ 'a;b' }}", ("is not allowed in a configuration",)),
        ("{{ listeners }}", ("is not allowed in a configuration",)),
        ("{{ none }}", ("is not allowed in a configuration",)),
        ("\x07", ("control characters",)),
        ("{{ 1 // 0 }}", ("ZeroDivisionError",)),
        ("{% include '/etc/passwd' %}", ("cannot be used",)),
    ],
)
def test_a_template_that_cannot_be_used(gateway: S2CS, application: Application, more: str, words: Any) -> None:
    stream = Stream(gateway, "haproxy", application.endpoint)
    path = _template(gateway, "haproxy")
    path.write_text(path.read_text() + more)
    gateway.refused("update", str(path), *words, **_update(stream, application.endpoint))
    assert exchange(stream.listener) == b"one:hello"


def test_a_configuration_that_the_program_refuses(
    gateway: S2CS, kind: str, application: Application, other_application: Application
) -> None:
    stream = Stream(gateway, kind, application.endpoint)
    path = _template(gateway, kind)
    text = path.read_text()
    path.write_text(text + UNKNOWN[program(kind)])
    with connect(stream.listener) as established:
        assert ask(established, b"before") == b"one:before"
        gateway.refused("update", "nonsense", str(path), **_update(stream, other_application.endpoint))
        assert ask(established, b"still") == b"still"
    assert exchange(stream.listener) == b"one:hello"
    # A first UPDATE is refused in the same way, and leaves nothing.
    other = own_uid()
    more = announce(gateway, kind, other, application.endpoint)
    gateway.refused("update", "nonsense", uid=other, role="producer", **more)
    assert gateway.info(other)["state"] == "announced" and not gateway.info(other)["running"]
    path.write_text(text)
    stream.point(other_application.endpoint)
    assert exchange(stream.listener) == b"two:hello"


def test_a_program_that_cannot_take_over_what_its_check_accepts(gateway: S2CS, other_application: Application) -> None:
    """HAProxy: a directory for a socket is missed only when it starts; the worker that runs goes on."""
    with Application("one") as application:
        stream = Stream(gateway, "haproxy", application.endpoint)
        path = _template(gateway, "haproxy")
        text = path.read_text()
        path.write_text(text.replace("unix@run/admin.sock", "unix@run/missing/admin.sock"))
        before = gateway.picture()
        result = gateway.call("update", **_update(stream, other_application.endpoint))
        assert result["failed"] and "HAProxy" in result["msg"]
        assert gateway.rows() == before[0]
        assert exchange(stream.listener) == b"one:hello"
        path.write_text(text)
        stream.point(other_application.endpoint)
        assert exchange(stream.listener) == b"two:hello"


@pytest.mark.parametrize("proxy", PROXIES)
def test_what_is_not_installed(make_gateway: Callable[..., S2CS], proxy: str) -> None:
    s2cs = make_gateway({proxy: {"program": "/nonexistent/program"}})
    options = {"role": "producer", "secret": SECRET, "encryption": encryption(proxy)}
    role = f"scistream.gateway.{proxy}"
    s2cs.refused("request", "/nonexistent/program", role, uid=own_uid(), proxy=proxy, **options)
    _template(s2cs, proxy).unlink()
    s2cs.write_policy(proxies={proxy: {}}, default_proxy=proxy)
    s2cs.refused("request", str(_template(s2cs, proxy)), role, uid=own_uid(), proxy=proxy, **options)
    s2cs.write_policy(default_proxy=None)


def test_what_a_proxy_cannot_do_is_refused(gateway: S2CS) -> None:
    for proxy, options, word in (
        ("stunnel", {"encryption": "none"}, "encryption"),
        ("haproxy", {"transport": "udp"}, "transport"),
        ("s2ds", {"transport": "both"}, "transport"),
        ("stunnel", {"encryption": "tls", "transport": "udp"}, "transport"),
        ("stunnel", {"encryption": "tls", "rate": "1Gbit"}, "rate: "),
        ("haproxy", {"rate": "10Tbit"}, "rate: "),
        ("nginx", {"rate": "9kbit", "num_conn": 2}, "rate: "),
    ):
        request = {"encryption": "none", **options}
        gateway.refused("request", word, proxy, uid=own_uid(), role="producer", proxy=proxy, secret=SECRET, **request)
    for transport in ("udp", "both"):
        request = {"proxy": "nginx", "encryption": "tls", "transport": transport, "secret": SECRET}
        gateway.refused("request", "encryption", "transport", uid=own_uid(), role="producer", **request)
    uid = own_uid()
    gateway.request(uid, proxy="nginx")
    gateway.refused(
        *("request", "transport"),
        uid=uid,
        role="producer",
        proxy="nginx",
        encryption="none",
        secret=SECRET,
        transport="udp",
    )


@pytest.mark.parametrize(
    ("proxy", "settings", "word"),
    [
        ("haproxy", {"threads": "two"}, "threads"),
        ("haproxy", {"idle_timeout": 10**10}, "idle_timeout"),
        ("haproxy", {"nothing": 1}, "nothing"),
        ("nginx", {"stream_module": "/lib/x.so; evil"}, "stream_module"),
        ("nginx", {"program": "nginx -g evil"}, "program"),
        ("stunnel", {"clients_by_firewall": "maybe"}, "clients_by_firewall"),
    ],
)
def test_settings_that_are_refused(
    make_gateway: Callable[..., S2CS], proxy: str, settings: dict[str, Any], word: str
) -> None:
    s2cs = make_gateway({proxy: settings})
    s2cs.refused(
        *("request", f"proxies.{proxy}.settings", word),
        uid=own_uid(),
        role="producer",
        proxy=proxy,
        encryption=encryption(proxy),
        secret=SECRET,
    )


def test_a_port_that_somebody_took_meanwhile(gateway: S2CS, kind: str, application: Application) -> None:
    uid = own_uid()
    more = announce(gateway, kind, uid, application.endpoint)
    listener = gateway.info(uid)["listeners"][0]
    with socket.create_server(pair(listener)):
        result = gateway.call("update", uid=uid, role="producer", **more)
        assert result["failed"] and "in use" in result["msg"] and "taken by PID" in result["msg"], result["msg"]
        info = gateway.info(uid)
        assert info["state"] == "announced" and not info["running"]
        assert not gateway.processes()
        # What the HELLO gave stays, what this UPDATE gave does not.
        assert len(list(gateway.sessions.glob("*/gateway.crt.key"))) == int(encrypts(kind))
        assert not list(gateway.sessions.glob("*/peer.crt"))
    assert gateway.done("update", uid=uid, role="producer", **more)["changed"]
    if not encrypts(kind):
        assert exchange(listener) == b"one:hello"


def test_all_or_nothing(gateway: S2CS, kind: str, application: Application, other_application: Application) -> None:
    """An UPDATE of which another part fails takes back what it did: started proxies, targets, certificates."""
    running = Stream(gateway, kind, application.endpoint)
    new, last = own_uid(), own_uid()
    more = {uid: announce(gateway, kind, uid, application.endpoint) for uid in (new, last)}
    other_peer = {"peer_certificate": of_gateway("consumer", own_uid()).certificate} if encrypts(kind) else {}
    before = {path: path.read_bytes() for path in gateway.sessions.glob("*/*.crt*")}
    # Of the stream each role has three, of the others the role producer certificate and key.
    assert len(before) == (2 * 3 + 2 * 2 if encrypts(kind) else 0)
    listener = gateway.info(last)["listeners"][0]
    with socket.create_server(pair(listener)):
        result = gateway.call(
            "update",
            sessions=[
                {**_update(running, other_application.endpoint), **other_peer},
                {"uid": new, "role": "producer", **more[new]},
                {"uid": last, "role": "producer", **more[last]},
            ],
        )
    assert result["failed"]
    assert exchange(running.listener) == b"one:hello"
    assert [gateway.info(uid)["state"] for uid in (running.uid, new, last)] == ["streaming", "announced", "announced"]
    assert not gateway.info(new)["running"]
    assert {path: path.read_bytes() for path in gateway.sessions.glob("*/*.crt*")} == before
