# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The forwarder under its supervisor: forked from it at first, executed after a failure; and many of both at once."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.processes import (
    command_line,
    is_alive,
    start_time,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes import supervisors

ROLES = Path(__file__).resolve().parents[4] / "roles"
PATIENCE = 20.0


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


class Site:
    """The programs as the roles install them, and sessions."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.programs = directory / "programs"
        shutil.copytree(ROLES / "s2cs/files", self.programs)
        shutil.copytree(ROLES / "s2ds/files/s2ds", self.programs / "s2ds")
        self.sessions: list[Path] = []

    def start(self, name: str = "session", *command: str) -> Path:
        """Start a session, and return its directory."""
        session = self.directory / name
        (session / "run").mkdir(parents=True)
        listener = {"address": "127.0.0.1", "port": 0, "target": None}
        (session / "s2ds.json").write_text(json.dumps({"listeners": [listener], "allow": [], "tls": None}))
        self.sessions.append(session)
        program = [sys.executable, "-I", "-S", str(self.programs / "supervise.py")]
        forwarder = [sys.executable, "-I", "-S", str(self.programs / "s2ds"), "--directory", str(session)]
        lock = os.open(session, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            arguments = ["--directory", str(session), "--", *(command or forwarder)]
            supervisors.start(program, arguments, lock, ([], {}))
        finally:
            os.close(lock)
        return session

    def end(self) -> None:
        for session in self.sessions:
            found = state(session)
            if found:
                os.kill(found["pid"], signal.SIGTERM)
        for session in self.sessions:
            eventually(lambda session=session: not (session / "supervisor.json").exists(), "it does not end")  # type: ignore[misc]


def state(session: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((session / "supervisor.json").read_text())
    except FileNotFoundError:
        return {}
    return found


def status(session: Path) -> dict[str, Any] | None:
    """Return what the forwarder tells of itself."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(os.path.relpath(session / "run/control.sock"))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        client.sendall(b'{"op": "status"}\n')
        found: dict[str, Any] = json.loads(client.makefile().readline())["status"]
        return found


def serves(session: Path) -> dict[str, Any]:
    eventually(lambda: status(session), "it does not serve")
    eventually(lambda: state(session), "its supervisor does not report its state")
    found = state(session)
    assert found["child"] == (status(session) or {})["pid"]
    return found


@pytest.fixture
def site() -> Iterator[Site]:
    # The path of a socket is short.
    directory = Path(tempfile.mkdtemp())
    found = Site(directory)
    yield found
    try:
        found.end()
    finally:
        shutil.rmtree(directory)


@pytest.mark.parametrize("many", [False, True])
def test_both_processes_are_as_if_executed(site: Site, many: bool) -> None:
    os.environ["SCISTREAM_SECRET"] = "secret"
    try:
        with supervisors.starting_many() if many else nullcontext():
            sessions = [site.start(name) for name in ("one", "two")]
            found = [serves(session) for session in sessions]
    finally:
        del os.environ["SCISTREAM_SECRET"]
    for index, session in enumerate(sessions):
        about = found[index]
        supervisor, forwarder = about["pid"], about["child"]
        assert f"supervise.py --directory {session} " in command_line(supervisor)
        expected = f"{sys.executable} -I -S {site.programs / 's2ds'} --directory {session}"
        assert command_line(forwarder).strip() == expected
        for pid in (supervisor, forwarder):
            assert os.path.samefile(f"/proc/{pid}/cwd", session)
            assert b"secret" not in Path(f"/proc/{pid}/environ").read_bytes()
            # Its own descriptors only: of no other session, and no socket of who started it.
            links = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
            other = next(item for item in sessions if item != session)
            assert not [link for link in links if link.startswith(str(other))]
            assert (str(session) in links) == (pid == supervisor)
        assert os.getsid(supervisor) == supervisor and os.getpgid(forwarder) == forwarder
        assert {os.getsid(about["pid"]) for about in found} == {about["pid"] for about in found}


def test_the_forwarder_is_executed_after_a_failure(site: Site) -> None:
    session = site.start()
    before = serves(session)
    assert _addresses(before["child"]) == _addresses(before["pid"])
    os.kill(before["child"], signal.SIGKILL)
    eventually(lambda: state(session)["restarts"] == 1 and status(session), "it was not restarted")
    after = serves(session)
    assert _addresses(after["child"]) != _addresses(before["pid"]) == _addresses(after["pid"])


def _addresses(pid: int) -> str:
    """Return a line that differs for each program that is executed."""
    return next(line for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if line.endswith("[vdso]"))


def test_the_forwarder_ends_with_its_supervisor(site: Site) -> None:
    with supervisors.starting_many():
        found = serves(site.start())
    started = start_time(found["child"])
    os.kill(found["pid"], signal.SIGKILL)
    eventually(lambda: not is_alive(found["child"], started), "it continues")
    (site.sessions.pop() / "supervisor.json").unlink()


def test_other_commands_and_broken_forwarders_are_executed(site: Site) -> None:
    with supervisors.starting_many():
        session = site.start("other", "sleep", "1000")
        eventually(lambda: state(session) and command_line(state(session)["child"]) == "sleep 1000 ", "it does not run")
        (site.programs / "s2ds/program.py").write_text("raise ValueError('broken')\n")
        broken = site.start("broken")
        eventually(lambda: state(broken) and "broken" in (broken / "log").read_text(), "it is not logged")


def test_a_long_command_line_is_recognizable(site: Site) -> None:
    with supervisors.starting_many():
        site.start("short", "sleep", "1000")
        long = site.start("long", "sleep", "1000", *["0"] * 3000)
        eventually(
            lambda: state(long) and command_line(state(long)["child"]).startswith("sleep 1000 0 0"), "it does not run"
        )
        assert f"supervise.py --directory {long} " in command_line(state(long)["pid"])


def test_an_earlier_supervisor_is_executed_each_time(site: Site) -> None:
    """It exits instead of taking orders."""
    program = site.programs / "supervise.py"
    program.write_text(
        program.read_text().replace(
            '    if len(arguments) == 2 and arguments[0] == "--orders":\n        return orders.serve()\n', ""
        )
    )
    with supervisors.starting_many():
        for session in [site.start("one"), site.start("two")]:
            serves(session)


def test_a_launcher_that_dies_fails_the_start(site: Site) -> None:
    orders = site.programs / "orders.py"
    orders.write_text(orders.read_text().replace("            answer = {}\n", "            sys.exit(1)\n"))
    with supervisors.starting_many(), pytest.raises(S2DSException, match="the supervisor of the data server cannot be"):
        site.start()


def test_names_of_modules_are_unique() -> None:
    """The supervisor has both directories in its path."""
    own = {path.name for path in (ROLES / "s2cs/files").glob("*.py")}
    assert not own & {path.name for path in (ROLES / "s2ds/files/s2ds").glob("*.py")}
