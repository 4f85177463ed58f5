# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stream from a network whose firewall drops everything that comes in: the producer's gateway connects out."""

from __future__ import annotations

from ansible_collections.scistream.gateway.tests.integration.examples import firewalled
from ansible_collections.scistream.gateway.tests.integration.examples.facilities import Facilities
from ansible_collections.scistream.gateway.tests.integration.examples.firewalled import (
    describe,
    listeners,
    sessions,
    stream,
)
from ansible_collections.scistream.gateway.tests.integration.examples.site import Site


def test_the_producers_network_needs_no_inbound_port(both: Facilities, work: Site) -> None:
    gateway = both.hosts["gw-aps"]
    describe(work, stream())
    before = set(gateway.run("ss", "-Hltn").splitlines())
    with firewalled.application(both.hosts["producer"], "10.1.0.5"), firewalled.firewall(gateway):
        said = work.shell("ansible-playbook scistream.gateway.stream_open -e @dial.yml")
        assert "at 198.51.100.1:51" in said and "<- gw-aps (source address 192.0.2.1) -> producer 10.1.0.5:7100" in said
        # Other sessions may end meanwhile.
        assert set(gateway.run("ss", "-Hltn").splitlines()) <= before
        assert len(listeners(work)) == 2
        assert firewalled.exchange(both.hosts["consumer"], listeners(work), number=12) == []
        assert "changed=0" in work.shell("ansible-playbook scistream.gateway.stream_open -e @dial.yml")
        shown = work.shell("ansible-playbook scistream.gateway.stream_status -e @dial.yml")
        assert "PROBLEM" not in shown and "NOTICE" not in shown
        work.shell("ansible-playbook scistream.gateway.stream_release -e @dial.yml")
    assert sessions(work) == []


def test_other_proxies_refuse_it_before_anything_changes(work: Site) -> None:
    describe(work, *(stream(name=proxy, proxy=proxy) for proxy in ("haproxy", "nginx", "stunnel")))
    said = " ".join(work.shell("ansible-playbook scistream.gateway.stream_open -e @dial.yml", expected=2).split())
    for proxy in ("haproxy", "nginx", "stunnel"):
        assert f"dial: the proxy {proxy} does not support producer: choose s2ds, or omit dial" in said
    assert sessions(work) == []
