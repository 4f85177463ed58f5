# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The data server with the real forwarder under the real supervisor, without a control server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.data_server import NOTHING, RELOAD, S2DS, START
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.factory import data_server
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.processes import end, is_alive, start_time
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import tail
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.supervised import SupervisedProcess
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec, Task

ROLES = Path(__file__).resolve().parents[5] / "roles"
ADDRESS = "127.0.0.7"
TASK = Task("camera", "s2ds", "unit", "user")
PATIENCE = 20.0

Server = Callable[[DataServerSpec], S2DS]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Layout]:
    """A site with our programs; whatever runs there is ended after the test."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for program in (ROLES / "s2cs/files").glob("*.py"):
        (programs / program.name).symlink_to(program)
    (programs / "s2ds").symlink_to(ROLES / "s2ds/files/s2ds")
    state = tmp_path / ("deep" * 40) / "state"
    found = Layout(str(state), str(programs), supervisor="process", dedicated_users=False)
    yield found
    left = _processes(str(tmp_path))
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not left, left


@pytest.fixture
def server(site: Layout) -> Iterator[Server]:
    """What makes the native data server of a spec."""

    def make(spec: DataServerSpec) -> S2DS:
        return data_server(site, "s2ds", "process", {}, spec)

    yield make
    make(DataServerSpec("camera", ())).release()


def _processes(text: str) -> dict[int, str]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if f"--directory {text}" in command:
                    found[int(entry.name)] = command
    return found


def _eventually(pid: int, started: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while is_alive(pid, started):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _instance(*targets: Endpoint, count: int = 1, **more: object) -> DataServerSpec:
    return DataServerSpec("camera", [Endpoint(ADDRESS, 0)] * count, targets, **more)  # type: ignore[arg-type]


def _state(site: Layout) -> dict[str, object]:
    found: dict[str, object] = json.loads(Path(site.directory("camera"), "supervisor.json").read_text())
    return found


def _connects(instance: DataServerSpec, to: socket.socket) -> bool:
    """Tell whether a connection to the instance arrives at a listening socket."""
    with socket.create_connection((instance.listeners[0].host, instance.listeners[0].port), PATIENCE):
        to.settimeout(PATIENCE)
        to.accept()[0].close()
    return True


@pytest.fixture
def application() -> Iterator[tuple[socket.socket, Endpoint]]:
    """A listening socket and where it listens."""
    with socket.create_server((ADDRESS, 0)) as listener:
        yield listener, Endpoint(ADDRESS, listener.getsockname()[1])


def test_life(server: Server, site: Layout, application: tuple[socket.socket, Endpoint]) -> None:
    listener, target = application
    server(_instance()).start()
    reserved = server(_instance()).finish_start().spec
    assert reserved.listeners[0].port and server(reserved).status().running
    streaming = replace(reserved, targets=[target])
    assert server(streaming).plan().needed
    assert server(streaming).update_listeners() and _connects(streaming, listener)
    assert not server(streaming).plan().needed and not server(streaming).update_listeners()
    counters = server(streaming).status().counters
    assert counters and counters["connections"]["total"] == 1
    assert server(streaming).stop() and not server(streaming).stop()
    stopped = server(streaming).status()
    assert not stopped.running and stopped.log and stopped.counters is not None
    # It came to its end, so that nothing is missing.
    assert stopped.counters["connections"] == {**counters["connections"], "open": 0} and stopped.counters["exact"]
    assert server(streaming).update_listeners() and _connects(streaming, listener)
    assert server(streaming).release() and not server(streaming).release()
    assert not os.path.exists(site.directory("camera"))


def test_update_that_is_refused_changes_nothing(server: Server, application: tuple[socket.socket, Endpoint]) -> None:
    listener, target = application
    server(_instance(target)).start()
    instance = server(_instance(target)).finish_start().spec
    with pytest.raises(S2DSException, match="family"):
        server(replace(instance, targets=[Endpoint("::1", 5)], egress=ADDRESS)).update_listeners()
    assert not server(instance).plan().needed and _connects(instance, listener)


def test_what_has_to_be_done_is_found_out_once(
    server: Server, application: tuple[socket.socket, Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, target = application
    server(_instance()).start()
    found = server(replace(server(_instance()).finish_start().spec, targets=[target]))
    done: list[str] = []
    for where, name in ((found.proxy, "check"), (found.proxy, "files"), (found.runtime, "probe")):
        monkeypatch.setattr(where, name, _noting(done, name, getattr(where, name)))
    plan = found.plan()
    assert (plan.step, plan.needed, sorted(done)) == (RELOAD, True, ["check", "files", "probe"])
    done.clear()
    assert found.carry_out(plan) and _connects(found.spec, listener)
    assert set(done) == {"probe"}
    assert (found.plan().step, found.plan(again=True).step) == (NOTHING, RELOAD)
    found.stop()
    assert found.plan().step == START


def _noting(done: list[str], name: str, does: Callable[..., Any]) -> Callable[..., Any]:
    def noted(*arguments: Any) -> Any:
        done.append(name)
        return does(*arguments)

    return noted


def test_listener_that_cannot_be_had(server: Server, site: Layout, application: tuple[socket.socket, Endpoint]) -> None:
    _listener, taken = application
    instance = DataServerSpec("camera", [taken])
    server(instance).start()
    with pytest.raises(S2DSException, match=str(taken)):
        server(instance).wait_ready()
    assert server(instance).release() and not os.path.exists(site.directory("camera"))


def test_released_at_the_very_moment_of_its_start(server: Server, site: Layout) -> None:
    """A supervisor that has not told who it is yet is waited for, not overlooked."""
    for _unused in range(5):
        server(_instance()).start()
        assert server(_instance()).release()
        assert not _processes(site.directory("camera"))


def test_started_again_at_once(server: Server, site: Layout) -> None:
    for _unused in range(4):
        server(_instance()).start()
    server(_instance()).finish_start()
    assert len({command.split("--lock")[0] for command in _processes(site.directory("camera")).values()}) <= 2
    assert server(_instance()).runtime.is_running()


def test_supervisor_that_does_not_start(server: Server, site: Layout) -> None:
    Path(site.program_dir, "supervise.py").unlink()
    Path(site.program_dir, "supervise.py").write_text("raise SystemExit(5)\n")
    server(_instance()).start()
    with pytest.raises(S2DSException, match="exited immediately"):
        server(_instance()).wait_ready()


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_state_that_cannot_be_read(server: Server, site: Layout, text: str) -> None:
    """It is written as a whole, so this is what somebody else did; nothing is killed by guess."""
    directory = Path(site.directory("camera"))
    directory.mkdir(parents=True)
    (directory / "supervisor.json").write_text(text)
    assert not server(_instance()).stop()
    assert not server(_instance()).runtime.is_running()


def test_recycled_pid_is_left_alone(server: Server, site: Layout) -> None:
    """The file of a supervisor from before a reboot names processes that are others now."""
    directory = Path(site.directory("camera"))
    directory.mkdir(parents=True)
    ours = {"pid": os.getpid(), "start": "1@another-boot", "child": os.getppid(), "child_start": "1@another-boot"}
    (directory / "supervisor.json").write_text(json.dumps({**ours, "restarts": 0, "last_exit": ""}))
    assert not server(_instance()).stop()
    assert not (directory / "supervisor.json").exists()


def test_runtime(site: Layout) -> None:
    runtime = SupervisedProcess(site, TASK)
    os.makedirs(site.directory("camera"))
    assert not runtime.stop() and not runtime.is_running() and runtime.log() == []
    runtime.start(["sh", "-c", "trap '' TERM; echo hello; exec sleep 1000"])
    deadline = time.monotonic() + PATIENCE
    while not runtime.log():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert runtime.is_running() and not runtime.has_failed() and runtime.log() == ["hello"]
    state = _state(site)
    # The command whose supervisor was killed, and which does not heed SIGTERM, is ended as well.
    os.kill(int(str(state["pid"])), signal.SIGKILL)
    _eventually(int(str(state["pid"])), str(state["start"]))
    assert runtime.has_failed() and not runtime.is_running()
    assert runtime.stop()
    assert not is_alive(int(str(state["child"])), str(state["child_start"]))
    with pytest.raises(S2DSException, match=r"scistream\.gateway\.s2cs"):
        SupervisedProcess(replace(site, program_dir="/nonexistent"), TASK).start(["true"])


def test_processes() -> None:
    assert start_time(os.getpid()) and is_alive(os.getpid(), start_time(os.getpid()))
    assert start_time(2**22 + 1) == "" and not is_alive(os.getpid(), "")
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert start_time(child) == "", "a zombie does not run"
    end(child, "1@x", 0.0)
    os.waitpid(child, 0)


def test_tail(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert tail(str(path), 3) == []
    path.write_bytes(b"\xff\n" + b"".join(b"line %d\n" % number for number in range(100000)))
    assert tail(str(path), 2) == ["line 99998", "line 99999"]


@pytest.mark.parametrize(("proxy", "runtime"), [("squid", "process"), ("s2ds", "cloud")])
def test_what_this_version_does_not_have(site: Layout, proxy: str, runtime: str) -> None:
    with pytest.raises(ValueRefused, match="must be one of"):
        data_server(site, proxy, runtime, {}, _instance())
