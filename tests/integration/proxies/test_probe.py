# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Probes through each of the proxies, which contact no application, and carry a pattern in both directions."""

from __future__ import annotations

from ansible_collections.scistream.gateway.tests.integration.proxies.harness import program
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, exchange
from ansible_collections.scistream.gateway.tests.integration.s2cs.test_probe import opened, probed


def test_probe(gateway: S2CS, encrypted: str, application: Application) -> None:
    stream = opened(gateway, application.endpoint, proxy=program(encrypted))
    (contact,) = probed(gateway, stream["consumer"])["contacts"]
    assert (contact["problem"], contact["msg"]) == (None, None)
    assert exchange(stream["consumer"]["listeners"][0]) == b"one:hello"
    # The contact ended before the application was reached.
    assert len(application.peers) == 1
    probe = opened(gateway, application.endpoint, probe=True, proxy=program(encrypted))
    found = probed(gateway, probe["consumer"], pattern=True)
    assert found["arrived"] and found["round_trips"] > 1
    assert len(application.peers) == 1
