# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The supervisor, as a real process with real commands."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.processes import (
    is_alive,
    start_time,
    working_in,
)

PROGRAM = Path(__file__).resolve().parents[4] / "roles/s2cs/files/supervise.py"
PATIENCE = 20.0
SLEEP = ["sleep", "1000"]


def eventually(condition: Callable[[], object]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def changed_copy(directory: Path, *changes: tuple[str, str]) -> Path:
    """Return a copy of the supervisor with constants that fit a test."""
    for part in PROGRAM.parent.glob("*.py"):
        text = part.read_text()
        for before, after in changes:
            text = text.replace(before, after)
        (directory / part.name).write_text(text)
    return directory / PROGRAM.name


class Supervised:
    """A directory with a supervisor in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str, changed: str = "", lock: int = -1) -> subprocess.Popen[bytes]:
        """Start a supervisor; `changed` replaces its first pause and its interval of checks."""
        program = PROGRAM
        if changed:
            program = changed_copy(self.directory.parent, ("CHECK_SECONDS = 30.0", f"CHECK_SECONDS = {changed}"))
        inherited = ["--lock", str(lock)] if lock >= 0 else []
        self.started.append(
            subprocess.Popen(
                [sys.executable, "-I", "-S", program, "--directory", self.directory, *inherited, "--", *command],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(lock,) if lock >= 0 else (),
            )
        )
        return self.started[-1]

    def state(self) -> dict[str, Any]:
        """Return what the supervisor wrote down, {} before it did."""
        try:
            found: dict[str, Any] = json.loads((self.directory / "supervisor.json").read_text())
        except FileNotFoundError:
            return {}
        return found

    def up(self) -> dict[str, Any]:
        """Wait for the command to run and return the state."""
        eventually(lambda: self.state() and _command(self.state()["child"]).startswith("sleep"))
        return self.state()

    def log(self) -> str:
        """Return its log."""
        return (self.directory / "log").read_text()


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    """A directory for a supervisor; nothing that was started there is left after the test."""
    directory = tmp_path / "session"
    directory.mkdir()
    found = Supervised(directory)
    yield found
    for process in found.started:
        process.kill()
        process.wait()
    # A supervisor that is killed ends its command, but not what the command started, which may be starting more.
    while left := working_in(str(directory)):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_command_is_started_again(supervised: Supervised) -> None:
    supervisor = supervised.start(*SLEEP)
    first = supervised.up()
    assert first["pid"] == supervisor.pid and first["restarts"] == 0 and first["last_exit"] == ""
    assert is_alive(first["pid"], first["start"]) and is_alive(first["child"], first["child_start"])
    assert os.getpgid(first["child"]) == first["child"] and os.getsid(first["child"]) == supervisor.pid
    os.kill(first["child"], signal.SIGKILL)
    eventually(lambda: supervised.state()["restarts"] == 1)
    second = supervised.up()
    assert second["last_exit"] == "signal 9" and second["child"] != first["child"]
    assert "starting it again" in supervised.log()


def test_exit_status_is_told_and_pauses_grow(supervised: Supervised) -> None:
    supervised.start("sh", "-c", "echo to-the-log; exit 7")
    eventually(lambda: supervised.state() and supervised.state()["restarts"] >= 2)
    assert supervised.state()["last_exit"] == "exit status 7"
    log = supervised.log()
    assert "to-the-log" in log and "in 0.1 s" in log and "in 0.2 s" in log


def test_command_that_does_not_exist(supervised: Supervised) -> None:
    supervised.start("/nonexistent/program")
    eventually(lambda: supervised.state() and supervised.state()["last_exit"])
    assert supervised.state()["last_exit"] == "exit status 127"
    assert "/nonexistent/program cannot be started" in supervised.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop(supervised: Supervised, number: signal.Signals) -> None:
    supervisor = supervised.start(*SLEEP)
    state = supervised.up()
    supervisor.send_signal(number)
    assert supervisor.wait(PATIENCE) == 0
    assert not is_alive(state["child"], state["child_start"])
    assert supervised.state() == {}


def test_told_to_stop_between_two_starts(supervised: Supervised) -> None:
    supervisor = supervised.start("false")
    eventually(lambda: supervised.state() and supervised.state()["restarts"] >= 2)
    supervisor.terminate()
    assert supervisor.wait(PATIENCE) == 0
    assert supervised.state() == {}


def test_stopping_ends_the_whole_group(supervised: Supervised) -> None:
    supervisor = supervised.start("sh", "-c", "sleep 1001 & echo $! > worker; exec sleep 1000")
    supervised.up()
    worker = int((supervised.directory / "worker").read_text())
    started = start_time(worker)
    supervisor.terminate()
    assert supervisor.wait(PATIENCE) == 0
    eventually(lambda: not is_alive(worker, started))


def test_what_a_dead_command_leaves_behind_is_ended(supervised: Supervised) -> None:
    supervisor = supervised.start("sh", "-c", "sleep 1001 & echo $! >> workers; sleep 0.2; exit 1")
    eventually(lambda: supervised.state() and supervised.state()["restarts"] >= 1)
    worker = int((supervised.directory / "workers").read_text().split()[0])
    eventually(lambda: not _command(worker).startswith("sleep 1001"))
    # Killed, it could not end what the command that runs now has started.
    supervisor.terminate()
    assert supervisor.wait(PATIENCE) == 0


def test_an_error_of_the_supervisor_leaves_nothing_behind(supervised: Supervised, tmp_path: Path) -> None:
    program = changed_copy(
        tmp_path,
        ("CHECK_SECONDS = 30.0", "CHECK_SECONDS = 0.05"),
        ("            if not self.published:\n", "            assert not os.path.exists('worker')\n"),
        ("                self.publish()\n", ""),
    )
    command = ["sh", "-c", "sleep 1001 & echo $! > new; mv new worker; wait"]
    supervisor = subprocess.Popen(
        [sys.executable, program, "--directory", supervised.directory, "--", *command], start_new_session=True
    )
    supervised.started.append(supervisor)
    assert supervisor.wait(PATIENCE) == 1
    eventually(lambda: not working_in(str(supervised.directory)))


def test_command_that_ignores_sigterm(supervised: Supervised, tmp_path: Path) -> None:
    program = changed_copy(tmp_path, ("GRACE_SECONDS = 5.0", "GRACE_SECONDS = 0.2"))
    stubborn = (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen('ready', 'w')\ntime.sleep(1000)"
    )
    supervisor = subprocess.Popen(
        [sys.executable, program, "--directory", supervised.directory, "--", sys.executable, "-c", stubborn],
        start_new_session=True,
    )
    supervised.started.append(supervisor)
    eventually((supervised.directory / "ready").exists)
    state = supervised.state()
    supervisor.terminate()
    assert supervisor.wait(PATIENCE) == 0
    assert not is_alive(state["child"], state["child_start"])


def test_killed_supervisor_takes_its_command_with_it(supervised: Supervised) -> None:
    supervisor = supervised.start(*SLEEP)
    state = supervised.up()
    supervisor.kill()
    eventually(lambda: not is_alive(state["child"], state["child_start"]))


@pytest.mark.parametrize("handed_over", [False, True])
def test_second_supervisor_is_refused(supervised: Supervised, handed_over: bool) -> None:
    held = os.open(supervised.directory, os.O_RDONLY)
    if handed_over:
        fcntl.flock(held, fcntl.LOCK_EX)
    first = supervised.start(*SLEEP, lock=held if handed_over else -1)
    os.close(held)
    state = supervised.up()
    second = supervised.start(*SLEEP)
    assert second.wait(PATIENCE) == 3
    assert first.poll() is None and supervised.state() == state
    # The command does not hold the lock: it goes with the supervisor.
    first.kill()
    first.wait()
    eventually(lambda: not is_alive(state["child"], state["child_start"]))
    supervised.start("sleep", "1002")
    eventually(lambda: _command(supervised.state()["child"]).startswith("sleep 1002"))


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_signals_are_passed_on(supervised: Supervised, number: signal.Signals) -> None:
    name = number.name[len("SIG") :]
    supervised.start("sh", "-c", f"trap 'echo got {name}' {name}; touch ready; while :; do sleep 0.02; done")
    eventually((supervised.directory / "ready").exists)
    # The command may have come as far before its supervisor has written down who it is.
    eventually(supervised.state)
    os.kill(supervised.state()["pid"], number)
    eventually(lambda: f"got {name}" in supervised.log())


def test_directory_that_is_removed(supervised: Supervised) -> None:
    supervisor = supervised.start(*SLEEP, changed="0.1")
    state = supervised.up()
    shutil.rmtree(supervised.directory)
    assert supervisor.wait(PATIENCE) == 0
    assert not is_alive(state["child"], state["child_start"])


def test_directory_that_is_removed_while_the_command_restarts(supervised: Supervised) -> None:
    supervisor = supervised.start("false")
    eventually(lambda: supervised.state() and supervised.state()["restarts"] >= 1)
    shutil.rmtree(supervised.directory)
    supervisor.wait(PATIENCE)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        # For a moment, while the next one takes its place.
        return []


def test_log_is_cut(supervised: Supervised, tmp_path: Path) -> None:
    program = changed_copy(tmp_path, ("LOG_LIMIT = 8 * 1024 * 1024", "LOG_LIMIT = 1000"))
    command = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.002; done"
    supervised.started.append(
        subprocess.Popen(
            [sys.executable, program, "--directory", supervised.directory, "--", "sh", "-c", command],
            start_new_session=True,
        )
    )
    older = supervised.directory / "log.1"
    eventually(older.exists)
    eventually(lambda: _lines(older)[:1] not in ([], ["line 1"]))
    # The log itself is away for a moment whenever it is cut.
    assert "\0" not in older.read_text()


@pytest.mark.parametrize(
    "arguments", [[], ["--"], ["--directory"], ["--directory", "/tmp"], ["--user", "x", "--", "y"]]
)
def test_command_line_that_is_wrong(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, PROGRAM, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "usage" in done.stderr


def test_name_of_a_program_that_looks_like_fields(tmp_path: Path) -> None:
    """The start time is found behind a program's name, whatever that is."""
    program = tmp_path / "a) R 1 (b"
    shutil.copy2("/bin/sleep", program)
    process = subprocess.Popen([program, "1000"])
    try:
        eventually(lambda: program.name[:15] in Path(f"/proc/{process.pid}/comm").read_text())
        ticks = start_time(process.pid).partition("@")[0]
        assert ticks.isdigit() and int(ticks) > 1
        assert is_alive(process.pid, start_time(process.pid)) and not is_alive(process.pid, "1@x")
    finally:
        process.kill()
        process.wait()
