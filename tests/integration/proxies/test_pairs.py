# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two gateways with different proxies: every byte both ways, encrypted between them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ansible_collections.scistream.gateway.tests.integration.proxies.harness import (
    ENCRYPTED,
    SIZE,
    Stream,
    Whole,
    program,
    transfer,
)
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import eventually

PAIRS = [(kind, program(front)) for kind in ENCRYPTED for front in ENCRYPTED]
# nginx cannot say inside of TLS that one direction has ended, and s2ds takes what is not said there for a cut.
INCOMPATIBLE = [("nginx-tls", "s2ds"), ("s2ds-tls", "nginx")]


def settled(stream: Stream, answer: int) -> None:
    """Check that both gateways count what the applications sent, and not what TLS added."""
    carried = {"to_consumer": answer, "to_producer": SIZE}

    def both() -> bool:
        found = [stream.counters(role) for role in stream.roles]
        assert all(item["connections"]["refused"] == item["connections"]["failed"] == 0 for item in found)
        return all(item["connections"]["open"] == 0 and item["bytes"] == carried for item in found)

    eventually("the counters agree with what was sent", both)


@pytest.mark.parametrize("half_close", [True, False])
@pytest.mark.parametrize(("kind", "front"), [pair for pair in PAIRS if pair not in INCOMPATIBLE])
def test_every_byte_both_ways(gateway: S2CS, kind: str, front: str, half_close: bool) -> None:
    # stunnel may lose the end of an answer that has to wait, if the one who asked has ended its own direction.
    answer = 1 << 16 if half_close and "stunnel" in (kind, front) else SIZE
    server = Whole(answer, reads=None if half_close else SIZE)
    stream = Stream(gateway, kind, server.endpoint, front=front)
    assert [gateway.info(stream.uid, role)["proxy"] for role in stream.roles] == [program(kind), front]
    transfer(stream.listener, server, SIZE, answer, half_close)
    settled(stream, answer)


@pytest.mark.parametrize(("kind", "front"), INCOMPATIBLE)
def test_nginx_beside_s2ds(make_gateway: Callable[..., S2CS], kind: str, front: str) -> None:
    """It takes a setting, by which half-closed connections are given up."""
    server = Whole(SIZE, reads=SIZE)
    stream = Stream(make_gateway({"nginx": {"half_close": False}}), kind, server.endpoint, front=front)
    transfer(stream.listener, server, SIZE, SIZE, half_close=False)
    settled(stream, SIZE)


@pytest.mark.parametrize(("kind", "front"), INCOMPATIBLE)
def test_nginx_beside_s2ds_without_the_setting(gateway: S2CS, kind: str, front: str) -> None:
    """What the documentation warns of; where it works one day, the warning and the setting can go."""
    server = Whole(1 << 20)
    stream = Stream(gateway, kind, server.endpoint, front=front)
    with pytest.raises((ConnectionError, AssertionError)):
        transfer(stream.listener, server, 1 << 20, 1 << 20, half_close=True)
