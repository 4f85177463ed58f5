# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stream that is cut, in whichever way, does not look whole to the consumer's application if s2ds is in front of it.

What the other proxies do, benchmarks/cuts.py shows.
"""

from __future__ import annotations

import pytest

from ansible_collections.scistream.gateway.tests.integration.proxies.cuts import (
    FINAL,
    PASSING,
    ROLES,
    SIZE,
    Route,
    Source,
)
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import eventually


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", ["s2ds", "s2ds-tls"])
def test_whatever_happens_it_is_a_reset(gateway: S2CS, kind: str, role: str) -> None:
    with Source() as source:
        route = Route(gateway, kind, source)
        for way, cut in PASSING.items():
            end = route.carry(cut, role)
            assert end.how == "reset" and end.received < SIZE, way
            eventually("both data servers run", route.is_whole)
        for way, cut in FINAL.items():
            end = Route(gateway, kind, source).carry(cut, role)
            assert end.how == "reset" and end.received < SIZE, way


@pytest.mark.parametrize("kind", ["haproxy-tls", "stunnel"])
def test_s2ds_tells_how_another_proxy_ends(gateway: S2CS, kind: str) -> None:
    """On the consumer's gateway, by TLS. Only what the producer's application does, the other one does not pass on."""
    with Source() as source:
        route = Route(gateway, kind, source, front="s2ds")
        ends = {}
        for way, cut in PASSING.items():
            ends[way] = route.carry(cut, "producer").how
            eventually("both data servers run", route.is_whole)
        way, cut = next(iter(FINAL.items()))
        ends[way] = route.carry(cut, "producer").how
        application = next(iter(PASSING))
        assert ends == {**dict.fromkeys(ends, "reset"), application: "end"} and len(ends) == len(PASSING) + 1
