# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams between two facilities, of which each opens its own side: tickets and replies."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest
import yaml

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.fingerprints import fingerprint
from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import THREE, Outcome, Site, ask, row


class Halves:
    """One stream, from a facility that knows gw-a only to one that knows gw-b only."""

    def __init__(self, site: Site, producer: int) -> None:
        self.site = site
        self.stream = site.stream("halves", producer, consumer={"gateway": "gw-far"})
        self.near = site.write("near.yml", site.hosts("gw-a"))
        self.far = site.write("far.yml", site.hosts("gw-b"))
        self.directory = site.directory / "halves"
        self.ticket = self.directory / "halves.ticket.yml"
        self.reply = self.directory / "halves.reply.yml"

    def inbound(self, *arguments: str, **more: Any) -> Outcome:
        variables = {"streams": [self.stream], "ticket_dir": str(self.directory), **more}
        return self.site.play("stream_inbound", *arguments, inventory=self.near, **variables)

    def outbound(self, *arguments: str, **more: Any) -> Outcome:
        variables = {"ticket": str(self.ticket), "ticket_dir": str(self.directory), **more}
        return self.site.play("stream_outbound", *arguments, inventory=self.far, **variables)

    def done(self, outcome: Outcome) -> Outcome:
        assert outcome.status == 0, outcome.output
        return outcome


@pytest.fixture
def halves(site: Site, producer: int) -> Any:
    made = Halves(site, producer)
    yield made
    for path in (made.ticket, made.reply):
        path.unlink(missing_ok=True)


def fingerprints(outcome: Outcome) -> set[str]:
    return set(re.findall(r"fingerprint of the (?:ticket|reply): \S+", outcome.message))


def test_two_halves_with_ticket_and_reply(site: Site, halves: Halves) -> None:
    would = halves.done(halves.inbound("--check"))
    assert "would be opened" in would.message
    assert not halves.directory.exists() and site.sessions() == []

    inbound = halves.done(halves.inbound())
    assert inbound.calls("gw-a") == THREE[:2]
    assert "halves: waits for the reply to its ticket" in inbound.message
    assert f"ticket: {halves.ticket}" in inbound.message
    assert "next: hand halves.ticket.yml to the operator of gw-far" in inbound.message
    assert "-e reply=halves.reply.yml added" in inbound.message
    assert halves.ticket.stat().st_mode & 0o777 == 0o600
    ticket = yaml.safe_load(halves.ticket.read_text())
    assert ticket["encryption"] == "tls" and "BEGIN CERTIFICATE" in ticket["producer"]["certificate"]
    assert f"fingerprint of the ticket: {ticket['fingerprint']}" in inbound.message
    again = halves.done(halves.inbound())
    assert again.changed == 0 and again.message == inbound.message

    # Nobody gets in yet, not even from this machine.
    host, _separator, port = ticket["producer"]["listeners"][0].rpartition(":")
    entrance = (host, int(port))
    with contextlib.suppress(ConnectionResetError):
        assert ask(entrance) == b""

    assert "would be opened" in halves.done(halves.outbound("--check")).message
    assert not halves.reply.exists()
    outbound = halves.done(halves.outbound())
    assert outbound.calls("gw-b") == THREE
    assert f"reply: {halves.reply}" in outbound.message
    assert "next: return halves.reply.yml to the sender" in outbound.message
    assert halves.done(halves.outbound()).changed == 0
    assert halves.reply.stat().st_mode & 0o777 == 0o600
    with contextlib.suppress(ConnectionResetError):
        assert ask(site.listener(outbound)) == b""

    checked = halves.done(halves.inbound("--check", reply=str(halves.reply)))
    assert checked.changed == 1
    finished = halves.done(halves.inbound(reply=str(halves.reply)))
    assert finished.calls("gw-a") == THREE
    assert "halves: open on this side" in finished.message
    assert "next:" not in finished.message
    assert fingerprints(finished) == fingerprints(outbound)
    assert len(fingerprints(finished)) == 2
    assert ask(site.listener(outbound)) == b"PHOTONS"

    # Again, with and without the reply: nothing changes, and the data goes on.
    assert halves.done(halves.inbound(reply=str(halves.reply))).changed == 0
    assert halves.done(halves.inbound()).changed == 0
    assert ask(site.listener(outbound)) == b"PHOTONS"
    with contextlib.suppress(ConnectionResetError):
        assert ask(entrance) == b""

    shown = site.ok("stream_status", inventory=halves.far, ticket=str(halves.ticket))
    assert row(shown, "halves")[1:3] == ["-/streaming", "ok"]
    assert f"{fingerprint(ticket['producer']['certificate'])} (the other gateway); uid " in shown.message
    assert site.ok("stream_release", inventory=halves.far, ticket=str(halves.ticket)).changed == 1
    assert site.ok("stream_release", inventory=halves.near, streams=[halves.stream]).changed == 1
    assert site.sessions() == []


def test_a_reply_that_does_not_answer_this_ticket(site: Site, halves: Halves) -> None:
    halves.done(halves.inbound())
    halves.done(halves.outbound())
    site.ok("stream_release", inventory=halves.near, streams=[halves.stream])

    # The producer side has a new key: what answers the ticket before it is refused, and nothing is left open.
    outcome = halves.inbound(reply=str(halves.reply))
    assert outcome.status != 0
    assert "the reply is for another ticket" in outcome.message
    assert "run stream_inbound without the reply" in outcome.message
    assert "opened: producer of halves on gw-a" in outcome.message
    assert site.sessions() == ["gw-b/consumer"]

    # The way out that the message names; the consumer side stays open all the time.
    halves.done(halves.inbound())
    outbound = halves.done(halves.outbound())
    assert f"{halves.reply} replaces an existing file" in " ".join(outbound.output.split())
    halves.done(halves.inbound(reply=str(halves.reply)))
    assert ask(site.listener(outbound)) == b"PHOTONS"


def test_files_of_somebody_else_are_refused(site: Site, halves: Halves) -> None:
    halves.done(halves.inbound())
    halves.done(halves.outbound())
    reply = halves.reply.read_text()

    def refused(outcome: Outcome, text: str) -> None:
        assert outcome.status != 0
        assert text in outcome.message, outcome.message
        assert not outcome.calls("gw-a") and not outcome.calls("gw-b")

    refused(halves.inbound(reply=str(halves.ticket)), "this is a ticket, but a reply is required")
    refused(halves.outbound(ticket=str(halves.reply)), "this is a reply, but a ticket is required")
    other = {**halves.stream, "name": "other"}
    refused(halves.inbound(streams=[other], reply=str(halves.reply)), "which is not among those of this run: other")
    refused(halves.inbound(streams=[], reply=str(halves.reply)), "a reply also requires the description")
    for change in (
        ("fingerprint: ", "fingerprint: 0"),
        ("    MII", "    MIJ"),
        ("half_close: true", "half_close: false"),
    ):
        halves.reply.write_text(reply.replace(*change))
        refused(halves.inbound(reply=str(halves.reply)), "ask for a new reply")
    assert "waits for the reply" in halves.done(halves.inbound()).message


def test_unencrypted_halves_need_one_ticket(site: Site, halves: Halves) -> None:
    halves.stream = {
        **halves.stream,
        "encryption": "none",
        "consumer": {"gateway": "gw-far", "address": site.address("gw-b")},
    }
    inbound = halves.done(halves.inbound())
    assert inbound.calls("gw-a") == THREE
    assert "WARNING: not encrypted" in inbound.message and "reply" not in inbound.message
    unasked = halves.outbound()
    assert unasked.status != 0 and "use -e encryption=none" in unasked.message and not unasked.calls("gw-b")
    outbound = halves.done(halves.outbound(encryption="none"))
    assert "WARNING: not encrypted" in outbound.message and not halves.reply.exists()
    assert ask(site.listener(outbound)) == b"PHOTONS"
    assert halves.done(halves.inbound()).changed == halves.done(halves.outbound(encryption="none")).changed == 0

    # Nobody but the other gateway gets in at the producer's.
    ticket = yaml.safe_load(halves.ticket.read_text())
    _host, _separator, port = ticket["producer"]["listeners"][0].rpartition(":")
    with contextlib.suppress(ConnectionResetError):
        assert ask((site.address("gw-a"), int(port))) == b""
    assert site.ok("stream_release", inventory=halves.far, ticket=str(halves.ticket)).changed == 1
    assert site.ok("stream_release", inventory=halves.near, uid=ticket["uid"]).changed == 1


def test_the_directory_of_tickets_comes_first(site: Site, producer: int) -> None:
    streams = [site.stream(name, producer, consumer={"gateway": "gw-far"}) for name in ("one", "two")]
    directory = site.directory / "for" / "colleagues"
    would = site.ok("stream_inbound", "--check", streams=streams, ticket_dir=str(directory)).message
    assert f"ticket (would be written): {directory}/two.ticket.yml" in would
    assert not directory.parent.exists()

    # A directory that cannot be made: no gateway was asked. One that cannot be written: all is given back.
    outcome = site.play("stream_inbound", streams=streams, ticket_dir="/dev/null/tickets")
    assert outcome.status != 0 and not outcome.calls("gw-a")
    failed = site.play("stream_inbound", streams=streams, ticket_dir="/proc")
    assert failed.status != 0
    assert failed.calls("gw-a") == [*THREE[:2], "undo"]
    assert "the file one.ticket.yml could not be written: " in failed.message
    assert "opened: producer of one on gw-a, producer of two on gw-a" in failed.message
    assert site.sessions() == []

    opened = site.ok("stream_inbound", streams=streams, ticket_dir=str(directory))
    assert f"ticket: {directory}/one.ticket.yml" in opened.message
    assert directory.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in directory.iterdir()) == ["one.ticket.yml", "two.ticket.yml"]
    assert site.ok("stream_inbound", streams=streams, ticket_dir=str(directory)).changed == 0
    other = site.directory / "other-tickets"
    # The directory, and the tickets in it.
    checked = site.ok("stream_inbound", "--check", streams=streams, ticket_dir=str(other)).changed
    assert not other.exists()
    assert checked == site.ok("stream_inbound", streams=streams, ticket_dir=str(other)).changed == 2


def test_a_reply_that_cannot_be_written_gives_back_the_side(site: Site, halves: Halves) -> None:
    halves.done(halves.inbound())
    outcome = halves.outbound(ticket_dir="/proc")
    assert outcome.status != 0
    assert "the file halves.reply.yml could not be written: " in outcome.message
    assert site.sessions() == ["gw-a/producer"]
