# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tickets go to other facilities and come from them: nothing in one is trusted."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import make_credentials
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.exchange_file import exchange_fingerprint
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import DescriptionError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_reader import read_streams
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.client import tickets

UID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
TICKET: dict[str, Any] = {
    "version": 2,
    "kind": "ticket",
    "name": "tomography",
    "uid": UID,
    "num_conn": 1,
    "rate": None,
    "encryption": "none",
    "transport": "tcp",
    "lifetime": None,
    "producer": {
        "gateway": "gw-aps",
        "listeners": ["192.0.2.1:5100"],
        "certificate": None,
        "proxy": "s2ds",
        "half_close": True,
    },
    "consumer": {"gateway": "gw-alcf"},
}
CERTIFICATE = make_credentials(UID, "producer").certificate


def encrypted(certificate: Any = CERTIFICATE, **changes: Any) -> dict[str, Any]:
    """Return the ticket of an encrypted stream."""
    return {**TICKET, "encryption": "tls", "producer": {**TICKET["producer"], "certificate": certificate, **changes}}


def producer(**changes: Any) -> dict[str, Any]:
    """Return the ticket of a stream that is not encrypted, with another producer side."""
    return {**TICKET, "producer": {**TICKET["producer"], **changes}}


def write(path: Path, ticket: Any) -> str:
    """Write a ticket, with the fingerprint that goes with what it says."""
    if isinstance(ticket, dict):
        ticket = yaml.safe_dump({"fingerprint": exchange_fingerprint("ticket", ticket), **ticket})
    path.write_text(ticket)
    return str(path)


def problem(item: dict[str, Any], gateways: list[str] | None = None) -> str:
    with pytest.raises(DescriptionError) as caught:
        read_streams([item], "outbound", ["gw-alcf"] if gateways is None else gateways)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("encryption", ["tls", "none"])
def test_there_and_back(tmp_path: Path, encryption: str) -> None:
    streams = [
        {
            "name": "tomography",
            "uid": UID,
            "producer": {"gateway": "gw-aps", "listeners": ["10.1.0.5:7000"]},
            "consumer": {"gateway": "gw-alcf", "address": "198.51.100.7"},
            "num_conn": 2,
            "rate": "1Gbit",
            "encryption": encryption,
            "lifetime": "12h",
            "labels": {"internal": "yes"},
        }
    ]
    session: dict[str, Any] = {"uid": UID, "role": "producer", "num_conn": 2, "rate": 10**9}
    session["listeners"] = ["192.0.2.1:5100", "192.0.2.1:5101"]
    session["certificate"] = CERTIFICATE if encryption == "tls" else None
    announced = {"gw-aps": {"sessions": [session]}}
    (ticket,) = tickets(streams, [{"gw-aps": {"skipped": True}}, announced])
    assert (ticket["name"], ticket["file"]) == ("tomography", "tomography.ticket.yml")
    comment, body = ticket["text"].partition("version:")[::2]
    assert "no secret" in comment and "trust" in comment and all(line[0] == "#" for line in comment.splitlines())
    assert "secret" not in body and "internal" not in body and "10.1.0.5" not in body
    assert "phone" in comment and ("certificate: |" in body) == (encryption == "tls")
    path = write(tmp_path / "t.yml", ticket["text"])
    (stream,) = read_streams([{"ticket": path, "encryption": encryption}], "outbound", ["gw-alcf", "gw-x"])
    assert (stream.uid, stream.num_conn, stream.rate, stream.lifetime) == (UID, 2, "1000000000", 43_200)
    assert stream.remote_listeners == session["listeners"]
    assert stream.gateways == {"producer": "gw-aps", "consumer": "gw-alcf"}
    assert stream.encryption == encryption
    assert stream.certificates == ({"producer": CERTIFICATE} if encryption == "tls" else {})


class Tagged(str):
    """As ansible-core wraps the texts of a play."""


def test_texts_of_a_play_are_written_as_texts() -> None:
    session = {"uid": UID, "role": "producer", "listeners": [Tagged("192.0.2.1:5100")], "certificate": CERTIFICATE}
    streams = [{**STREAM, "uid": Tagged(UID), "name": Tagged("a"), "num_conn": 1}]
    (ticket,) = tickets(streams, [{"x": {"sessions": [session]}}])
    assert yaml.safe_load(ticket["text"])["name"] == "a"


def test_what_a_gateway_says_is_checked_before_it_is_written() -> None:
    streams = [{**STREAM, "uid": UID}]
    for change in ({"listeners": ["{{ 1 }}:5100"]}, {"certificate": "{{ 1 }}"}):
        session = {"uid": UID, "role": "producer", "listeners": ["192.0.2.1:5100"], **change}
        with pytest.raises(ScistreamError):
            tickets(streams, [{"x": {"sessions": [session]}}])


STREAM: dict[str, Any] = {
    "name": "a",
    "producer": {"gateway": "x", "listeners": ["10.1.0.5:7000"]},
    "consumer": {"gateway": "y"},
}


def test_a_producer_side_that_is_not_open_has_no_ticket() -> None:
    assert tickets([STREAM], [{"x": {}}, {}]) == []
    assert tickets([STREAM], [{}], "open") == []


def test_the_only_gateway_is_the_one_that_is_meant(tmp_path: Path) -> None:
    path = write(tmp_path / "t.yml", TICKET)
    plain = {"ticket": path, "encryption": "none"}
    assert read_streams([plain], "outbound", ["own"])[0].gateways["consumer"] == "own"
    assert "consumer_gateway" in problem(plain, ["one", "other"])
    chosen = {**plain, "consumer": {"gateway": "other", "clients": "10.2.0.5"}, "proxy": "nginx"}
    (stream,) = read_streams([chosen], "outbound", ["one", "other"])
    assert (stream.gateways["consumer"], stream.clients, stream.proxy) == ("other", ["10.2.0.5/32"], "nginx")
    ports = list(range(5100, 5100 + stream.num_conn))
    chosen = {**plain, "consumer": {"gateway": "own", "ports": ports}}
    assert read_streams([chosen], "outbound", ["own"])[0].ports == {"consumer": ports}


def test_empty_choices_of_the_command_line_are_none(tmp_path: Path) -> None:
    item = {"ticket": write(tmp_path / "t.yml", encrypted()), "consumer": {"gateway": ""}, "encryption": ""}
    assert read_streams([item], "outbound", ["gw-alcf", "b"])[0].gateways["consumer"] == "gw-alcf"


@pytest.mark.parametrize("purpose", ["open", "inbound"])
def test_only_outbound_opens_tickets(tmp_path: Path, purpose: str) -> None:
    with pytest.raises(DescriptionError, match="only stream_outbound"):
        read_streams([{"ticket": write(tmp_path / "t.yml", TICKET)}], purpose, ["gw-alcf"])


@pytest.mark.parametrize("purpose", ["identify", "release"])
def test_a_ticket_releases(tmp_path: Path, purpose: str) -> None:
    (stream,) = read_streams([{"ticket": write(tmp_path / "t.yml", TICKET)}], purpose, ["gw-alcf"])
    assert stream.uid == UID


def test_the_other_facility_may_choose_another_lifetime(tmp_path: Path) -> None:
    path = write(tmp_path / "t.yml", {**TICKET, "lifetime": 600})
    plain = {"ticket": path, "encryption": "none"}
    assert read_streams([plain], "outbound", ["gw-alcf"])[0].lifetime == 600
    assert read_streams([{**plain, "lifetime": "5m"}], "outbound", ["gw-alcf"])[0].lifetime == 300


def test_a_ticket_that_expired_only_releases(tmp_path: Path) -> None:
    old = datetime(2020, 1, 1, tzinfo=timezone.utc)
    certificate = make_credentials(UID, "producer", now=old).certificate
    path = write(tmp_path / "t.yml", encrypted(certificate))
    text = problem({"ticket": path})
    assert "its certificate expired at 2020-12-31T00:00:00Z" in text and "ask for a new ticket" in text
    assert read_streams([{"ticket": path}], "release", ["gw-alcf"])[0].uid == UID


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"certificate": None}, "not exactly one certificate"),
        ({"certificate": CERTIFICATE[:200]}, "not exactly one certificate"),
        ({"certificate": CERTIFICATE.replace("\nM", "\nN", 1)}, "damaged or modified"),
        ({"certificate": make_credentials(UID, "consumer").certificate}, "is that of"),
        ({"certificate": make_credentials(UID[::-1], "producer").certificate}, "is that of"),
        ({"certificate": make_credentials(UID, "producer").key}, "private key"),
    ],
)
def test_a_certificate_that_was_changed(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    assert text in problem({"ticket": write(tmp_path / "t.yml", encrypted(**change))})


def test_what_does_not_go_with_an_encrypted_ticket(tmp_path: Path) -> None:
    path = write(tmp_path / "t.yml", encrypted())
    assert "ask for a ticket of an unencrypted stream" in problem({"ticket": path, "runtime": "janus"})
    path = write(tmp_path / "plain.yml", TICKET)
    text = problem({"ticket": path, "proxy": "stunnel", "encryption": "none"})
    assert "choose another proxy" in text and "write" not in text


@pytest.mark.parametrize(("says", "here"), [("none", None), ("none", "tls"), ("tls", "none"), ("tls", "ssl")])
def test_no_ticket_takes_the_encryption_away(tmp_path: Path, says: str, here: str | None) -> None:
    path = write(tmp_path / "t.yml", encrypted() if says == "tls" else TICKET)
    text = problem({"ticket": path, **({"encryption": here} if here else {})})
    assert f"it says encryption {says}, but here it is" in text
    assert ("-e encryption=none" in text) == (says == "none")


@pytest.mark.parametrize("key", ["num_conn", "producer", "uid", "name", "encryption"])
def test_what_is_in_the_ticket_is_not_given_beside_it(tmp_path: Path, key: str) -> None:
    assert key in problem({"ticket": write(tmp_path / "t.yml", TICKET), key: 1})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text",
        "[1, 2]",
        "version: 1",
        "{",
        "\0",
        "!!python/object/apply:os.system ['id']",
        "a: &a [*a, *a]",
        "x" * 300_000,
        "[" * 5_000,
    ],
)
def test_what_is_no_ticket(tmp_path: Path, text: str) -> None:
    assert "not a ticket" in problem({"ticket": write(tmp_path / "t.yml", text)})


@pytest.mark.parametrize("path", ["", 5, None, ["a"], "/nonexistent/t.yml", "/", "/dev/zero", "a\0b"])
def test_what_is_no_file(path: Any) -> None:
    if path is not None:
        assert "ticket" in problem({"ticket": path})


@pytest.mark.parametrize(
    "change",
    [
        {"version": 1},
        {"version": 3},
        {"version": True},
        {"version": "2"},
        {"kind": "reply"},
        {"kind": None},
        {"secret": "x"},
        {"producer": {**TICKET["producer"], "key": "x"}},
        {"producer": []},
        {"consumer": None},
    ],
)
def test_other_shapes(tmp_path: Path, change: dict[str, Any]) -> None:
    assert "ticket" in problem({"ticket": write(tmp_path / "t.yml", {**TICKET, **change})})


@pytest.mark.parametrize(
    "change",
    [
        {"name": "{{ lookup('pipe', 'id') }}"},
        {"name": "../../etc/cron.d/x"},
        {"uid": "{{ 1 }}"},
        {"uid": None, "name": None},
        {"num_conn": 0},
        {"num_conn": [1]},
        {"rate": "{{ x }}"},
        {"encryption": "tls"},
        {"encryption": None},
        {"encryption": "rot13"},
        {"lifetime": "for ever"},
        producer(listeners=["192.0.2.1:5100\nserver evil"]),
        producer(listeners="192.0.2.1:5100"),
        producer(listeners=[]),
        producer(listeners=[1]),
        producer(gateway="g w"),
        producer(half_close="no"),
        {"producer": {}},
        {"consumer": {}},
    ],
)
def test_hostile_values(tmp_path: Path, change: dict[str, Any]) -> None:
    assert problem({"ticket": write(tmp_path / "t.yml", {**TICKET, **change})})
