# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The native forwarder under Janus, in an image as its Dockerfile makes it."""

from __future__ import annotations

import pytest

from ansible_collections.scistream.gateway.tests.integration.janus.harness import Stream, exists
from ansible_collections.scistream.gateway.tests.integration.proxies.harness import MIB, Whole, transfer
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, exchange
from ansible_collections.scistream.gateway.tests.janus.controller import CACHE, Controller
from ansible_collections.scistream.gateway.tests.testbed.engine import docker
from ansible_collections.scistream.gateway.tests.testbed.proxies import built

SIZE = 32 * MIB


@pytest.fixture
def native(gateway: S2CS, janus: Controller) -> S2CS:
    """A gateway that offers the forwarder under Janus."""
    settings = {"image": built("s2ds", CACHE)}
    janus.refresh()
    gateway.write_policy(proxies={"s2ds": {"runtimes": ["process", "janus"], "settings": settings}})
    return gateway


def test_every_byte_and_the_counters(native: S2CS, janus: Controller) -> None:
    server = Whole(SIZE)
    stream = Stream(native, janus, server.endpoint, proxy="s2ds")
    transfer(stream.listener, server, SIZE, SIZE, half_close=True)
    seen = native.info(stream.uid)
    assert seen["running"], seen
    assert seen["counters"]["connections"] == {"open": 0, "total": 1, "refused": 0, "failed": 0}
    assert seen["counters"]["bytes"] == {"to_consumer": SIZE, "to_producer": SIZE}
    container = stream.container()
    stream.release()
    assert not stream.known() and not exists(container)


def test_moved_killed_and_mended(
    native: S2CS, janus: Controller, application: Application, other_application: Application
) -> None:
    stream = Stream(native, janus, application.endpoint, proxy="s2ds")
    assert not stream.point(application.endpoint)["changed"]
    assert stream.point(other_application.endpoint)["changed"]
    assert exchange(stream.listener) == b"two:hello"
    docker("kill", stream.container())
    assert native.info(stream.uid)["running"] is False
    assert stream.point(other_application.endpoint)["changed"]
    assert exchange(stream.listener) == b"two:hello"
    stream.release()
