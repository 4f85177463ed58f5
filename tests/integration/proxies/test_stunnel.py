# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is peculiar to stunnel."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.scistream.gateway.tests.integration.proxies.harness import Stream
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_address, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, exchange


def test_clients_of_the_consumers_listeners(make_gateway: Callable[..., S2CS], application: Application) -> None:
    """stunnel cannot tell them apart: refused, unless the administrator says that the firewall does."""
    friend = own_address()
    s2cs = make_gateway(clients={"consumer": [friend]})
    request = {"uid": own_uid(), "proxy": "stunnel", "encryption": "tls", "secret": SECRET}
    s2cs.refused("request", "clients", "stunnel", "clients_by_firewall", role="consumer", **request)
    s2cs.done("request", role="producer", **request)
    s2cs.write_policy(proxies={**s2cs.policy["proxies"], "stunnel": {"settings": {"clients_by_firewall": True}}})
    stream = Stream(s2cs, "stunnel", application.endpoint)
    assert exchange(stream.listener, source=friend) == b"one:hello"
