# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams whose proxy runs under a real Janus controller: their life, what changes it, and what must not."""

from __future__ import annotations

import time

import pytest

from ansible_collections.scistream.gateway.tests.integration.janus.harness import Stream, exists
from ansible_collections.scistream.gateway.tests.integration.proxies.harness import MIB, Whole, transfer
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, ask, connect, exchange
from ansible_collections.scistream.gateway.tests.janus.controller import NOBODY, Controller, image_of_nobody
from ansible_collections.scistream.gateway.tests.testbed.engine import docker

SIZE = 32 * MIB


def test_a_stream_carries_every_byte_and_leaves_nothing(gateway: S2CS, janus: Controller) -> None:
    server = Whole(SIZE)
    stream = Stream(gateway, janus, server.endpoint)
    assert stream.session["runtime"] == "janus"
    transfer(stream.listener, server, SIZE, SIZE, half_close=True)
    container = stream.container()
    seen = gateway.info(stream.uid)
    assert seen["running"], seen
    assert seen["counters"]["connections"] == {"open": 0, "total": 1, "refused": 0, "failed": 0}
    assert seen["counters"]["bytes"] == {"to_consumer": SIZE, "to_producer": SIZE}
    assert abs(time.time() - seen["counters"]["since"]) < 600
    stream.release()
    assert not stream.known() and not exists(container)
    assert not gateway.done("release", uid=stream.uid)["changed"]


def test_an_image_that_does_not_run_as_root(gateway: S2CS, janus: Controller) -> None:
    settings = {"image": image_of_nobody()}
    gateway.write_policy(proxies={"s2ds": {}, "haproxy": {"runtimes": ["janus"], "settings": settings}})
    server = Whole(SIZE)
    stream = Stream(gateway, janus, server.endpoint)
    assert docker("exec", stream.container(), "id", "-u") == str(NOBODY)
    transfer(stream.listener, server, SIZE, SIZE, half_close=True)
    seen = gateway.info(stream.uid)
    assert seen["running"] and seen["counters"]["bytes"] == {"to_consumer": SIZE, "to_producer": SIZE}


def test_nginx(gateway: S2CS, janus: Controller, application: Application, other_application: Application) -> None:
    server = Whole(SIZE)
    stream = Stream(gateway, janus, server.endpoint, proxy="nginx")
    transfer(stream.listener, server, SIZE, SIZE, half_close=True)
    seen = gateway.info(stream.uid)
    # It runs, and tells nothing of itself from afar.
    assert seen["running"] and seen["counters"] is None
    assert stream.point(application.endpoint)["changed"]
    assert exchange(stream.listener) == b"one:hello"
    assert not stream.point(application.endpoint)["changed"]
    docker("kill", stream.container())
    assert gateway.info(stream.uid)["running"] is False
    assert stream.point(other_application.endpoint)["changed"]
    assert exchange(stream.listener) == b"two:hello"
    stream.release()


def test_the_same_update_changes_nothing(gateway: S2CS, janus: Controller, application: Application) -> None:
    stream = Stream(gateway, janus, application.endpoint)
    before = stream.known()
    with connect(stream.listener) as connection:
        assert ask(connection, b"first") == b"one:first"
        assert not stream.point(application.endpoint)["changed"]
        assert ask(connection, b"second") == b"second"
    assert stream.known() == before


def test_check_mode_creates_nothing(gateway: S2CS, janus: Controller, application: Application) -> None:
    stream = Stream(gateway, janus, application.endpoint)
    before = stream.known()
    result = gateway.call("update", check=True, **stream.update("127.0.0.1:9"))
    assert result["changed"] and not result.get("failed"), result
    assert stream.known() == before
    assert exchange(stream.listener) == b"one:hello"


def test_another_target_is_another_container(
    gateway: S2CS, janus: Controller, application: Application, other_application: Application
) -> None:
    stream = Stream(gateway, janus, application.endpoint)
    before = stream.container()
    assert exchange(stream.listener) == b"one:hello"
    assert stream.point(other_application.endpoint)["changed"]
    assert exchange(stream.listener) == b"two:hello"
    assert stream.container() != before and not exists(before)


def test_several_listeners_and_clients(gateway: S2CS, janus: Controller, application: Application) -> None:
    stream = Stream(gateway, janus, application.endpoint, num_conn=3)
    assert len(stream.session["listeners"]) == 3
    assert [exchange(listener) for listener in stream.session["listeners"]] == [b"one:hello"] * 3
    update = {**stream.update(application.endpoint), "clients": ["127.0.0.9"]}
    assert gateway.done("update", **update)["changed"]
    assert exchange(stream.listener, source="127.0.0.9") == b"one:hello"
    assert exchange(stream.listener, source="127.0.0.8") == b""
    assert gateway.info(stream.uid)["counters"]["connections"]["refused"] == 1


@pytest.mark.parametrize("how", ["kill", "rm"])
def test_a_container_that_somebody_ended_is_mended(
    gateway: S2CS, janus: Controller, application: Application, how: str
) -> None:
    stream = Stream(gateway, janus, application.endpoint)
    docker(*(["kill"] if how == "kill" else ["rm", "--force"]), stream.container())
    # Janus itself does not see it.
    assert stream.known()[0]["state"] == "STARTED"
    seen = gateway.info(stream.uid)
    assert seen["running"] is False and seen["counters"] is None
    assert stream.point(application.endpoint)["changed"]
    assert exchange(stream.listener) == b"one:hello"
    assert gateway.info(stream.uid)["running"]
    assert not stream.point(application.endpoint)["changed"]
    assert len(stream.known()) == 1


def test_a_session_that_somebody_stopped_is_mended(gateway: S2CS, janus: Controller, application: Application) -> None:
    stream = Stream(gateway, janus, application.endpoint)
    container = stream.container()
    janus.call("PUT", f"/stop/{stream.known()[0]['id']}")
    assert gateway.info(stream.uid)["running"] is False
    assert stream.point(application.endpoint)["changed"]
    assert exchange(stream.listener) == b"one:hello"
    assert stream.container() == container


def test_a_session_that_somebody_deleted_is_made_again(
    gateway: S2CS, janus: Controller, application: Application
) -> None:
    stream = Stream(gateway, janus, application.endpoint)
    janus.call("DELETE", f"/active/{stream.known()[0]['id']}")
    assert gateway.info(stream.uid)["running"] is False
    assert stream.point(application.endpoint)["changed"]
    assert exchange(stream.listener) == b"one:hello"


def test_duplicates_go_with_the_next_change(
    gateway: S2CS, janus: Controller, application: Application, other_application: Application
) -> None:
    stream = Stream(gateway, janus, application.endpoint)
    janus.call("POST", "/create", stream.known()[0]["request"][0])
    assert len(stream.known()) == 2
    # The one that runs goes on, whatever stands beside it.
    assert gateway.info(stream.uid)["running"]
    assert not stream.point(application.endpoint)["changed"]
    assert stream.point(other_application.endpoint)["changed"]
    assert len(stream.known()) == 1
    assert exchange(stream.listener) == b"two:hello"


def test_streams_side_by_side(gateway: S2CS, janus: Controller, application: Application) -> None:
    streams = [Stream(gateway, janus, application.endpoint) for _number in range(2)]
    assert len({stream.listener for stream in streams}) == 2
    streams[0].release()
    assert exchange(streams[1].listener) == b"one:hello"
    assert streams[1].known() and not streams[0].known()
