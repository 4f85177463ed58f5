# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replies to tickets: the gateway in one gets the stream, so that a wrong one must not be taken."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import make_credentials
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.exchange_file import exchange_fingerprint
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.fingerprints import fingerprint
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import DescriptionError, stream_uid
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_reader import read_streams
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.client import (
    problems,
    tickets,
    updates,
)

UID = stream_uid("tomography", "gw-aps", "gw-alcf")
PRODUCER, CONSUMER = (make_credentials(UID, role).certificate for role in ("producer", "consumer"))
STREAM: dict[str, Any] = {
    "name": "tomography",
    "producer": {"gateway": "gw-aps", "listeners": ["10.1.0.5:7000"]},
    "consumer": {"gateway": "gw-alcf"},
}
REPLY: dict[str, Any] = {
    "version": 2,
    "kind": "reply",
    "name": "tomography",
    "uid": UID,
    "answers": "(the fingerprint of TICKET)",
    "consumer": {
        "gateway": "own-name",
        "address": "198.51.100.1",
        "certificate": CONSUMER,
        "proxy": "s2ds",
        "half_close": True,
    },
}


def session(role: str, **more: Any) -> dict[str, Any]:
    certificate = {"producer": PRODUCER, "consumer": CONSUMER}[role]
    return {
        "uid": UID,
        "role": role,
        "listeners": ["192.0.2.1:5100"],
        "certificate": certificate,
        "proxy": "s2ds",
        **more,
    }


def write(path: Path, reply: Any) -> str:
    """Write a reply, with the fingerprint that goes with what it says."""
    if isinstance(reply, dict):
        reply = yaml.safe_dump({"fingerprint": exchange_fingerprint("reply", reply), **reply})
    path.write_text(reply)
    return str(path)


def consumer(**changes: Any) -> dict[str, Any]:
    return {**REPLY, "consumer": {**REPLY["consumer"], **changes}}


def problem(*replies: Any, stream: dict[str, Any] | None = None) -> str:
    with pytest.raises(DescriptionError) as caught:
        read_streams([stream or STREAM], "inbound", ["gw-aps"], replies)
    assert "\n" not in str(caught.value) and "BEGIN" not in str(caught.value)
    return str(caught.value)


def test_there_and_back(tmp_path: Path) -> None:
    (ticket,) = tickets([STREAM], [{"gw-aps": {"sessions": [session("producer")]}}])
    given = [{"ticket": write(tmp_path / ticket["file"], ticket["text"])}]
    results = [{"own-name": {"sessions": [session("consumer", egress="198.51.100.1")]}}]
    (reply,) = tickets(given, results, "outbound", ["own-name"])
    assert reply["file"] == "tomography.reply.yml"
    assert "no secret" in reply["text"] and "trust" in reply["text"]
    found = yaml.safe_load(reply["text"])
    assert found.pop("fingerprint") == reply["fingerprint"] == exchange_fingerprint("reply", found)
    assert found == {**REPLY, "answers": ticket["fingerprint"]}
    path = write(tmp_path / reply["file"], reply["text"])
    (stream,) = read_streams([STREAM], "inbound", ["gw-aps"], [path])
    assert stream.certificates == {"consumer": CONSUMER}
    assert stream.consumer_address == ["198.51.100.1/32"]
    assert (stream.answers, stream.reply) == (ticket["fingerprint"], reply["fingerprint"])


def test_streams_that_are_not_encrypted_need_none(tmp_path: Path) -> None:
    plain = {**STREAM, "encryption": "none", "consumer": {**STREAM["consumer"], "address": "198.51.100.7"}}
    (ticket,) = tickets([plain], [{"gw-aps": {"sessions": [session("producer", certificate=None)]}}])
    given = [{"ticket": write(tmp_path / ticket["file"], ticket["text"]), "encryption": "none"}]
    results = [{"gw-alcf": {"sessions": [session("consumer", certificate=None)]}}]
    assert tickets(given, results, "outbound") == []
    assert "needs none" in problem(write(tmp_path / "r.yml", REPLY), stream=plain)


def test_an_address_in_the_description_goes_before_that_of_the_reply(tmp_path: Path) -> None:
    path = write(tmp_path / "r.yml", REPLY)
    given = {**STREAM, "consumer": {"gateway": "gw-alcf", "address": "203.0.113.9"}}
    assert read_streams([given], "inbound", None, [path])[0].consumer_address == ["203.0.113.9/32"]
    path = write(tmp_path / "r.yml", consumer(address=None))
    assert read_streams([STREAM], "inbound", None, [path])[0].consumer_address == []


@pytest.mark.parametrize("address", ["{{ x }}", "0.0.0.0/0", "name", 5, ["198.51.100.1"], "198.51.100.1\n"])
def test_hostile_addresses(tmp_path: Path, address: Any) -> None:
    assert "consumer.address" in problem(write(tmp_path / "r.yml", consumer(address=address)))


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ({**REPLY, "uid": UID[::-1]}, "which is not among those of this run: tomography (uid "),
        ({**REPLY, "uid": "{{ x }}"}, "which is not among"),
        ({**REPLY, "uid": None}, "uid is null, not a string"),
        ({**REPLY, "uid": ["{{ x }}"]}, 'uid is ["{{ x }}"], not a string'),
        ({**REPLY, "kind": "ticket"}, "-e ticket=PATH"),
        ({**REPLY, "kind": "other"}, "not a reply of stream_outbound"),
        (
            {**REPLY, "version": 1},
            "its version 1 is an earlier one; only 2 can be read: update the collection where it was",
        ),
        ({**REPLY, "version": 3}, "its version 3 is a later one; only 2 can be read: update the collection here"),
        ({**REPLY, "version": "2"}, 'its version "2" is not known'),
        ({**REPLY, "key": "x"}, "not a reply"),
        ({**REPLY, "consumer": []}, "not a reply"),
        (consumer(key="x"), "not a reply"),
        ("", "not a reply"),
        ("{", "not a reply"),
        (consumer(certificate=None), "certificate is null, not a string"),
        (consumer(certificate=""), "ask for a new reply"),
        (consumer(certificate=PRODUCER), "is that of"),
        (consumer(certificate=make_credentials(UID[::-1], "consumer").certificate), "is that of"),
        ({**REPLY, "fingerprint": "x"}, "its fingerprint does not match its content"),
        ({**REPLY, "fingerprint": None}, "fingerprint is null, not a string"),
    ],
)
def test_what_is_not_the_reply(tmp_path: Path, reply: Any, text: str) -> None:
    assert text in problem(write(tmp_path / "r.yml", reply))


def test_a_reply_that_expired(tmp_path: Path) -> None:
    old = make_credentials(UID, "consumer", now=datetime(2020, 1, 1, tzinfo=timezone.utc)).certificate
    reply = consumer(certificate=old)
    assert "expired at 2020-12-31" in problem(write(tmp_path / "r.yml", reply))


@pytest.mark.parametrize("path", ["", 5, None, ["a"], "/nonexistent/r.yml", "/", "/dev/zero"])
def test_what_is_no_file(path: Any) -> None:
    assert problem(path).startswith("reply")


def test_two_for_one(tmp_path: Path) -> None:
    path = write(tmp_path / "r.yml", REPLY)
    assert "specify only one of them" in problem(path, path)
    given = {**STREAM, "consumer": {"gateway": "gw-alcf", "certificate": CONSUMER}}
    assert "specify only one of them" in problem(path, stream=given)


def test_who_takes_replies(tmp_path: Path) -> None:
    path = write(tmp_path / "r.yml", REPLY)
    with pytest.raises(DescriptionError, match="only valid for stream_inbound"):
        read_streams([STREAM], "open", None, [path])
    with pytest.raises(DescriptionError, match="a reply also requires the description"):
        read_streams([], "inbound", None, [path])
    assert read_streams([STREAM], "release", None, ["/nonexistent"])


def test_the_producer_side_waits_for_it_and_then_lets_in_whom_it_names(tmp_path: Path) -> None:
    results = {"gw-aps": {"sessions": [session("producer", state="announced", peer_certificate=None)]}}
    assert updates([STREAM], "gw-aps", purpose="inbound", results=results) == []
    path = write(tmp_path / "r.yml", REPLY)
    (entry,) = updates([STREAM], "gw-aps", purpose="inbound", results=results, replies=[path])
    del entry["secret"]
    finished = {"uid": UID, "role": "producer", "clients": ["198.51.100.1/32"], "peer_certificate": CONSUMER}
    assert entry == finished

    # A later run need not be given it again, and leaves things as they are.
    done = session("producer", state="streaming", peer_certificate=CONSUMER, clients=["198.51.100.1/32"])
    (entry,) = updates([STREAM], "gw-aps", purpose="inbound", results={"gw-aps": {"sessions": [done]}})
    assert entry["clients"] == finished["clients"] and "peer_certificate" not in entry


def answered(tmp_path: Path, reply: dict[str, Any], **more: Any) -> list[str]:
    """Return what is wrong with a reply, when the producer side is open."""
    path = write(tmp_path / "r.yml", reply)
    results = {"gw-aps": {"sessions": [session("producer", **more)]}}
    return problems([STREAM], "inbound", ["gw-aps"], [path], results)


def test_a_reply_to_another_ticket_is_refused(tmp_path: Path) -> None:
    (ticket,) = tickets([STREAM], [{"gw-aps": {"sessions": [session("producer")]}}])
    good = {**REPLY, "answers": ticket["fingerprint"]}
    assert answered(tmp_path, good) == []
    # Whoever opened the other side without a ticket knows the certificate alone.
    assert answered(tmp_path, {**REPLY, "answers": fingerprint(PRODUCER)}) == []
    (text,) = answered(tmp_path, {**REPLY, "answers": "0000-0000"})
    assert (
        "modified in transit" in text and "stream_inbound without the reply" in text and ticket["fingerprint"] in text
    )
    for change in ({"listeners": ["192.0.2.1:5101"]}, {"rate": 10}, {"certificate": CONSUMER}, {"proxy": "haproxy"}):
        assert len(answered(tmp_path, good, **change)) == 1
    assert answered(tmp_path, good, certificate=None) == []


def test_a_reply_from_before_the_other_side_was_opened_anew(tmp_path: Path) -> None:
    early, late = (
        make_credentials(UID, "consumer", now=datetime.now(timezone.utc) - timedelta(minutes=minutes)).certificate
        for minutes in (10, 5)
    )
    (ticket,) = tickets([STREAM], [{"gw-aps": {"sessions": [session("producer")]}}])
    old, new = (
        {**consumer(certificate=certificate), "answers": ticket["fingerprint"]} for certificate in (early, late)
    )
    assert answered(tmp_path, old) == answered(tmp_path, old, peer_certificate=early) == []
    assert answered(tmp_path, new, peer_certificate=early) == answered(tmp_path, new, peer_certificate=late) == []
    (text,) = answered(tmp_path, old, peer_certificate=late)
    assert "the reply is older than the one that this side was opened with" in text and "gw-alcf" in text


@pytest.mark.parametrize(
    ("here", "half_close", "there", "fits"),
    [
        ("s2ds", True, ("nginx", True), False),
        ("nginx", True, ("s2ds", True), False),
        ("nginx", False, ("s2ds", True), True),
        ("s2ds", True, ("nginx", False), True),
        ("nginx", None, ("s2ds", True), False),
        ("nginx", True, ("nginx", True), True),
        ("haproxy", True, ("s2ds", True), True),
    ],
)
def test_proxies_that_do_not_agree(
    tmp_path: Path, here: str, half_close: bool | None, there: tuple[str, bool], fits: bool
) -> None:
    producer = {"proxy": here, "half_close": half_close}
    (ticket,) = tickets([STREAM], [{"gw-aps": {"sessions": [session("producer", **producer)]}}])
    reply = {**consumer(proxy=there[0], half_close=there[1]), "answers": ticket["fingerprint"]}
    said = answered(tmp_path, reply, **producer)
    assert len(said) == (not fits) and all("'half_close: false' for nginx" in text for text in said)
    given = [{"ticket": write(tmp_path / ticket["file"], ticket["text"])}]
    results = {"gw-alcf": {"sessions": [session("consumer", proxy=there[0], half_close=there[1])]}}
    assert len(problems(given, "outbound", ["gw-alcf"], (), results)) == (not fits)
