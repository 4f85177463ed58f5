# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people read."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import formatting
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import show_styled, warn_unencrypted
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.client import report, tickets
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.reports import (
    CONSUMER,
    PRODUCER,
    STREAMS,
    UID,
    session,
)


def test_opened_shows_the_whole_path_and_warns() -> None:
    results = {
        "gw-a": {"sessions": [session("producer")]},
        "gw-b": {"sessions": [session("consumer", egress="198.51.100.7")]},
    }
    lines = report(results, "opened", streams=STREAMS)
    assert lines[0] == f"tomography: streaming (s2ds in process, 1 listener, uid {UID})"
    assert lines[1].strip() == (
        "consumer connects to 10.2.0.1:5200 (gw-b, source address 198.51.100.7) -> 192.0.2.1:5100 (gw-a)"
        " -> producer 10.1.0.5:7000"
    )
    assert "encryption between the gateways: none" in lines[2]
    assert "WARNING" in lines[3]


def test_opened_names_a_producer_that_does_not_answer() -> None:
    deaf = [{"target": "10.1.0.5:7000", "msg": "connection refused"}]
    results = {
        "gw-a": {"sessions": [session("producer", unreachable_targets=deaf)]},
        "gw-b": {"sessions": [session("consumer")]},
    }
    lines = report(results, "opened", streams=ENCRYPTED)
    assert lines[0].startswith("tomography: open, but its producer does not answer (")
    assert "WARNING: no answer from 10.1.0.5:7000 (connection refused), seen from gw-a" in lines[3]
    assert not any("no answer from" in line for line in report(results, "opened", streams=ENCRYPTED, check_mode=True))


def test_names_are_shown_with_their_addresses() -> None:
    named = session("producer", targets=["daq:7000", "10.1.0.5:7000"], resolved=["10.1.0.9:7000", "10.1.0.5:7000"])
    assert formatting.targets_with_addresses(named) == ["daq:7000 (10.1.0.9)", "10.1.0.5:7000"]
    assert formatting.targets_with_addresses(session("producer")) == ["10.1.0.5:7000"]


def test_opened_says_once_where_a_cut_looks_like_an_end() -> None:
    streams = [ENCRYPTED[0], {**ENCRYPTED[0], "name": "second", "uid": "1b4e28ba-2fa1-11d2-883f-0016d3cca427"}]
    results = {
        gateway: {"sessions": [session(role, proxy="haproxy"), session(role, proxy="haproxy", uid=streams[1]["uid"])]}
        for gateway, role in (("gw-a", "producer"), ("gw-b", "consumer"))
    }
    lines = report(results, "opened", streams=streams)
    assert [line for line in lines if "truncated" in line] == [lines[-1]]
    assert lines[-1].startswith(
        "WARNING: with haproxy a truncated connection looks like a normal end to the applications."
    )


def test_many_connections_are_not_all_shown() -> None:
    many = [f"192.0.2.1:{port}" for port in range(5000, 5100)]
    results = {
        "gw-a": {"sessions": [session("producer", listeners=many)]},
        "gw-b": {"sessions": [session("consumer", listeners=many)]},
    }
    lines = report(results, "opened", streams=[{**ENCRYPTED[0], "num_conn": 100}])
    assert len(lines) < 70 and lines[65].startswith("  and 36 more;")


def test_opened_shows_each_half_as_far_as_it_is_known() -> None:
    (_head, inbound, *_rest) = report(
        {"gw-a": {"sessions": [session("producer")]}}, "opened", streams=STREAMS, purpose="inbound"
    )
    assert inbound.strip() == "consumer gateway (gw-b) -> 192.0.2.1:5100 (gw-a) -> producer 10.1.0.5:7000"
    given = [{**STREAMS[0], "producer": {"gateway": "gw-a", "remote_listeners": ["192.0.2.1:5100"]}}]
    (_head, outbound, *_rest) = report(
        {"gw-b": {"sessions": [session("consumer")]}}, "opened", streams=given, purpose="outbound"
    )
    assert outbound.strip() == "consumer connects to 10.2.0.1:5200 (gw-b) -> 192.0.2.1:5100 (gw-a) -> its producer"


GIVEN = {"gateway": "gw-a", "remote_listeners": ["192.0.2.1:5100"]}
ENCRYPTED: list[dict[str, Any]] = [{key: value for key, value in STREAMS[0].items() if key != "encryption"}]


TICKET, REPLY = (
    tickets(streams, [{gateway: {"sessions": [found]}}], purpose)[0]["fingerprint"]
    for streams, gateway, found, purpose in (
        (ENCRYPTED, "gw-a", session("producer", certificate=PRODUCER), "inbound"),
        (
            [{**ENCRYPTED[0], "producer": {**GIVEN, "certificate": PRODUCER}}],
            "gw-b",
            session("consumer", certificate=CONSUMER),
            "outbound",
        ),
    )
)


def half(purpose: str, encryption: str = "tls", check_mode: bool = False, **more: Any) -> list[str]:
    """Return what one half of a stream shows, without the lines that all share."""
    role, gateway = {"inbound": ("producer", "gw-a"), "outbound": ("consumer", "gw-b")}[purpose]
    stream: dict[str, Any] = {**STREAMS[0], "encryption": encryption}
    if purpose == "outbound":
        stream["producer"] = dict(GIVEN)
        if encryption == "tls":
            stream["producer"]["certificate"] = PRODUCER
    found = {gateway: {"sessions": [session(role, encryption=encryption, **more)]}}
    # What this gateway was told last is not among the newest answers: nothing was updated.
    lines = report(
        {}, "opened", steps=[found], streams=[stream], purpose=purpose, ticket_dir="/tickets/", check_mode=check_mode
    )
    return [lines[0], *(line.strip() for line in lines[2:])]


def test_opened_says_that_it_is_encrypted() -> None:
    results = {"gw-a": {"sessions": [session("producer")]}, "gw-b": {"sessions": [session("consumer")]}}
    lines = report(results, "opened", streams=ENCRYPTED)
    assert lines[2:] == ["  encryption between the gateways: tls, each verifies the certificate of the other"]


def test_a_producer_side_waits_for_the_reply() -> None:
    lines = half("inbound", state="announced", certificate=PRODUCER, peer_certificate=None)
    assert lines[0] == f"tomography: waits for the reply to its ticket (s2ds in process, 1 listener, uid {UID})"
    assert lines[2:] == [
        f"fingerprint of the ticket: {TICKET}",
        "ticket: /tickets/tomography.ticket.yml",
        "next: hand tomography.ticket.yml to the operator of gw-b, for stream_outbound -e "
        "ticket=tomography.ticket.yml, and compare the fingerprint by phone",
        "then: once you have their tomography.reply.yml, run the same stream_inbound command with "
        "-e reply=tomography.reply.yml added",
    ]


def test_a_producer_side_that_got_the_reply_is_done() -> None:
    lines = half("inbound", certificate=PRODUCER, peer_certificate=CONSUMER)
    assert lines[0].startswith("tomography: open on this side ")
    assert lines[2:] == [
        f"fingerprint of the ticket: {TICKET}",
        "ticket: /tickets/tomography.ticket.yml",
    ]


def test_a_consumer_side_shows_what_to_do_with_the_reply() -> None:
    lines = half("outbound", certificate=CONSUMER, peer_certificate=PRODUCER)
    assert lines[0].startswith("tomography: open on this side, waits until gw-a has the reply (")
    assert lines[2:] == [
        f"fingerprint of the reply: {REPLY}",
        "reply: /tickets/tomography.reply.yml",
        "next: return tomography.reply.yml to the sender of the ticket, and compare the fingerprints by phone; "
        "data flows once they have run stream_inbound again with -e reply=tomography.reply.yml",
    ]


def test_a_listener_that_is_open_to_anybody_is_warned_of() -> None:
    results = {"gw-a": {"sessions": [session("producer", clients=[])]}, "gw-b": {"sessions": [session("consumer")]}}
    lines = report(results, "opened", streams=STREAMS, purpose="open")
    assert [line for line in lines if "WARNING: anyone who can reach gw-a can connect" in line]


def test_halves_that_are_not_encrypted_have_one_ticket() -> None:
    lines = half("inbound", "none")
    assert "WARNING" in lines[2]
    assert lines[3].startswith("fingerprint of the ticket: ")
    assert lines[4:] == [
        "ticket: /tickets/tomography.ticket.yml",
        "next: hand tomography.ticket.yml to the operator of gw-b, for stream_outbound -e ticket=tomography.ticket.yml "
        "-e encryption=none, and compare the fingerprint by phone",
    ]
    assert not any("reply" in line for line in half("outbound", "none"))


def test_halves_in_check_mode() -> None:
    for purpose, kind in (("inbound", "ticket"), ("outbound", "reply")):
        lines = half(purpose, check_mode=True, state="reserved", certificate=None)
        assert lines[0].startswith("tomography: would be opened (")
        assert lines[2:] == [f"{kind} (would be written): /tickets/tomography.{kind}.yml"]
    assert not any("ticket" in line for line in report({}, "opened", streams=STREAMS, ticket_dir="/tickets"))


def test_ansible_warns_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr("ansible.utils.display.Display.warning", lambda _self, text: warnings.append(text))
    warn_unencrypted(["tomography", "other", "tomography"])
    warn_unencrypted([])
    assert warnings == ["Not encrypted between the gateways: other, tomography."]


def test_parts_of_lines_keep_their_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible.utils.display.Display.display", lambda _self, _text: None)
    assert show_styled([[("a ", "good"), ("  ", "plain"), ("b\x1b", "bad"), ("  ", "plain")]]) == ["a   b?"]
