# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The supervisor where room runs out, and a data server that somebody stopped or whose state somebody spoilt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.processes import is_alive, working_in
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.supervised import SupervisedProcess
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Task
from ansible_collections.scistream.gateway.tests.unit.roles.s2cs.test_supervise import PROGRAM, changed_copy, eventually

TASK = Task("camera", "s2ds", "unit", "user")
SLEEP = ["sleep", "1000"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Layout]:
    """A site with the directory of a session; nothing of it runs after the test."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for part in PROGRAM.parent.glob("*.py"):
        (programs / part.name).symlink_to(part)
    found = Layout(str(tmp_path / "state"), str(programs), supervisor="process", dedicated_users=False)
    os.makedirs(os.path.join(found.directory("camera"), "run"))
    yield found
    SupervisedProcess(found, TASK).remove()
    assert not working_in(found.directory("camera"))


@pytest.fixture
def full(site: Layout) -> Iterator[Path]:
    """The sessions of that site on a file system without room; a file `ballast` takes it."""
    # Who is not root has no disk to fill; the run counts and shows what it left out.
    if os.geteuid():
        pytest.skip("only root can mount a file system that is full")
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=0755", "tests", site.sessions_dir]
    subprocess.run(mount, check=True)
    directory = Path(site.directory("camera"))
    (directory / "run").mkdir(parents=True)
    ballast = Path(site.sessions_dir, "ballast")
    fill(ballast)
    yield ballast
    SupervisedProcess(site, TASK).remove()
    subprocess.run(["umount", "--lazy", site.sessions_dir], check=True)
    directory.mkdir(exist_ok=True)


def fill(path: Path) -> None:
    """Take all the room that there is."""
    with path.open("ab", buffering=0) as stream, pytest.raises(OSError, match="No space"):
        while True:
            stream.write(bytes(4096))


def says(runtime: SupervisedProcess, word: str) -> bool:
    """Tell whether this word is all that a data server wrote."""
    return runtime.log() == [word]


def size(path: Path) -> int:
    """Return the size of a file that may be renamed at any moment."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def state(site: Layout) -> dict[str, object]:
    """Return what the supervisor says of itself."""
    try:
        found: dict[str, object] = json.loads(Path(site.directory("camera"), "supervisor.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def test_started_on_a_full_disk(site: Layout, full: Path) -> None:
    """Nothing can be written down; it runs all the same, is found without that, and ended."""
    runtime = SupervisedProcess(site, TASK)
    runtime.start(SLEEP)
    eventually(lambda: len(working_in(site.directory("camera"))) == 2)
    assert state(site) == {} and not runtime.has_failed()
    full.unlink()
    eventually(lambda: state(site) and runtime.is_running())
    fill(full)
    os.kill(int(str(state(site)["child"])), signal.SIGKILL)
    eventually(lambda: state(site).get("restarts") == 1 and runtime.is_running())
    assert runtime.stop() and not working_in(site.directory("camera"))


def test_ended_on_a_full_disk_from_the_start(site: Layout, full: Path) -> None:
    runtime = SupervisedProcess(site, TASK)
    runtime.start(SLEEP)
    eventually(lambda: len(working_in(site.directory("camera"))) == 2)
    assert runtime.stop() and not working_in(site.directory("camera")) and full.exists()


def test_output_without_end(site: Layout, tmp_path: Path) -> None:
    runtime = SupervisedProcess(replace(site, program_dir=str(tmp_path)), TASK)
    changed_copy(tmp_path, ("LOG_LIMIT = 8 * 1024 * 1024", "LOG_LIMIT = 100000"))
    runtime.start(["yes", "a line of a program that never ends"])
    directory = Path(site.directory("camera"))
    eventually((directory / "log.1").exists)
    for _unused in range(200):
        assert sum(size(path) for path in directory.glob("log*")) < 400000
    assert runtime.is_running() and runtime.log()[0].startswith("a line of")


@pytest.mark.parametrize("then", ["exec sleep 1000", "exit 1"])
def test_too_much_in_run(site: Layout, tmp_path: Path, then: str) -> None:
    """Where the directory cannot be mounted, who fills it is ended, and stays so."""
    runtime = SupervisedProcess(replace(site, program_dir=str(tmp_path)), TASK)
    changed_copy(tmp_path)
    (tmp_path / "limits.json").write_text('{"run_bytes": 1000000}')
    runtime.start(["sh", "-c", f"dd if=/dev/zero of=run/big bs=100000 count=100 status=none; {then}"])
    eventually(lambda: state(site).get("last_exit") == "too much in run")
    assert not runtime.is_running() and runtime.has_failed()
    assert "more than 1000000 bytes into its directory run" in runtime.log()[-1]
    assert runtime.stop()


def test_stopped_by_a_signal(site: Layout) -> None:
    runtime = SupervisedProcess(site, TASK)
    runtime.start(SLEEP)
    eventually(runtime.is_running)
    pid = int(str(state(site)["child"]))
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: not runtime.is_running())
    assert f"process {pid} was stopped" in runtime.log()[-1]
    os.kill(pid, signal.SIGCONT)
    eventually(runtime.is_running)
    os.kill(pid, signal.SIGSTOP)
    os.kill(int(str(state(site)["pid"])), signal.SIGSTOP)
    assert runtime.stop() and not working_in(site.directory("camera"))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"pid": "1"}', "[" * 100000])
def test_state_that_was_spoilt(site: Layout, text: str) -> None:
    runtime = SupervisedProcess(site, TASK)
    runtime.start(SLEEP)
    eventually(runtime.is_running)
    before = state(site)
    Path(site.directory("camera"), "supervisor.json").write_text(text)
    # Somebody who looks around there has nothing to do with it.
    with subprocess.Popen(SLEEP, cwd=site.directory("camera")) as visitor:
        assert not runtime.is_running() and runtime.is_managed()
        assert runtime.stop()
        assert visitor.poll() is None
        visitor.kill()
    for process in ("pid", "child"):
        assert not is_alive(int(str(before[process])), str(before[f"{'' if process == 'pid' else 'child_'}start"]))


def test_only_what_it_wrote_since_it_was_started(site: Layout) -> None:
    runtime = SupervisedProcess(site, TASK)
    for word in ("first", "second"):
        runtime.start(["sh", "-c", f"echo {word}; exec sleep 1000"])
        eventually(partial(says, runtime, word))
    runtime.start(["/nonexistent/program"])
    eventually(runtime.has_failed)
    eventually(lambda: runtime.log() and "cannot be started" in runtime.log()[0])


def test_no_rights_and_no_core(site: Layout) -> None:
    runtime = SupervisedProcess(site, TASK)
    runtime.start(["sh", "-c", "ulimit -c; grep NoNewPrivs /proc/self/status; exec sleep 1000"])
    eventually(lambda: len(runtime.log()) == 2)
    assert runtime.log() == ["0", "NoNewPrivs:\t1"]
