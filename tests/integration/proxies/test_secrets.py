# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private keys are in one file of their session, as long as that lives; and templates of sites, which must use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.scistream.gateway.tests.integration.proxies.certificates import of_gateway
from ansible_collections.scistream.gateway.tests.integration.proxies.harness import (
    CONFIGURATIONS,
    Stream,
    directory,
    encryption,
    program,
)
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import (
    S2CS,
    SECRET,
    call,
    own_address,
    own_uid,
)
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, connect, exchange

FILES = ("gateway.crt", "gateway.crt.key", "peer.crt")


def _secret(key: str) -> bytes:
    """Return a line of a private key, which is enough to look for."""
    return key.splitlines()[1].encode()


def _of_processes(s2cs: S2CS) -> bytes:
    """Return what anybody can read of the processes of an S2CS, and what their owner can."""
    found = b""
    for pid in s2cs.processes():
        for name in ("cmdline", "environ"):
            found += Path(f"/proc/{pid}/{name}").read_bytes()
    return found


def test_the_key_is_in_its_file_and_nowhere_else(gateway: S2CS, encrypted: str, application: Application) -> None:
    stream = Stream(gateway, encrypted, application.endpoint)
    secrets = {role: _secret(pair.key) for role, pair in stream.pairs.items()}
    results: list[Any] = []
    with connect(stream.listener):
        stream.pairs["consumer"] = of_gateway("consumer", stream.uid)
        stream.point(application.endpoint)
        results.append(gateway.done("info"))
        seen = _of_processes(gateway)
    where = {"producer": directory(gateway, stream.session), "consumer": directory(gateway, stream.front)}
    for role, secret in secrets.items():
        files = [path for path in gateway.root.rglob("*") if path.is_file() and secret in path.read_bytes()]
        assert files == [where[role] / "gateway.crt.key"]
        assert secret not in seen and secret.decode() not in str(results)
        for name in FILES:
            assert (where[role] / name).stat().st_mode & 0o777 == 0o600
    stream.release()
    assert not gateway.left()
    for path in (path for path in gateway.root.rglob("*") if path.is_file()):
        assert not any(secret in path.read_bytes() for secret in secrets.values()), path


def test_a_hello_leaves_the_files_and_shows_no_key(gateway: S2CS, encrypted: str) -> None:
    uid = own_uid()
    gateway.request(uid, proxy=program(encrypted), encryption="tls")
    first, second = (of_gateway("producer", uid) for _unused in range(2))
    options = {"uid": uid, "role": "producer", "secret": SECRET, "producer_listeners": ["127.0.0.1:9"]}
    results = [gateway.call("hello", check=True, **options, **first.hello)]
    results += [gateway.done("hello", **options, **pair.hello) for pair in (first, first, second)]
    assert [result["changed"] for result in results] == [True, True, False, True]
    where = directory(gateway, gateway.info(uid))
    assert (where / "gateway.crt").read_text() == second.certificate
    assert (where / "gateway.crt.key").read_text() == second.key
    assert not (where / "peer.crt").exists()
    message = gateway.refused("hello", "key", **options, certificate=first.certificate, key=second.key)
    shown = str(results) + message
    assert not any(_secret(pair.key).decode() in shown for pair in (first, second))


def test_a_template_that_knows_nothing_of_tls(gateway: S2CS, application: Application) -> None:
    """A site's own template that would forward without encryption is refused where that was asked for."""
    for kind in ("haproxy-tls", "nginx-tls"):
        path = Path(gateway.policy["template_dir"]) / f"{CONFIGURATIONS[program(kind)]}.j2"
        text = path.read_text()
        path.write_text(text.replace("if tls", "if false").replace("elif tls", "elif false"))
        uid = own_uid()
        gateway.request(uid, proxy=program(kind), encryption=encryption(kind))
        own = of_gateway("producer", uid).hello
        hello = {"role": "producer", "secret": SECRET, "producer_listeners": [application.endpoint]}
        gateway.done("hello", uid=uid, **hello, **own)
        peer = {"peer_certificate": of_gateway("consumer", uid).certificate}
        gateway.refused("update", str(path), "gateway.crt", uid=uid, role="producer", **peer)
        path.write_text(text)
        gateway.done("update", uid=uid, role="producer", **peer)


def test_the_native_proxy_without_a_control_server(gateway: S2CS, application: Application) -> None:
    """The module s2ds: both sides of a stream, protected unless somebody asks for something else by name."""
    roles = ("producer", "consumer")
    pairs = {role: of_gateway(role, "camera") for role in roles}
    programs = {"program_dir": gateway.policy["program_dir"], "supervisor": "process", "dedicated_user": False}
    base = {"state_dir": str(gateway.state), **programs}

    def run(side: str, target: str, **more: Any) -> dict[str, Any]:
        other = roles[side == "producer"]
        where = {"name": side, "role": side, "listeners": [f"{addresses[side]}:5170"], "targets": [target]}
        peer = pairs[other].certificate
        options = {**base, **where, **pairs[side].hello, "peer_certificate": peer, **more}
        return call("s2ds", {name: value for name, value in options.items() if value is not None})

    addresses = {role: own_address() for role in roles}
    try:
        started = run("producer", application.endpoint)
        assert started["changed"] and started["s2ds"]["encryption"] == "tls"
        assert _secret(pairs["producer"].key).decode() not in str(started)
        assert run("consumer", f"{addresses['producer']}:5170")["changed"]
        listener = f"{addresses['consumer']}:5170"
        assert exchange(listener) == b"one:hello"
        # The key that is there stays where none is given.
        assert not run("producer", application.endpoint)["changed"]
        assert not run("producer", application.endpoint, key=None)["changed"]
        with connect(listener):
            pairs["consumer"] = of_gateway("consumer", "camera")
            assert run("producer", application.endpoint)["changed"]
            assert exchange(listener) == b""
            assert run("consumer", f"{addresses['producer']}:5170")["changed"]
            assert exchange(listener) == b"one:hello"
        for option in ("role", "certificate", "peer_certificate"):
            refused = run("producer", application.endpoint, **{option: None})
            assert refused["failed"] and refused["msg"].startswith(f"{option}: it is missing")
            assert "encryption none" in refused["msg"]
        refused = run("producer", application.endpoint, encryption="none")
        assert refused["failed"] and "omit it" in refused["msg"]
    finally:
        for role in roles:
            call("s2ds", {**base, "name": role, "state": "absent"})
