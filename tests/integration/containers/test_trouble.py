# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes wrong around containers: killed, removed, without an image, without an engine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.containers.harness import (
    container,
    left_on_engine,
    open_stream,
)
from ansible_collections.scistream.gateway.tests.integration.proxies.harness import CONFIGURATIONS
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import (
    Application,
    ask,
    connect,
    eventually,
    exchange,
)
from ansible_collections.scistream.gateway.tests.testbed.engine import docker


@pytest.mark.parametrize("what", ["kill", "rm"])
@pytest.mark.parametrize("proxy", ["haproxy", "s2ds"])
def test_ended_by_hand_seen_and_mended(
    gateway: S2CS, proxy: str, runtime: str, what: str, application: Application
) -> None:
    stream = open_stream(gateway, proxy, runtime, application.endpoint)
    name = container(gateway, stream)["Name"][1:]
    assert exchange(stream.listener) == b"one:hello"
    eventually("it is counted", lambda: stream.counters()["bytes"]["to_producer"] == len(b"hello"))
    docker(*({"kill": ["kill"], "rm": ["rm", "--force"]}[what]), name)
    seen = gateway.info(stream.uid)
    assert not seen["running"] and name in str(seen["log"]), seen
    if runtime == "docker" and proxy == "haproxy":
        # Its log is a file of this host.
        assert seen["counters"]["bytes"] == {"to_consumer": len(b"one:hello"), "to_producer": len(b"hello")}
    assert runtime != "docker" or (seen["counters"]["connections"]["open"], seen["counters"]["exact"]) == (0, False)
    same = {"uid": stream.uid, "role": "producer", "remote_listeners": [application.endpoint]}
    assert gateway.call("update", check=True, **same)["changed"]
    assert gateway.done("update", **same)["changed"]
    assert exchange(stream.listener) == b"one:hello"
    assert gateway.info(stream.uid)["running"]
    assert not gateway.done("update", **same)["changed"]


def test_release_of_what_is_gone_already(gateway: S2CS, runtime: str, application: Application) -> None:
    stream = open_stream(gateway, "haproxy", runtime, application.endpoint)
    docker("rm", "--force", container(gateway, stream)["Id"])
    stream.release()
    assert not gateway.left() and not left_on_engine(gateway)


def test_what_the_store_does_not_know_is_swept(gateway: S2CS, runtime: str, application: Application) -> None:
    stream = open_stream(gateway, "haproxy", runtime, application.endpoint)
    for path in gateway.state.glob("s2cs.db*"):
        path.unlink()
    assert gateway.done("release", uid=stream.uid)["changed"]
    assert not gateway.left() and not left_on_engine(gateway)


def test_an_image_that_is_missing(make_gateway: Callable[..., S2CS], proxy: str, runtime: str) -> None:
    s2cs = make_gateway(settings={"image": "scistream-tests/none:1"})
    request = {"uid": own_uid(), "role": "producer", "secret": SECRET, "proxy": proxy, "runtime": runtime}
    encryption = "tls" if proxy == "stunnel" else "none"
    for check in (False, True):
        message = s2cs.call("request", check=check, encryption=encryption, **request)["msg"]
        assert "has no image scistream-tests/none:1" in message
        assert "docker pull" in message and "scistream.gateway.docker" in message
    assert not s2cs.left() and not left_on_engine(s2cs)


def test_a_pull_that_fails(make_gateway: Callable[..., S2CS], runtime: str) -> None:
    s2cs = make_gateway(settings={"image": "127.0.0.1:9/none:1", "pull": "missing"})
    message = s2cs.call(
        "request", uid=own_uid(), role="producer", secret=SECRET, proxy="s2ds", runtime=runtime, encryption="none"
    )["msg"]
    assert "could not pull the image 127.0.0.1:9/none:1" in message
    assert not s2cs.left() and not left_on_engine(s2cs)


@pytest.fixture
def switch() -> Iterator[Path]:
    """Another path of the engine's socket, which can be taken away."""
    # The path of a socket may have 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="scistream-"))
    (directory / "engine.sock").symlink_to("/var/run/docker.sock")
    yield directory / "engine.sock"
    shutil.rmtree(directory)


def test_an_engine_that_is_down(
    make_gateway: Callable[..., S2CS], runtime: str, switch: Path, application: Application
) -> None:
    gateway = make_gateway(settings={"engine": f"unix://{switch}"})
    stream = open_stream(gateway, "haproxy", runtime, application.endpoint)
    switch.unlink()
    gateway.refused(
        "request",
        "the Docker engine",
        "does not answer",
        uid=own_uid(),
        role="producer",
        proxy="haproxy",
        runtime=runtime,
        secret=SECRET,
        encryption="none",
    )
    same = {"uid": stream.uid, "role": "producer", "remote_listeners": [application.endpoint]}
    gateway.refused("update", "does not answer", **same)
    seen = gateway.info(stream.uid)
    assert not seen["running"] and "does not answer" in seen["log"][0]
    assert "does not answer" in gateway.call("release", uid=stream.uid)["msg"]
    # Data goes on, and what could not be given back is not forgotten.
    assert exchange(stream.listener) == b"one:hello"
    assert gateway.rows() and left_on_engine(gateway)
    switch.symlink_to("/var/run/docker.sock")
    stream.release()
    assert not gateway.left() and not left_on_engine(gateway)


@pytest.mark.parametrize("proxy", ["haproxy", "nginx"])
def test_a_configuration_that_the_program_in_the_image_refuses(
    gateway: S2CS, proxy: str, runtime: str, application: Application, other_application: Application
) -> None:
    stream = open_stream(gateway, proxy, runtime, application.endpoint)
    template = f"{gateway.policy['template_dir']}/{CONFIGURATIONS[proxy]}.j2"
    with open(template, "a", encoding="utf-8") as file:
        file.write("\nthis_is_no_directive;\n")
    with connect(stream.listener) as established:
        assert ask(established, b"x") == b"one:x"
        options: dict[str, Any] = {"uid": stream.uid, "role": "producer"}
        gateway.refused(
            "update",
            f"{proxy} rejects the configuration",
            "this_is_no_directive",
            remote_listeners=[other_application.endpoint],
            **options,
        )
        assert ask(established, b"y") == b"y"
    assert exchange(stream.listener) == b"one:hello"


@pytest.mark.parametrize("seconds", [0.15, 0.5, 0.9, 1.4])
def test_an_update_that_is_killed(gateway: S2CS, runtime: str, seconds: float, application: Application) -> None:
    """Whatever it had made by then is mended by the same call, or given back by the release."""
    uid = own_uid()
    gateway.request(uid, proxy="haproxy", runtime=runtime)
    gateway.hello(uid, application.endpoint)
    gateway.start("update", uid=uid, role="producer").kill_after(seconds)
    session = gateway.done("update", uid=uid, role="producer")["session"]
    assert exchange(session["listeners"][0]) == b"one:hello"
    gateway.start("update", uid=uid, role="producer", clients=["127.0.0.0/8"]).kill_after(seconds)
    assert gateway.done("release", uid=uid)["changed"]
    assert not gateway.left() and not left_on_engine(gateway)


def test_a_helper_of_somebody_who_was_killed(gateway: S2CS, runtime: str, application: Application) -> None:
    """Made and never started, so that nothing ends it by itself; that of another session stays."""
    stream = open_stream(gateway, "haproxy", runtime, application.endpoint)
    found = container(gateway, stream)
    labels = {**found["Config"]["Labels"], "scistream.purpose": "helper"}
    other = {**labels, "scistream.name": f"producer-{own_uid()}", "scistream.state_dir": "elsewhere"}
    left, stays = (
        docker("create", *(f"--label={key}={value}" for key, value in items.items()), found["Image"], "true").strip()
        for items in (labels, other)
    )
    try:
        gateway.done("release", uid=stream.uid)
        known = docker("ps", "--all", "--quiet", "--no-trunc").split()
        assert left not in known and stays in known
    finally:
        docker("rm", "--force", stays)
