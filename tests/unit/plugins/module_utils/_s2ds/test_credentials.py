# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates and keys: what is accepted, what is refused in which words, and when which file is there."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ansible_collections.scistream.gateway.plugins.module_utils._common import x509_der as reading
from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._common.pem import decode_key
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import credentials
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.data_server import S2DS
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.factory import data_server
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus.runtime import Janus
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.usual_certificate import is_usual, is_usual_pair
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import make_credentials
from ansible_collections.scistream.gateway.tests.integration.proxies.certificates import Pair, make, of_gateway

UID = "11111111-2222-4333-8444-555555555555"
OWN, PEER = of_gateway("producer", UID), of_gateway("consumer", UID)
RESERVED = DataServerSpec("producer-x", [Endpoint("127.0.0.7", 5100)], role="producer", encryption="tls")
HELLO = replace(RESERVED, certificate=OWN.certificate, key=OWN.key)
UPDATE = replace(RESERVED, certificate=OWN.certificate, peer_certificate=PEER.certificate, targets=[Endpoint("::1", 9)])


ROLES = Path(__file__).resolve().parents[5] / "roles"


def _site(directory: Path) -> Layout:
    """A gateway with the programs that the role s2cs installs, and nothing else of this host."""
    programs = str(ROLES / "s2cs" / "files")
    return Layout(str(directory), program_dir=programs, supervisor="process", dedicated_users=False)


def _with_key(kind: Any) -> Pair:
    return make("x", "producer", private=kind)


def _key_of(pair: Pair, how: serialization.PrivateFormat, passphrase: bytes = b"") -> str:
    protection: Any = serialization.NoEncryption()
    if passphrase:
        protection = serialization.BestAvailableEncryption(passphrase)
    text: bytes = pair.private.private_bytes(serialization.Encoding.PEM, how, protection)
    return text.decode()


PKCS8, TRADITIONAL = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL
SHORT_RSA, RSA = (_with_key(rsa.generate_private_key(65537, size)) for size in (1024, 2048))


@pytest.mark.parametrize(
    "good",
    [
        OWN,
        RSA,
        _with_key(ec.generate_private_key(ec.SECP384R1())),
        Pair(OWN.certificate, _key_of(OWN, TRADITIONAL)),
        Pair(OWN.certificate.replace("\n", "\r\n") + "  ", "\n" + OWN.key),
    ],
)
def test_what_is_accepted(good: Pair) -> None:
    instance = replace(HELLO, certificate=good.certificate, peer_certificate=PEER.certificate)
    credentials.check(instance, good.key)
    files = credentials.files(replace(instance, key=good.key))
    assert sorted(files) == sorted(credentials.FILES)
    assert all(
        text and text.endswith("-----\n") and "\r" not in text and not text[0].isspace() for text in files.values()
    )


def test_of_the_role_consumer() -> None:
    credentials.check(replace(HELLO, role="consumer", certificate=PEER.certificate), PEER.key)


@pytest.mark.parametrize("role", ["producer", "consumer"])
def test_what_the_playbooks_create_is_usual_in_its_role_only(role: str) -> None:
    other = "consumer" if role == "producer" else "producer"
    made = make_credentials(UID, role)
    der = reading.decode(made.certificate)
    assert is_usual(der) and is_usual(der, role) and not is_usual(der, other)
    credentials.check(replace(HELLO, role=role, certificate=made.certificate), made.key)
    with pytest.raises(S2DSException, match="other gateways would not accept it"):
        credentials.check(replace(HELLO, role=other, certificate=made.certificate), made.key)
    stranger = make_credentials(UID, role)
    key = decode_key(made.key)
    assert is_usual_pair(der, key, role) and not is_usual_pair(der, key, other)
    for wrong in (decode_key(stranger.key), key[:-1], key + b"\0", b"", decode_key(RSA.key)):
        assert not is_usual_pair(der, wrong, role)
    with pytest.raises(S2DSException, match=r"^key: it does not belong to the certificate"):
        credentials.check(replace(HELLO, role=role, certificate=made.certificate), stranger.key)


def test_changed_certificates_are_usual_only_where_openssl_accepts_them() -> None:
    der = reading.decode(make_credentials(UID, "producer").certificate)
    usual = 0
    for at in range(len(der)):
        changed = bytearray(der)
        changed[at] ^= 1
        if is_usual(bytes(changed)):
            usual += 1
            # The same flags as of the original.
            assert not credentials._is_authority(ssl.DER_cert_to_PEM_cert(bytes(changed))), at
    # Numbers, digits of times, keys and signatures.
    assert 150 < usual < 250
    assert not is_usual(der + b"\0") and not is_usual(der[:-1]) and not is_usual(b"")


@pytest.mark.parametrize(
    "other",
    [
        OWN,
        of_gateway("producer", UID, authority=True),
        of_gateway("producer", UID, issuer=PEER),
        _with_key(ec.generate_private_key(ec.SECP384R1())),
        SHORT_RSA,
    ],
)
def test_other_certificates_are_left_to_openssl(other: Pair) -> None:
    assert not is_usual(reading.decode(other.certificate))


@pytest.mark.parametrize(
    ("option", "words", "bad"),
    [
        ("certificate", "not exactly one certificate", Pair("hello", OWN.key)),
        ("certificate", "not exactly one certificate", Pair(OWN.certificate + PEER.certificate, OWN.key)),
        ("certificate", "not exactly one certificate", Pair(OWN.certificate + OWN.key, OWN.key)),
        ("certificate", "not exactly one certificate", Pair(OWN.key, OWN.key)),
        ("certificate", "cannot be read", Pair(OWN.certificate.replace("M", "A", 3), OWN.key)),
        ("certificate", "has expired", of_gateway("producer", UID, ends=-1)),
        ("certificate", "not valid yet", of_gateway("producer", UID, begins=3600)),
        ("certificate", "it is not self-signed", of_gateway("producer", UID, issuer=PEER)),
        ("certificate", "CA certificate", of_gateway("producer", UID, authority=True)),
        ("certificate", "too weak", SHORT_RSA),
        ("certificate", "other gateways would not accept it", PEER),
        ("key", "missing", Pair(OWN.certificate, "")),
        ("key", "does not belong", Pair(OWN.certificate, PEER.key)),
        ("key", "does not belong", Pair(RSA.certificate, OWN.key)),
        ("key", "not exactly one private key", Pair(OWN.certificate, "hello")),
        ("key", "not exactly one private key", Pair(OWN.certificate, OWN.key + OWN.key)),
        ("key", "cannot be used", Pair(OWN.certificate, OWN.key[:80] + OWN.key[100:])),
        ("key", "encrypted", Pair(OWN.certificate, _key_of(OWN, PKCS8, b"x"))),
        ("key", "encrypted", Pair(OWN.certificate, _key_of(OWN, TRADITIONAL, b"x"))),
    ],
)
def test_what_is_refused(option: str, words: str, bad: Pair) -> None:
    with pytest.raises(S2DSException) as caught:
        credentials.check(replace(HELLO, certificate=bad.certificate), bad.key or None)
    message = str(caught.value)
    assert message.startswith(f"{option}: ") and words in message and message.isprintable()
    assert not any(line in message for line in bad.key.splitlines() if line)


@pytest.mark.parametrize(
    ("words", "bad"),
    [
        ("not exactly one certificate", PEER.key),
        ("has expired", of_gateway("consumer", UID, ends=-1).certificate),
        ("CA certificate", of_gateway("consumer", UID, authority=True).certificate),
    ],
)
def test_what_is_refused_of_the_peer(words: str, bad: str) -> None:
    with pytest.raises(S2DSException, match=rf"^peer_certificate: .*{words}"):
        credentials.check(replace(UPDATE, peer_certificate=bad), OWN.key)


def test_what_a_certificate_says_of_itself() -> None:
    found = reading.parse(OWN.certificate)
    assert found.names == [f"producer.{UID}"] and found.issued_by_itself
    assert found.ends - found.begins == 86400 + 3600
    assert credentials.peer_name(UPDATE) == f"consumer.{UID}"
    assert reading.parse(make("not; a name", "producer").certificate).names == []
    # A certificate for longer than 2049 has its time in another form.
    assert reading.parse(make("x", "producer", ends=50 * 366 * 86400).certificate).ends > 50 * 365 * 86400


@pytest.mark.parametrize("cut", [1, 50, 200])
def test_a_certificate_that_is_cut_off(cut: int) -> None:
    lines = OWN.certificate.splitlines()
    body = "".join(lines[1:-1])[: -4 * cut]
    with pytest.raises(ValueError, match="cannot be read"):
        reading.parse(f"{lines[0]}\n{body}\n{lines[-1]}\n")


def test_no_key_is_shown() -> None:
    assert OWN.key.splitlines()[1] not in repr(HELLO) + str(HELLO)


def _server(site: Layout, proxy: str = "s2ds", **settings: str) -> Callable[[DataServerSpec], S2DS]:
    """Return what makes the data server of a spec."""
    return lambda spec: data_server(site, proxy, "process", settings, spec)


def _texts(directory: Path) -> dict[str, str]:
    return {name: (directory / name).read_text() for name in credentials.FILES if (directory / name).exists()}


def test_the_files_of_an_instance(tmp_path: Path) -> None:
    server = _server(Layout(str(tmp_path), supervisor="process", dedicated_users=False))
    where = Path(server(HELLO).runtime.home)
    own = {"gateway.crt": OWN.certificate, "gateway.crt.key": OWN.key}
    assert server(HELLO).plan_credentials().needed and not where.exists()
    assert server(HELLO).write_credentials() and not server(HELLO).write_credentials()
    assert _texts(where) == own and server(HELLO).key == OWN.key
    assert all((where / name).stat().st_mode & 0o777 == 0o600 for name in own)
    # The key that is there stays where none is given, and with another certificate it is of no use.
    assert server(replace(HELLO, key=None, peer_certificate=PEER.certificate)).write_credentials()
    assert _texts(where) == {**own, "peer.crt": PEER.certificate}
    other = of_gateway("producer", UID)
    with pytest.raises(S2DSException, match="key: it does not belong"):
        server(replace(HELLO, key=None, certificate=other.certificate)).write_credentials()
    assert not server(replace(HELLO, key=None, peer_certificate=PEER.certificate)).write_credentials()
    assert server(replace(HELLO, certificate=other.certificate, key=other.key)).write_credentials()
    assert _texts(where) == {"gateway.crt": other.certificate, "gateway.crt.key": other.key}
    assert server(RESERVED).write_credentials()
    assert _texts(where) == {} and server(HELLO).key is None


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = _server(Layout(str(tmp_path), supervisor="process", dedicated_users=False))
    where = Path(server(HELLO).runtime.home)
    server(HELLO).write_credentials()
    rename, other = os.rename, of_gateway("producer", UID)

    def no_room(source: str, target: str) -> None:
        if target.endswith(".key") and other.key in Path(source).read_text():
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", no_room)
    with pytest.raises(OSError, match="space"):
        server(replace(HELLO, certificate=other.certificate, key=other.key)).write_credentials()
    assert _texts(where) == {"gateway.crt": OWN.certificate, "gateway.crt.key": OWN.key}


@pytest.mark.parametrize("missing", ["certificate", "key", "peer_certificate"])
@pytest.mark.parametrize("proxy", ["s2ds", "haproxy", "nginx", "stunnel"])
def test_nothing_is_forwarded_with_something_missing(tmp_path: Path, proxy: str, missing: str) -> None:
    for path in ROLES.glob("*/files/*.j2"):
        (tmp_path / path.name).write_text(path.read_text())
    site = replace(_site(tmp_path), template_dir=str(tmp_path))
    server = _server(site, proxy, **({} if proxy == "s2ds" else {"program": "/bin/true"}))
    given: dict[str, Any] = {"key": OWN.key, missing: None}
    incomplete = replace(UPDATE, **given)
    for act in (server(incomplete).plan, server(incomplete).start):
        with pytest.raises(S2DSException, match=f"^{missing}: it is missing"):
            act()


def test_janus_is_told_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = _server(_site(tmp_path))
    monkeypatch.setattr(type(server(RESERVED).runtime), "name", Janus.name)
    with pytest.raises(S2DSException, match=r"^encryption: the runtime janus does not support tls"):
        server(RESERVED).check()
    server(replace(RESERVED, encryption="none")).check()


def test_the_forwarder_never_has_a_target_without_tls(tmp_path: Path) -> None:
    proxy = _server(Layout(str(tmp_path)))(RESERVED).proxy
    (before,) = proxy.files(RESERVED).values()
    (after,) = proxy.files(UPDATE).values()
    assert json.loads(before)["tls"] is None and json.loads(before)["listeners"][0]["target"] is None
    files = {"certificate": "gateway.crt", "key": "gateway.crt.key", "peer": "peer.crt"}
    assert json.loads(after)["tls"] == {"side": "accept", **files}
    (front,) = proxy.files(replace(UPDATE, role="consumer")).values()
    assert json.loads(front)["tls"] == {"side": "connect", **files}
