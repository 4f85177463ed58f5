# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An engine of the test's own that goes down and comes back, as after a reboot; streams come back with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ansible_collections.scistream.gateway.tests.integration.containers.harness import (
    left_on_engine,
    offer,
    open_stream,
)
from ansible_collections.scistream.gateway.tests.integration.containers.own_engine import OwnEngine
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, eventually, exchange


@pytest.fixture(scope="module")
def own_engine(images: dict[str, str]) -> Iterator[OwnEngine]:
    """An engine with the image of HAProxy."""
    with OwnEngine(images["haproxy"]) as engine:
        yield engine


def test_streams_come_back_with_the_engine(
    make_gateway: Callable[..., S2CS],
    own_engine: OwnEngine,
    images: dict[str, str],
    application: Application,
    other_application: Application,
) -> None:
    s2cs = make_gateway(settings={"engine": own_engine.address})
    stream = open_stream(s2cs, "haproxy", "docker", application.endpoint)
    # The signal of an update must not count as a stop by hand.
    stream.point(other_application.endpoint)
    assert exchange(stream.listener) == b"two:hello"
    eventually("it is counted", lambda: stream.counters()["bytes"]["to_producer"] == len(b"hello"))
    own_engine.stop()
    assert exchange_or_nothing(stream.listener) == b""
    seen = s2cs.info(stream.uid)
    assert not seen["running"] and "does not answer" in seen["log"][0]
    # Its log is here, whatever the engine does.
    assert seen["counters"]["bytes"]["to_producer"] == len(b"hello") and not seen["counters"]["exact"]
    own_engine.start()
    eventually("it forwards again", lambda: exchange_or_nothing(stream.listener) == b"two:hello")
    eventually("it is seen to run", lambda: s2cs.info(stream.uid)["running"])
    stream.release()
    assert not own_engine.docker("ps", "--all", "--quiet").stdout
    assert s2cs.policy["proxies"] == offer(images, engine=own_engine.address)


@pytest.mark.parametrize(("change", "action"), [("engine", "update"), ("engine", "release"), ("offer", "release")])
def test_a_container_on_an_engine_that_the_policy_names_no_more(
    make_gateway: Callable[..., S2CS],
    own_engine: OwnEngine,
    images: dict[str, str],
    application: Application,
    change: str,
    action: str,
) -> None:
    s2cs = make_gateway(settings={"engine": own_engine.address})
    stream = open_stream(s2cs, "haproxy", "docker", application.endpoint)
    if change == "offer":
        s2cs.write_policy(proxies={"s2ds": {}}, default_proxy="s2ds")
    else:
        s2cs.write_policy(proxies=offer(images))
    # It is looked at where it is.
    seen = s2cs.info(stream.uid)
    assert seen["running"] and seen["counters"]["connections"]["total"] == 0, seen
    if action == "update":
        # It moves to the engine of now.
        same = {"uid": stream.uid, "role": "producer", "remote_listeners": [application.endpoint]}
        assert s2cs.done("update", **same)["changed"] and not s2cs.done("update", **same)["changed"]
        assert exchange(stream.listener) == b"one:hello"
        assert left_on_engine(s2cs) and not own_engine.docker("ps", "--all", "--quiet").stdout
    stream.release()
    assert not own_engine.docker("ps", "--all", "--quiet").stdout and not left_on_engine(s2cs)


def exchange_or_nothing(listener: str) -> bytes:
    """Return what comes back, nothing where nobody listens."""
    try:
        return exchange(listener)
    except OSError:
        return b""
