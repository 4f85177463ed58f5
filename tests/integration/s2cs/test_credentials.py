# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates and keys of sessions: where they are, where they are not, and what is refused."""

from __future__ import annotations

import json
import random
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ansible_collections.scistream.gateway.tests.integration.proxies.certificates import Pair, of_gateway
from ansible_collections.scistream.gateway.tests.integration.s2cs import machine
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application
from ansible_collections.scistream.gateway.tests.integration.s2cs.test_life import four_times

FILES = ("gateway.crt", "gateway.crt.key", "peer.crt")


class Session:
    """A session that is to be encrypted, requested at once."""

    def __init__(self, s2cs: S2CS, role: str = "producer", uid: str = "", **options: Any) -> None:
        self.s2cs = s2cs
        self.which: dict[str, Any] = {"uid": uid or own_uid(), "role": role}
        self.own = of_gateway(role, self.which["uid"])
        self.peer = of_gateway("consumer" if role == "producer" else "producer", self.which["uid"])
        self.directory = s2cs.sessions / f"{role}-{self.which['uid']}"
        self.request: dict[str, Any] = {**self.which, "secret": SECRET, **options}
        s2cs.done("request", **self.request)

    def hello(self, pair: Pair | None = None) -> dict[str, Any]:
        """Return the options of a HELLO."""
        listeners = {"producer_listeners": ["127.0.0.1:7000"]} if self.which["role"] == "producer" else {}
        return {**self.which, "secret": SECRET, **listeners, **(pair.hello if pair else {})}

    def files(self) -> dict[str, str]:
        """Return the files of certificates and keys that it has."""
        return {name: (self.directory / name).read_text() for name in FILES if (self.directory / name).exists()}


@pytest.fixture
def session(s2cs: S2CS) -> Session:
    """A session that is to be encrypted."""
    return Session(s2cs)


def body(pair: Pair) -> list[str]:
    """Return the lines of a key that nobody else may see."""
    return pair.key.splitlines()[1:-1]


def everything(s2cs: S2CS, but: Path) -> str:
    """Return all that is in files of an S2CS but in one, and what its processes show."""
    found = [path.read_bytes() for path in s2cs.root.rglob("*") if path.is_file() and path != but]
    for pid in s2cs.processes():
        found += [Path(f"/proc/{pid}/{part}").read_bytes() for part in ("cmdline", "environ")]
    return b"".join(found).decode("utf-8", "replace")


def test_life(s2cs: S2CS, session: Session) -> None:
    requested = s2cs.done("request", **session.request)
    assert not requested["changed"] and requested["session"]["encryption"] == "tls"
    assert requested["session"]["certificate"] is None is requested["session"]["peer_certificate"]
    assert session.files() == {}
    said = four_times(s2cs, "hello", **session.hello(session.own))
    assert said["session"]["certificate"] == session.own.certificate and said["session"]["state"] == "announced"
    assert session.files() == {"gateway.crt": session.own.certificate, "gateway.crt.key": session.own.key}
    assert stat.S_IMODE((session.directory / "gateway.crt.key").stat().st_mode) == 0o600
    # Nobody has to remember the certificate: without one, the session keeps its own.
    assert not s2cs.done("hello", **session.hello())["changed"]
    assert not s2cs.done("request", **session.request)["changed"]
    update = {**session.which, "peer_certificate": session.peer.certificate}
    updated = four_times(s2cs, "update", **update)
    assert updated["session"]["peer_certificate"] == session.peer.certificate
    assert session.files()["peer.crt"] == session.peer.certificate
    for again in (s2cs.done("update", **session.which), s2cs.done("request", **session.request)):
        assert not again["changed"] and again["session"] == updated["session"]
    assert not s2cs.done("hello", **session.hello(session.own))["changed"]
    shown = json.dumps([said, updated, s2cs.done("info"), s2cs.done("release", **session.which)])
    assert not [line for line in body(session.own) if line in shown]
    assert s2cs.left() == []


def test_credentials_do_not_announce_the_application(s2cs: S2CS, session: Session) -> None:
    quiet = {**session.which, "secret": SECRET, "announce": False}
    said = four_times(s2cs, "hello", **quiet, **session.own.hello)
    assert said["session"]["state"] == "reserved" and said["session"]["certificate"] == session.own.certificate
    s2cs.refused("hello", "producer_listeners: ", **quiet, producer_listeners=["127.0.0.1:7000"])
    s2cs.refused("update", "reserved", **session.which, peer_certificate=session.peer.certificate)
    announced = s2cs.done("hello", **session.hello())["session"]
    assert announced["state"] == "announced" and announced["certificate"] == session.own.certificate
    # Nor does it take anything back.
    assert not s2cs.done("hello", **quiet)["changed"]
    assert s2cs.info(session.which["uid"])["producer_listeners"] == ["127.0.0.1:7000"]


def test_the_key_is_in_one_file(s2cs: S2CS, session: Session) -> None:
    s2cs.done("hello", **session.hello(session.own))
    s2cs.done("update", **session.which, peer_certificate=session.peer.certificate)
    found = everything(s2cs, but=session.directory / "gateway.crt.key")
    assert session.own.certificate.splitlines()[1] in found
    for line in (*body(session.own), SECRET):
        assert line not in found
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (s2cs.state / "s2cs.db", session.directory)]
    assert modes == [0o600, 0o750]


def test_other_spellings_of_the_same(s2cs: S2CS, session: Session) -> None:
    s2cs.done("hello", **session.hello(session.own))
    stripped = {"certificate": session.own.certificate.rstrip(), "key": session.own.key.rstrip()}
    assert not s2cs.done("hello", **session.hello(), **stripped)["changed"]
    peer = session.peer.certificate
    s2cs.done("update", **session.which, peer_certificate=peer.rstrip())
    assert not s2cs.done("update", **session.which, peer_certificate=peer)["changed"]


def test_renewal_before_it_streams_and_not_after(s2cs: S2CS, session: Session) -> None:
    s2cs.done("hello", **session.hello(session.own))
    other = of_gateway("producer", session.which["uid"])
    renewed = four_times(s2cs, "hello", **session.hello(other))
    assert renewed["session"]["certificate"] == other.certificate == session.files()["gateway.crt"]
    assert session.files()["gateway.crt.key"] == other.key
    s2cs.done("update", **session.which, peer_certificate=session.peer.certificate)
    s2cs.refused("hello", "certificate", "streaming", "release it first", **session.hello(session.own))
    other_peer = of_gateway("consumer", session.which["uid"])
    changed = four_times(s2cs, "update", **session.which, peer_certificate=other_peer.certificate)
    assert changed["session"]["peer_certificate"] == other_peer.certificate == session.files()["peer.crt"]


def test_a_key_that_was_lost_is_written_again(s2cs: S2CS, session: Session) -> None:
    s2cs.done("hello", **session.hello(session.own))
    (session.directory / "gateway.crt.key").unlink()
    s2cs.refused("update", "key", **session.which, peer_certificate=session.peer.certificate)
    assert s2cs.done("hello", **session.hello(session.own))["changed"]
    s2cs.done("update", **session.which, peer_certificate=session.peer.certificate)


def test_nothing_is_forwarded_with_something_missing(s2cs: S2CS, session: Session) -> None:
    s2cs.done("hello", **session.hello())
    s2cs.refused("update", "certificate: ", "s2cs_hello", **session.which)
    s2cs.refused(*("update", "certificate: ", "s2cs_hello"), **session.which, peer_certificate=session.peer.certificate)
    s2cs.done("hello", **session.hello(session.own))
    s2cs.refused("update", "peer_certificate: ", "the other gateway", **session.which)


def test_credentials_of_a_session_that_is_not_encrypted(s2cs: S2CS) -> None:
    plain = Session(s2cs, encryption="none")
    s2cs.refused("hello", "certificate", "encryption none", **plain.hello(plain.own))
    s2cs.done("hello", **plain.hello())
    s2cs.refused(
        "update", "peer_certificate", "encryption none", **plain.which, peer_certificate=plain.peer.certificate
    )
    s2cs.done("update", **plain.which)


def weak() -> Any:
    """Return a private key that is too short."""
    return rsa.generate_private_key(65537, 1024)


def encrypted(pair: Pair) -> str:
    """Return a key with a passphrase."""
    protection = serialization.BestAvailableEncryption(b"passphrase")
    text: bytes = pair.private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    return text.decode()


def wrong(session: Session) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return pairs that are of no use, each with the option that is at fault."""
    own, uid = session.own, session.which["uid"]
    other = of_gateway("producer", uid)
    return {
        "key of another": ("key", {**own.hello, "key": other.key}),
        "key alone": ("certificate", {"key": own.key}),
        "certificate alone": ("key", {"certificate": own.certificate}),
        "confused": ("certificate", {"certificate": own.key, "key": own.certificate}),
        "no key": ("key", {**own.hello, "key": own.certificate}),
        "encrypted": ("key", {**own.hello, "key": encrypted(own)}),
        "two certificates": ("certificate", {**own.hello, "certificate": own.certificate + other.certificate}),
        "text before": ("certificate", {**own.hello, "certificate": "# evil\n" + own.certificate}),
        "carriage returns": ("certificate", {**own.hello, "certificate": own.certificate.replace("\n", "\r\n")}),
        "no certificate": ("certificate", {**own.hello, "certificate": own.certificate.replace("MII", "MIJ", 1)}),
        "expired": ("certificate", of_gateway("producer", uid, ends=-1).hello),
        "not yet valid": ("certificate", of_gateway("producer", uid, begins=3600).hello),
        "too weak": ("certificate", of_gateway("producer", uid, private=weak()).hello),
        "of the other role": ("certificate", of_gateway("consumer", uid).hello),
        "empty": ("certificate", {"certificate": "", "key": ""}),
    }


def test_pairs_that_are_refused(s2cs: S2CS, session: Session) -> None:
    for name, (option, given) in wrong(session).items():
        for check in (True, False):
            message = s2cs.refused("hello", option, **session.hello(), **given, check=check)
            assert message.startswith(f"{option}:"), (name, message)
            assert not [line for line in body(session.own) if line[:20] in message]
        s2cs.refused("hello", f"{option}:", sessions=[{**session.hello(), **given}])


def test_peers_that_are_refused(s2cs: S2CS, session: Session) -> None:
    s2cs.done("hello", **session.hello(session.own))
    uid = session.which["uid"]
    for given in (
        *("", "none", session.peer.key, session.peer.certificate * 2, session.peer.certificate + "evil\n"),
        of_gateway("consumer", uid, ends=-1).certificate,
        of_gateway("consumer", uid, authority=True).certificate,
        session.peer.certificate.replace("MII", "MIJ", 1),
    ):
        for check in (True, False):
            message = s2cs.refused("update", **session.which, peer_certificate=given, check=check)
            assert message.startswith("peer_certificate:"), message


def test_all_or_nothing(s2cs: S2CS) -> None:
    sessions = [Session(s2cs) for _unused in range(3)]
    s2cs.done("hello", **sessions[1].hello(sessions[1].own))
    renewed = of_gateway("producer", sessions[1].which["uid"])
    hellos = [sessions[0].hello(sessions[0].own), sessions[1].hello(renewed)]
    last = {**sessions[2].hello(sessions[2].own), "key": sessions[0].own.key}
    s2cs.refused("hello", "key", sessions[2].which["uid"], sessions=[*hellos, last])
    assert sessions[0].files() == {} and sessions[1].files()["gateway.crt.key"] == sessions[1].own.key
    s2cs.done("hello", sessions=[*hellos, sessions[2].hello(sessions[2].own)])
    updates = [{**item.which, "peer_certificate": item.peer.certificate} for item in sessions]
    del updates[2]["peer_certificate"]
    s2cs.refused("update", "peer_certificate", sessions[2].which["uid"], sessions=updates)
    assert not [item for item in sessions if "peer.crt" in item.files()]
    s2cs.done("update", **updates[0])
    other_peer = of_gateway("consumer", sessions[0].which["uid"]).certificate
    s2cs.refused("update", "peer_certificate", sessions=[{**updates[0], "peer_certificate": other_peer}, *updates[1:]])
    assert sessions[0].files()["peer.crt"] == sessions[0].peer.certificate
    assert s2cs.info(sessions[0].which["uid"])["running"]


def test_hello_killed(s2cs: S2CS, session: Session) -> None:
    """Whatever it left, the session tells truly whether it has a certificate, and the next HELLO gives it one."""
    begin = time.monotonic()
    s2cs.done("hello", **session.hello(session.own))
    duration = time.monotonic() - begin
    for _unused in range(8):
        fresh = of_gateway("producer", session.which["uid"])
        s2cs.start("hello", **session.hello(fresh)).kill_after(random.uniform(0, duration * 1.1))
        found = s2cs.done("request", **session.request)["session"]["certificate"]
        if found is not None:
            assert session.files()["gateway.crt"] == found
        if found != fresh.certificate:
            s2cs.done("hello", **session.hello(fresh))
        assert session.files()["gateway.crt.key"] == fresh.key
    s2cs.done("update", **session.which, peer_certificate=session.peer.certificate)


def test_encryption_of_sessions_that_data_servers_cannot_encrypt(s2cs: S2CS) -> None:
    options = {"uid": own_uid(), "role": "producer", "secret": SECRET}
    s2cs.write_policy(proxies={"s2ds": {}, "nginx": {}})
    s2cs.refused("request", "encryption", "udp", **options, transport="udp", proxy="nginx")


def test_system_log(s2cs: S2CS, session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a list a key is written with its line breaks escaped, where Ansible does not find it to hide it."""
    written = tmp_path / "log"
    monkeypatch.setattr("ansible.module_utils.basic.has_journal", False)
    monkeypatch.setattr("syslog.syslog", lambda *text: written.open("a").write(f"{text}\n"))
    secret = "with-a-\"-and-a-\\-and-a-quote-'-0123456789"
    s2cs.done("hello", **session.hello(session.own))
    s2cs.done("hello", sessions=[session.hello(session.own)])
    assert s2cs.call("hello", sessions=[{**session.hello(session.own), "secret": secret}])["failed"]
    found = written.read_text()
    assert "Invoked with" in found and "sessions" in found
    assert not [line for line in body(session.own) if line in found]
    assert "0123456789" not in found


def test_data(make_s2cs: Callable[..., S2CS], application: Application) -> None:
    """Two gateways that know each other's certificate, and a third party that knows none."""
    producer = Session(make_s2cs())
    consumer = Session(make_s2cs(), "consumer", producer.which["uid"])
    producer.s2cs.done("hello", **{**producer.hello(producer.own), "producer_listeners": [application.endpoint]})
    announced = consumer.s2cs.done("hello", **consumer.hello(consumer.own))["session"]
    inbound = producer.s2cs.done("update", **producer.which, peer_certificate=announced["certificate"])["session"]
    outbound = consumer.s2cs.done(
        *("update",),
        **consumer.which,
        remote_listeners=inbound["listeners"],
        peer_certificate=inbound["certificate"],
    )["session"]
    data = b"frame" * 20000
    assert machine.exchange(outbound["listeners"][0], data) == b"one:" + data
    assert machine.exchange(inbound["listeners"][0]) == b""
