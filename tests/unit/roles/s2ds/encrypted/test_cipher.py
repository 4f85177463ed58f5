# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One cipher, as the setting says, at either end."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

SUITES = {
    "aes-128-gcm": "TLS_AES_128_GCM_SHA256",
    "aes-256-gcm": "TLS_AES_256_GCM_SHA384",
    "chacha20-poly1305": "TLS_CHACHA20_POLY1305_SHA256",
}


@pytest.mark.parametrize("cipher", SUITES)
@pytest.mark.parametrize("side", ["accept", "connect"])
def test_one_end_decides(sealed: Any, side: str, cipher: str) -> None:
    target = sealed.bed.target()
    settings: dict[str, dict[str, Any]] = {"accept": {}, "connect": {}}
    settings[side] = {"cipher": cipher}
    inner = sealed.gateway("accept", target.address, **settings["accept"])
    outer = sealed.gateway("connect", sealed.address(inner), **settings["connect"])
    client, server = sealed.bed.link(outer, target)
    sent, got = sealed.bed.together(lambda: client.send_stream(1 << 20, 1), server.receive_stream)
    assert got == (1 << 20, sent)
    for gateway in (inner, outer):
        assert gateway.status()["tls"]["suite"] == SUITES[cipher]


def test_ends_that_do_not_agree(sealed: Any) -> None:
    target = sealed.bed.target()
    inner = sealed.gateway("accept", target.address, cipher="chacha20-poly1305")
    outer = sealed.gateway("connect", sealed.address(inner), cipher="aes-128-gcm")
    assert outer.turned_away()
    inner.counted("refused", 1)
    assert "no shared cipher" in inner.log()
    assert "alert handshake failure" in outer.log()


def test_a_reload_changes_it_for_new_workers(sealed: Any) -> None:
    """OpenSSL takes it once in each process."""
    target = sealed.bed.target()
    gateway = sealed.gateway("accept", target.address, workers=1, cipher="chacha20-poly1305")
    settings = json.loads((gateway.directory / "s2ds.json").read_text())
    assert gateway.reload({**settings, "cipher": "aes-128-gcm"})["ok"]
    for reloaded in ("chacha20-poly1305", "aes-128-gcm"):
        client, server = sealed.bed.together(lambda: sealed.dial(gateway), target.accept)
        client.send(b"x")
        assert server.receive(1) == b"x"
        # The worker of the first connection serves the second one, too.
        assert gateway.status()["tls"]["suite"] == SUITES["aes-128-gcm"]
        assert gateway.reload({**settings, "cipher": reloaded})["ok"]


def test_only_where_it_is_wanted(sealed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An administrator's own configuration of OpenSSL stays in force without the setting."""
    own = sealed.bed.directory / "openssl.cnf"
    own.write_text(
        "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nCiphersuites = TLS_AES_128_GCM_SHA256\n"
    )
    target = sealed.bed.target()
    context = sealed.context(False, sealed.consumer, sealed.producer)
    assert len([item for item in context.get_ciphers() if item["protocol"] == "TLSv1.3"]) == 3
    monkeypatch.setenv("OPENSSL_CONF", str(own))
    gateway = sealed.gateway("accept", target.address)
    client, _server = sealed.bed.together(lambda: sealed.dial(gateway, context=context), target.accept)
    assert client.sock.tls.cipher()[0] == SUITES["aes-128-gcm"]


def test_a_process_that_has_loaded_openssl(sealed: Any) -> None:
    """Forwarders that are forked by a supervisor of many sessions have it from the start."""
    target = sealed.bed.target()
    gateway = sealed.gateway("accept", target.address, cipher="chacha20-poly1305")
    gateway.close()
    script = "import sys; sys.path.insert(0, sys.argv[1]); import ssl, program; sys.exit(program.main(sys.argv[2:]))"
    python, *options, program, flag, directory = gateway.process.args
    words = [python, *options, "-c", script, program, flag, directory]
    gateway.process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    gateway.started()
    client, server = sealed.bed.together(lambda: sealed.dial(gateway), target.accept)
    client.send(b"x")
    assert server.receive(1) == b"x"
    assert gateway.status()["tls"]["suite"] == SUITES["chacha20-poly1305"]


def test_how_much_one_key_has_encrypted(sealed: Any) -> None:
    target = sealed.bed.target()
    inner = sealed.gateway("accept", target.address)
    outer = sealed.gateway("connect", sealed.address(inner))
    clients = [sealed.bed.link(outer, target) for _unused in range(2)]
    for (client, server), size in zip(clients, (1 << 20, 1 << 16)):
        client.send(b"x" * size)
        server.receive(size)
    for gateway in (inner, outer):
        sealed.bed.wait_until(
            lambda gateway=gateway: gateway.status()["tls"]["with_one_key"] == 1 << 20, "the longest connection"
        )
