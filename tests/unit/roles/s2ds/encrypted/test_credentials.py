# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Credentials: checked at the start and at a reload, and what a reload changes for whom."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def start(sealed: Any, tls: Any) -> str:
    """What a forwarder says that cannot start."""
    forwarder = sealed.bed.raw(sealed.bed.config(targets=[None], tls=tls))
    assert forwarder.exit() == 2
    log: str = forwarder.log()
    assert log.startswith("s2ds: s2ds.json: tls")
    assert log.count("\n") == 1
    assert "PRIVATE" not in log
    return log


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"side": "both"}, 'tls.side: "both" must be one of accept, connect'),
        ({"side": None}, "tls.side: null must be one of"),
        ({"key": ""}, 'tls.key: "" must be the path of a file'),
        ({"peer": 7}, "tls.peer: 7 must be the path of a file"),
        ({"ca": "x"}, "tls.ca: unknown key (known: side, certificate, key, peer)"),
        ({"key": "none.key"}, 'tls.key: "none.key" cannot be read: No such file or directory'),
        ({"certificate": "none.crt"}, 'tls.certificate: "none.crt" cannot be read: No such file or directory'),
        ({"peer": "none.crt"}, 'tls.peer: "none.crt" cannot be read: No such file or directory'),
        ({"peer": "."}, 'tls.peer: "." cannot be read: Is a directory'),
    ],
)
def test_settings_that_are_of_no_use(sealed: Any, change: dict[str, Any], message: str) -> None:
    assert message in start(sealed, {**sealed.tls("accept"), **change})


@pytest.mark.parametrize("name", ["side", "certificate", "key", "peer"])
def test_settings_that_are_missing(sealed: Any, name: str) -> None:
    tls = sealed.tls("accept")
    del tls[name]
    assert f"tls.{name}: missing" in start(sealed, tls)


def text(path: Path) -> str:
    return path.read_text()


CONTENTS: list[tuple[str, Callable[[Any], str], str]] = [
    ("key", lambda sealed: text(sealed.consumer.key), "does not belong to the certificate"),
    ("key", lambda sealed: str(sealed.producer.locked.decode()), "is passphrase-protected"),
    ("key", lambda sealed: "nonsense", "does not contain a valid private key"),
    ("key", lambda sealed: text(sealed.producer.certificate), "does not contain a valid private key"),
    ("key", lambda sealed: "x" * 70000, "is larger than 65536 bytes"),
    ("key", lambda sealed: "\u00e9", "is not PEM"),
    ("certificate", lambda sealed: "", "does not contain a valid certificate"),
    ("certificate", lambda sealed: text(sealed.producer.key), "does not contain a valid certificate"),
    ("peer", lambda sealed: "", "must contain exactly one certificate"),
    ("peer", lambda sealed: text(sealed.consumer.certificate) * 2, "must contain exactly one certificate"),
    (
        "peer",
        lambda sealed: text(sealed.consumer.certificate) + text(sealed.producer.certificate),
        "must contain exactly one",
    ),
    ("peer", lambda sealed: text(sealed.consumer.certificate)[:200], "must contain exactly one certificate"),
    (
        "peer",
        lambda sealed: text(sealed.consumer.certificate).replace("M", "N"),
        "does not contain a valid certificate",
    ),
]


@pytest.mark.parametrize("side", ["accept", "connect"])
@pytest.mark.parametrize(("part", "content", "message"), CONTENTS, ids=range(len(CONTENTS)))
def test_files_that_are_of_no_use(
    sealed: Any, tmp_path: Path, side: str, part: str, content: Callable[[Any], str], message: str
) -> None:
    file = tmp_path / "file"
    file.write_text(content(sealed), encoding="utf-8")
    tls = sealed.tls(side, own=sealed.producer, peer=sealed.consumer)
    assert f'tls.{part}: "{file}" {message}' in start(sealed, {**tls, part: str(file)})


def test_paths_are_relative_to_the_directory(sealed: Any) -> None:
    target = sealed.bed.target()
    directory = sealed.bed.directory / "here"
    directory.mkdir()
    files = {
        "certificate": sealed.producer.certificate,
        "key": sealed.producer.key,
        "peer": sealed.consumer.certificate,
    }
    for name, path in files.items():
        (directory / name).write_bytes(path.read_bytes())
    tls = {"side": "accept", **{name: name for name in files}}
    forwarder = sealed.gateway("accept", target.address, "here", tls=tls)
    _client, _server = sealed.bed.together(lambda: sealed.dial(forwarder), target.accept)


def exchange(client: Any, server: Any) -> None:
    client.send(b"ping")
    assert server.receive(4) == b"ping"
    server.send(b"pong")
    assert client.receive(4) == b"pong"


def pair(sealed: Any, forwarder: Any, target: Any, own: Any = None) -> tuple[Any, Any]:
    client, server = sealed.bed.together(lambda: sealed.dial(forwarder, own), target.accept)
    exchange(client, server)
    return client, server


def turned_away(sealed: Any, forwarder: Any, own: Any = None) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        sealed.dial(forwarder, own).receive(1)


@pytest.mark.parametrize("workers", [1, 2])
def test_reload_with_another_peer_is_for_new_connections(sealed: Any, workers: int) -> None:
    """Both for the worker that runs already and for one that is started later."""
    target = sealed.bed.target()
    forwarder = sealed.gateway("accept", target.address, workers=workers)
    first = pair(sealed, forwarder, target)
    other = sealed.identity("other", "consumer")
    config = sealed.bed.config(targets=[target.address], workers=workers, tls=sealed.tls("accept", peer=other))
    assert forwarder.reload(config)["ok"]
    for _unused in range(2):
        turned_away(sealed, forwarder)
        second = pair(sealed, forwarder, target, other)
    exchange(*first)
    exchange(*second)
    assert len(forwarder.workers()) == workers
    config["tls"] = sealed.tls("accept")
    assert forwarder.reload(config)["ok"]
    turned_away(sealed, forwarder, other)
    pair(sealed, forwarder, target)


@pytest.mark.parametrize("part", ["certificate", "key", "peer"])
def test_bad_reload_changes_nothing(sealed: Any, part: str) -> None:
    target, elsewhere = sealed.bed.target(), sealed.bed.target()
    forwarder = sealed.gateway("accept", target.address, workers=2)
    pairs = [pair(sealed, forwarder, target)]
    config = sealed.bed.config(targets=[elsewhere.address], workers=2, tls=sealed.tls("accept"))
    context = sealed.context(False, sealed.consumer, sealed.producer)
    # The file itself is lost, too: what is in use does not depend on it.
    os.unlink(config["tls"][part])
    answer = forwarder.reload(config)
    assert not answer["ok"]
    assert f"s2ds.json: tls.{part}: " in answer["error"]
    assert "No such file" in answer["error"]
    for _unused in range(2):
        pairs.append(sealed.bed.together(lambda: sealed.dial(forwarder, context=context), target.accept))
        exchange(*pairs[-1])
    assert len(forwarder.workers()) == 2
    assert "reload refused" in forwarder.log()


def test_encryption_can_be_switched_by_a_reload(sealed: Any) -> None:
    target = sealed.bed.target()
    config = sealed.bed.config(targets=[target.address], workers=1)
    forwarder = sealed.bed.raw(config).started()
    plain = sealed.bed.link(forwarder, target)
    exchange(*plain)
    assert forwarder.reload({**config, "tls": sealed.tls("accept")})["ok"]
    secured = pair(sealed, forwarder, target)
    peer = forwarder.connect()
    peer.send(b"not TLS")
    assert peer.outcome() == "reset"
    assert forwarder.reload(config)["ok"]
    exchange(*sealed.bed.link(forwarder, target))
    exchange(*plain)
    exchange(*secured)


def test_the_key_is_nowhere_to_be_seen(sealed: Any) -> None:
    target = sealed.bed.target()
    forwarder = sealed.gateway("accept", target.address)
    pair(sealed, forwarder, target)
    key = "".join(sealed.producer.key.read_text().splitlines()[1:-1])[10:40]
    for pid in [forwarder.process.pid, *forwarder.workers()]:
        for name in ("cmdline", "environ"):
            assert key not in Path(f"/proc/{pid}/{name}").read_text()
        # No descriptor of a file in memory is left.
        links = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        assert not [link for link in links if "memfd" in link]
    assert key not in forwarder.log() + str(forwarder.status())
