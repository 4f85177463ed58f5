# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams from a network without inbound ports, for longer: tickets, changes, losses, and too strict a firewall."""

from __future__ import annotations

import pytest
import yaml

from ansible_collections.scistream.gateway.tests.integration.examples import firewalled
from ansible_collections.scistream.gateway.tests.integration.examples.facilities import Facilities
from ansible_collections.scistream.gateway.tests.integration.examples.firewalled import (
    describe,
    listeners,
    sessions,
    stream,
)
from ansible_collections.scistream.gateway.tests.integration.examples.site import Site
from ansible_collections.scistream.gateway.tests.integration.s2cs import machine

PLAY = "ansible-playbook scistream.gateway."


@pytest.mark.parametrize("encryption", ["tls", "none"])
def test_each_facility_opens_its_own_side(both: Facilities, work: Site, encryption: str) -> None:
    describe(work, stream(encryption=encryption))
    near = f"{PLAY}stream_inbound -e scistream_gateways=gw-aps -e @dial.yml"
    far = f"{PLAY}stream_outbound -e scistream_gateways=gw-alcf"
    ticket = f" -e ticket=detector.ticket.yml -e encryption={encryption}"
    with firewalled.application(both.hosts["producer"], "10.1.0.5"), firewalled.firewall(both.hosts["gw-aps"]):
        said = " ".join(work.shell(near).split())
        assert "detector: waits for the reply to its ticket" in said and "-e reply=detector.reply.yml added" in said
        made = yaml.safe_load((work.directory / "detector.ticket.yml").read_text())
        assert made["producer"]["listeners"] == [] and made["producer"]["address"] == "192.0.2.1"
        said = " ".join(work.shell(far + ticket).split())
        assert "open on this side, waits until gw-aps has the reply" in said
        reply = yaml.safe_load((work.directory / "detector.reply.yml").read_text())
        assert len(reply["consumer"]["peer_listeners"]) == 2 and bool(reply["consumer"]["certificate"]) == (
            encryption == "tls"
        )
        assert "changed=0" in work.shell(far + ticket)
        work.shell(f"{near} -e reply=detector.reply.yml")
        assert firewalled.exchange(both.hosts["consumer"], listeners(work), number=8) == []
        # The reply need not be given again.
        assert "changed=0" in work.shell(near)
        work.shell(f"{PLAY}stream_release -e scistream_gateways=gw-alcf -e ticket=detector.ticket.yml")
        work.shell(f"{PLAY}stream_release -e scistream_gateways=gw-aps -e @dial.yml")
    assert sessions(work) == []


def test_changes_and_losses(both: Facilities, work: Site) -> None:
    describe(work, stream(dial="consumer"))
    consumer = both.hosts["consumer"]
    with firewalled.application(both.hosts["producer"], "10.1.0.5"), firewalled.firewall(both.hosts["gw-aps"]):
        work.shell(f"{PLAY}streams -e @dial.yml -e scistream_probe=false")
        assert firewalled.exchange(consumer, listeners(work)) != []
        describe(work, stream())
        assert "cannot be changed in place: dial consumer -> producer" in " ".join(
            work.shell(f"{PLAY}streams -e @dial.yml -e scistream_probe=false", expected=2).split()
        )
        work.shell(f"{PLAY}streams -e @dial.yml -e replace=true")
        assert firewalled.exchange(consumer, listeners(work), number=4) == []
        assert "changed=0" in work.shell(f"{PLAY}streams -e @dial.yml")
        probed = " ".join(work.shell(f"{PLAY}stream_probe -e @dial.yml -e seconds=1").split())
        assert "gw-aps is connected to gw-alcf at 198.51.100.1:" in probed and "arrived unchanged" in probed
        work.shell(f"{PLAY}stream_release -e @dial.yml")
    assert sessions(work) == []


def test_a_firewall_that_lets_nothing_out_is_named(both: Facilities, work: Site) -> None:
    describe(work, stream(num_conn=1))
    gateway = both.hosts["gw-aps"]
    rule = ["OUTPUT", "-o", "wan", "-j", "DROP"]
    gateway.run("iptables", "-w", "-A", *rule)
    try:
        work.shell(f"{PLAY}stream_open -e @dial.yml -e scistream_probe=false")
        machine.eventually("it is a problem", lambda: "has had no connection to 198.51.100.1:51" in problems(work))
        probed = " ".join(work.shell(f"{PLAY}stream_probe -e @dial.yml", expected=2).split())
        assert "gw-aps does not reach gw-alcf at 198.51.100.1:51" in probed
        assert "allow outgoing TCP from gw-aps (192.0.2.1)" in probed
    finally:
        gateway.run("iptables", "-w", "-D", *rule)
    machine.eventually("it is none any more", lambda: "PROBLEM" not in problems(work))
    work.shell(f"{PLAY}stream_release -e @dial.yml")


def problems(site: Site) -> str:
    return " ".join(site.shell(f"{PLAY}stream_status -e @dial.yml").split())
