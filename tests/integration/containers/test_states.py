# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is told of a container is true: paused, short of files or processes, on an engine that hangs."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes import container as container_user
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker import limits as container_limits
from ansible_collections.scistream.gateway.tests.integration.containers.harness import (
    container,
    left_on_engine,
    offer,
    open_stream,
)
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import (
    Application,
    ask,
    connect,
    eventually,
    exchange,
)
from ansible_collections.scistream.gateway.tests.testbed.engine import docker
from ansible_collections.scistream.gateway.tests.unit.plugins.module_utils._s2ds.runtimes.docker.hostile_engine import (
    HostileEngine,
)


@pytest.mark.parametrize("proxy", ["haproxy", "s2ds"])
def test_a_paused_container(
    gateway: S2CS, proxy: str, runtime: str, application: Application, other_application: Application
) -> None:
    stream = open_stream(gateway, proxy, runtime, application.endpoint)
    name = container(gateway, stream)["Name"][1:]
    with connect(stream.listener) as established:
        assert ask(established, b"x") == b"one:x"
        docker("pause", name)
        try:
            seen = gateway.info(stream.uid)
            assert not seen["running"] and f"the container {name} is paused" in str(seen["log"]), seen
            # Its listeners are its own, and its connection goes on when it does.
            assert "in use" not in seen["reason"]
            assert not seen["counters"] or seen["counters"]["connections"]["open"] is None
            for target in (application, other_application):
                began = time.monotonic()
                update = {"uid": stream.uid, "role": "producer", "remote_listeners": [target.endpoint]}
                gateway.refused("update", "is paused", f"unpause {name}", **update)
                assert time.monotonic() - began < 20
        finally:
            docker("unpause", name)
        assert ask(established, b"y") == b"y"
    assert gateway.info(stream.uid)["running"]
    docker("pause", name)
    stream.release()
    assert not gateway.left() and not left_on_engine(gateway)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives containers another user")
@pytest.mark.parametrize("there", [False, True])
def test_a_user_who_comes_or_goes(
    make_gateway: Callable[..., S2CS],
    images: dict[str, str],
    runtime: str,
    there: bool,
    application: Application,
    other_application: Application,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A container keeps its user, and so its files, whatever becomes of the user and of the policy."""
    uids = {"before": 51234 if there else None, "after": None if there else 51234}
    when = "before"

    def find(name: str) -> SimpleNamespace:
        if uids[when] is None:
            raise KeyError(name)
        return SimpleNamespace(pw_uid=uids[when], pw_gid=51235)

    monkeypatch.setattr(container_user, "pwd", SimpleNamespace(getpwnam=find))
    gateway = make_gateway(dedicated_users=True)
    stream = open_stream(gateway, "haproxy", runtime, application.endpoint)
    user = container(gateway, stream)["Config"]["User"]
    assert user == ("51234:51235" if there else "65532:65532")
    when = "after"
    stream.point(other_application.endpoint)
    assert exchange(stream.listener) == b"two:hello"
    # The next one needs a new container, which still is the owner of its files.
    docker("rm", "--force", container(gateway, stream)["Id"])
    stream.point(application.endpoint)
    assert container(gateway, stream)["Config"]["User"] == user
    assert exchange(stream.listener) == b"one:hello"
    gateway.write_policy(proxies=offer(images, container_user=51236))
    stream.point(other_application.endpoint)
    assert container(gateway, stream)["Config"]["User"] == user
    assert exchange(stream.listener) == b"two:hello"
    another = open_stream(gateway, "haproxy", runtime, application.endpoint)
    assert container(gateway, another)["Config"]["User"] == "51236:51236"


def test_the_log_of_before_is_no_reason(
    gateway: S2CS, runtime: str, application: Application, other_application: Application
) -> None:
    """What nginx says of a reload is of that reload, not of one that failed before."""
    stream = open_stream(gateway, "nginx", runtime, application.endpoint)
    found = container(gateway, stream)
    said = "[emerg] 1#1: bind() to 192.0.2.1:1 failed (of before)"
    docker("exec", found["Id"], "sh", "-c", f"echo '{said}' >/proc/1/fd/1")
    assert said in docker("logs", found["Id"])
    stream.point(other_application.endpoint)
    assert exchange(stream.listener) == b"two:hello"
    docker("restart", "--time", "2", found["Id"])
    docker("stop", "--time", "2", found["Id"])
    seen = gateway.info(stream.uid)
    assert not seen["running"] and said not in str(seen["log"]) and "exited" in str(seen["log"])


def test_files_for_as_many_connections_as_are_allowed(
    make_gateway: Callable[..., S2CS], images: dict[str, str], runtime: str, application: Application
) -> None:
    """Six hundred at once through each proxy; fewer files than they need are refused before anything changes."""
    s2cs = make_gateway()
    for proxy in ("haproxy", "nginx", "s2ds"):
        stream = open_stream(s2cs, proxy, runtime, application.endpoint)
        with ExitStack() as stack:
            connections = [stack.enter_context(connect(stream.listener)) for _number in range(600)]
            assert all(ask(connection, b"x") == b"one:x" for connection in connections)
        stream.release()
    proxies = offer(images)
    proxies["haproxy"]["settings"]["nofile"] = 256
    s2cs.write_policy(proxies=proxies)
    options = {"role": "producer", "secret": SECRET, "proxy": "haproxy", "runtime": runtime, "encryption": "none"}
    s2cs.refused("request", "nofile", "256", "max_connections", uid=own_uid(), **options)


def test_processes_for_a_reload(
    make_gateway: Callable[..., S2CS], runtime: str, application: Application, other_application: Application
) -> None:
    """HAProxy keeps a worker for each update that a connection outlives: the last one is refused, and all go on."""
    s2cs = make_gateway(settings={"pids": 16})
    stream = open_stream(s2cs, "haproxy", runtime, application.endpoint)
    targets = [other_application, application] * 10
    with ExitStack() as stack:
        established = []
        for number in range(len(targets)):
            established.append(stack.enter_context(connect(stream.listener)))
            assert ask(established[-1], b"x").endswith(b":x")
            update: dict[str, Any] = {
                "uid": stream.uid,
                "role": "producer",
                "remote_listeners": [targets[number].endpoint],
            }
            result = s2cs.call("update", **update)
            if result.get("failed"):
                break
        assert number >= 3 and "processes and threads" in result["msg"] and "pids" in result["msg"], result
        assert s2cs.info(stream.uid)["running"]
        assert s2cs.info(stream.uid)["targets"] == [targets[number - 1].endpoint]
        assert exchange(stream.listener) == targets[number - 1].name + b":hello"
        assert all(ask(connection, b"y") == b"y" for connection in established)
    # The earlier workers end by themselves, some time after their connections.
    update["remote_listeners"] = [targets[number].endpoint]
    eventually("there is room for another worker", lambda: not s2cs.call("update", **update).get("failed"))
    stream.point(targets[number].endpoint)
    assert exchange(stream.listener) == targets[number].name + b":hello"


def test_a_reload_that_fails_is_taken_back_for_real(
    make_gateway: Callable[..., S2CS],
    application: Application,
    other_application: Application,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where the processes are used up after they were counted: whatever becomes of HAProxy, its listeners serve."""
    monkeypatch.setattr(container_limits, "check_room", lambda *_about: None)
    s2cs = make_gateway(settings={"pids": 16})
    stream = open_stream(s2cs, "haproxy", "docker", application.endpoint)
    targets = [other_application, application] * 8
    with ExitStack() as stack:
        for number in range(len(targets)):
            connection = stack.enter_context(connect(stream.listener))
            assert ask(connection, b"x").endswith(b":x")
            update: dict[str, Any] = {"uid": stream.uid, "role": "producer"}
            result = s2cs.call("update", remote_listeners=[targets[number].endpoint], **update)
            if result.get("failed"):
                break
        assert result.get("failed"), "it was never short of processes"
        assert exchange(stream.listener) == targets[number - 1].name + b":hello"
        seen = s2cs.info(stream.uid)
        assert seen["running"] and seen["targets"] == [targets[number - 1].endpoint]
    stream.release()


@pytest.fixture
def switch() -> Iterator[Path]:
    """Another path of the engine's socket, where another may be put."""
    # The path of a socket may have 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="scistream-"))
    (directory / "engine.sock").symlink_to("/var/run/docker.sock")
    yield directory / "engine.sock"
    shutil.rmtree(directory)


@pytest.mark.parametrize("way", ["hang", "endless", "dribble", "a list"])
def test_a_hostile_engine_holds_nobody_up(
    make_gateway: Callable[..., S2CS], images: dict[str, str], switch: Path, way: str, application: Application
) -> None:
    proxies = offer(images)
    proxies["haproxy"]["settings"]["engine"] = f"unix://{switch}"
    s2cs = make_gateway(proxies=proxies)
    hung = [open_stream(s2cs, "haproxy", runtime, application.endpoint) for runtime in ("docker", "dockersock")]
    others = [open_stream(s2cs, "s2ds", runtime, application.endpoint) for runtime in ("docker", "process")]
    switch.unlink()
    with HostileEngine(switch, way):
        began = time.monotonic()
        sessions = {item["uid"]: item for item in s2cs.done("info")["sessions"]}
        assert time.monotonic() - began < 25
        for stream in hung:
            assert not sessions[stream.uid]["running"] and sessions[stream.uid]["health"] == "unknown"
            assert f"unix://{switch}" in sessions[stream.uid]["reason"], sessions[stream.uid]
        assert all(sessions[stream.uid]["running"] for stream in others)
        others[0].release()
        assert s2cs.call("release", uid=hung[0].uid)["failed"]
    switch.unlink()
    switch.symlink_to("/var/run/docker.sock")
    for stream in (*hung, others[1]):
        stream.release()
    assert not s2cs.left() and not left_on_engine(s2cs)
