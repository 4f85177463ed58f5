# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Engines that are not like that of the machine: they map users, have tight limits, or are rootless."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.containers.harness import RUNTIMES, open_stream
from ansible_collections.scistream.gateway.tests.integration.containers.own_engine import OwnEngine
from ansible_collections.scistream.gateway.tests.integration.proxies.harness import MIB, Whole, transfer
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, exchange

SIZE = 4 * MIB


@pytest.fixture(scope="module")
def mapping_engine(images: dict[str, str]) -> Iterator[OwnEngine]:
    """An engine with userns-remap."""
    with OwnEngine(images["haproxy"], images["s2ds"], maps_users=True) as engine:
        assert b"name=userns" in engine.docker("info", "--format", "{{.SecurityOptions}}").stdout
        yield engine


@pytest.fixture(scope="module")
def distant_engine(images: dict[str, str]) -> Iterator[OwnEngine]:
    """An engine with a network of its own, as one in a virtual machine has."""
    with OwnEngine(images["haproxy"], images["s2ds"], own_network=True) as engine:
        engine.inside("ip", "link", "set", "lo", "up")
        yield engine


@pytest.fixture(scope="module")
def rootless_engine() -> Iterator[OwnEngine]:
    """An engine that says that it is a rootless one, with a network of its own like every one of these."""
    with OwnEngine(own_network=True, options=("--rootless",)) as engine:
        yield engine


@pytest.mark.parametrize("kind", ["haproxy-tls", "s2ds"])
def test_an_engine_that_maps_users(
    make_gateway: Callable[..., S2CS], mapping_engine: OwnEngine, kind: str, other_application: Application
) -> None:
    s2cs = make_gateway(settings={"engine": mapping_engine.address})
    server = Whole(SIZE)
    stream = open_stream(s2cs, kind, "docker", server.endpoint)
    transfer(stream.listener, server, SIZE, SIZE, half_close=True)
    assert stream.counters()["connections"]["total"] == 1
    stream.point(other_application.endpoint)
    assert exchange(stream.listener) == b"two:hello"
    stream.release()
    assert not s2cs.left() and mapping_engine.has_nothing()


def request(runtime: str, proxy: str = "haproxy") -> dict[str, Any]:
    """Return the options of a REQ."""
    return {
        "uid": own_uid(),
        "role": "producer",
        "secret": SECRET,
        "proxy": proxy,
        "runtime": runtime,
        "encryption": "none",
    }


@pytest.mark.parametrize("check", [False, True])
def test_an_engine_that_gives_our_files_to_others(
    make_gateway: Callable[..., S2CS], mapping_engine: OwnEngine, check: bool
) -> None:
    s2cs = make_gateway(settings={"engine": mapping_engine.address})
    s2cs.refused(
        "request", mapping_engine.address, "userns-remap", "runtime docker", check=check, **request("dockersock")
    )


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_rootless_engine(make_gateway: Callable[..., S2CS], rootless_engine: OwnEngine, runtime: str) -> None:
    s2cs = make_gateway(settings={"engine": rootless_engine.address})
    s2cs.refused("request", rootless_engine.address, "rootless", "runtime process", **request(runtime))


@pytest.mark.parametrize("proxy", ["haproxy", "s2ds"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_engine_with_another_network(
    make_gateway: Callable[..., S2CS], distant_engine: OwnEngine, runtime: str, proxy: str, application: Application
) -> None:
    """The program listens, and nothing of it is seen on this host."""
    s2cs = make_gateway(settings={"engine": distant_engine.address})
    asked = request(runtime, proxy)
    if proxy == "s2ds":
        # It listens from the REQ on.
        s2cs.refused("request", "this host does not", distant_engine.address, **asked)
    else:
        s2cs.done("request", **asked)
        s2cs.hello(asked["uid"], application.endpoint)
        options = {"uid": asked["uid"], "role": "producer"}
        assert "this host does not" in s2cs.call("update", **options)["msg"]
        s2cs.done("release", **options)
    assert not s2cs.left() and distant_engine.has_nothing()


def test_an_engine_that_has_too_few_files_to_give(
    make_gateway: Callable[..., S2CS], images: dict[str, str], application: Application
) -> None:
    """Either it can raise its own limit, or the error says which setting is the way out, and nothing is left."""
    with OwnEngine(images["haproxy"], most_files=2048) as engine:
        s2cs = make_gateway(settings={"engine": engine.address})
        asked = request("docker")
        s2cs.done("request", **asked)
        s2cs.hello(asked["uid"], application.endpoint)
        update: dict[str, Any] = {"uid": asked["uid"], "role": "producer"}
        result = s2cs.call("update", **update)
        if result.get("failed"):
            assert "lower nofile" in result["msg"] and engine.address in result["msg"], result["msg"]
            assert engine.has_nothing()
        else:
            assert exchange(result["session"]["listeners"][0]) == b"one:hello"
        s2cs.done("release", **update)
        assert not s2cs.left() and engine.has_nothing()
