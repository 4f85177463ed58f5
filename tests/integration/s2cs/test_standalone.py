# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module s2ds: a data server without a control server."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import random
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2cs import instance, machine
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import COLLECTION
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, ask, connect, exchange


class Camera:
    """The data server `camera` in a state directory of its own."""

    def __init__(self, root: Path) -> None:
        self.address = instance.own_address()
        self.state = root / "state"
        self.directory = self.state / "sessions" / "s2ds-camera"
        programs = root / "programs"
        programs.mkdir()
        for program in (COLLECTION / "roles/s2cs/files").glob("*.py"):
            instance.install(program, programs)
        instance.install(COLLECTION / "roles/s2ds/files/s2ds", programs)
        self.options: dict[str, Any] = {
            "name": "camera",
            "state_dir": str(self.state),
            "program_dir": str(programs),
            "supervisor": "process",
            "dedicated_user": False,
            "encryption": "none",
        }

    def call(self, check: bool = False, **options: Any) -> dict[str, Any]:
        """Run the module."""
        return instance.call("s2ds", {**self.options, **options}, check)

    def done(self, **options: Any) -> dict[str, Any]:
        """Run the module in check mode and twice; return the result of doing it."""
        before = self.picture()
        predicted = self.call(check=True, **options)
        assert self.picture() == before
        result = self.call(**options)
        assert not result.get("failed"), result["msg"]
        assert predicted["changed"] == result["changed"]
        assert predicted["s2ds"]["state"] == result["s2ds"]["state"]
        again = self.call(**options)
        assert not again["changed"] and again["s2ds"]["state"] == result["s2ds"]["state"]
        return result

    def start(self, *targets: str, **options: Any) -> dict[str, Any]:
        """Have it started; returns the result."""
        return self.done(**{"listeners": [f"{self.address}:0"], "targets": list(targets), **options})

    def picture(self) -> tuple[Any, ...]:
        """Return all that a call can change."""
        files = {
            str(path): path.read_bytes()
            for path in sorted(self.state.rglob("*"))
            if path.is_file() and path.name != "log" and not path.name.startswith("counters.json")
        }
        return files, sorted(self.processes()), machine.listening(self.address)

    def processes(self) -> dict[int, str]:
        """Return its processes."""
        return machine.processes(f"{self.state}/")


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[Camera]:
    """A data server that is gone after the test."""
    found = Camera(tmp_path)
    yield found
    shutil.rmtree(found.directory.with_name("kept"), ignore_errors=True)
    result = found.call(state="absent")
    left = [found.processes(), machine.listening(found.address), list(found.state.glob("sessions/*"))]
    for pid in found.processes():
        machine.kill(pid)
    assert not result.get("failed"), result
    assert not any(left), left


def test_life(camera: Camera, application: Application, other_application: Application) -> None:
    started = camera.start(application.endpoint, port_range=[5100, 5110], rate="1Gbit")
    shown = started["s2ds"]
    listener = shown["listeners"][0]
    assert started["changed"] and shown["running"] and shown["targets"] == [application.endpoint]
    assert shown["rate"] == 10**9 and 5100 <= int(listener.rpartition(":")[2]) <= 5110
    with connect(listener) as established:
        assert ask(established, b"1") == b"one:1"
        changed = camera.start(other_application.endpoint, port_range=[5100, 5110], rate="1Gbit")
        assert changed["changed"] and changed["s2ds"]["listeners"] == [listener]
        assert exchange(listener) == b"two:hello" and ask(established, b"2") == b"2"
    stopped = camera.done(state="stopped")
    assert stopped["changed"] and stopped["s2ds"]["state"] == "stopped" and not camera.processes()
    assert exchange(listener) == b""
    again = camera.start(other_application.endpoint, port_range=[5100, 5110], rate="1Gbit")
    assert again["changed"] and again["s2ds"]["listeners"] == [listener]
    assert exchange(listener) == b"two:hello"
    absent = camera.done(state="absent")
    assert absent["changed"] and absent["s2ds"]["state"] == "absent" and not camera.directory.exists()


def test_check_mode_refuses_what_the_real_run_refuses(camera: Camera, application: Application) -> None:
    port = int(application.endpoint.rpartition(":")[2])
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"listeners": ["203.0.113.7:5100"]}, "203.0.113.7:5100 is not an address of this host"),
        ({"listeners": [application.endpoint]}, f"127.0.0.1:{port}, taken by PID {os.getpid()} "),
    ]
    if os.geteuid() == 0 and not _has_user("scistream-s2ds"):
        wrong.append(({"dedicated_user": True}, "there is no user scistream-s2ds"))
    for options, words in wrong:
        options = {"listeners": [f"{camera.address}:0"], "targets": [application.endpoint], **options}
        for check in (True, False):
            result = camera.call(check=check, **options)
            assert result.get("failed") and words in result["msg"], result
        assert not camera.processes() and not camera.directory.exists()
    wanted: dict[str, Any] = {
        "listeners": [f"{camera.address}:0"],
        "targets": [application.endpoint],
        "clients": ["127.0.0.0/8"],
    }
    predicted, done = camera.call(check=True, **wanted)["s2ds"], camera.call(**wanted)["s2ds"]
    assert predicted["listeners"] == wanted["listeners"] and predicted.keys() == done.keys()
    chosen = {"listeners": None, "counters": None}
    assert {**predicted, **chosen} == {**done, **chosen}


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


@pytest.mark.skipif(os.geteuid() != 0, reason="what others can write concerns root alone")
@pytest.mark.parametrize("program", ["supervise.py", "isolate.py", "s2ds/worker.py"])
def test_root_runs_nobody_elses_program(camera: Camera, application: Application, program: str) -> None:
    path = Path(str(camera.options["program_dir"])) / program
    shutil.chown(path, "nobody")
    for check in (True, False):
        result = camera.call(check, listeners=[f"{camera.address}:0"], targets=[application.endpoint])
        assert result["failed"] and f"program_dir: {path} belongs to nobody" in result["msg"]
    assert not camera.state.exists()
    shutil.chown(path, "root")
    camera.start(application.endpoint)


@pytest.mark.skipif(os.geteuid() != 0, reason="what others can write concerns root alone")
def test_root_keeps_nothing_where_others_can_write(camera: Camera, application: Application) -> None:
    camera.state.mkdir()
    shutil.chown(camera.state, "nobody")
    result = camera.call(listeners=[f"{camera.address}:0"], targets=[application.endpoint])
    assert result["failed"] and f"state_dir: {camera.state} belongs to nobody" in result["msg"]
    assert not list(camera.state.iterdir())
    camera.state.rmdir()


def test_other_listeners(camera: Camera, application: Application) -> None:
    first = camera.start(application.endpoint)["s2ds"]
    second = camera.start(application.endpoint, listeners=[f"{camera.address}:0"] * 2)["s2ds"]
    assert len(second["listeners"]) == 2
    assert [exchange(listener) for listener in second["listeners"]] == [b"one:hello"] * 2
    taken = socket.create_server((camera.address, 0))
    with taken:
        address = f"{camera.address}:{taken.getsockname()[1]}"
        result = camera.call(listeners=[address], targets=[application.endpoint])
        assert result["failed"] and address in result["msg"], result
    # What was there before stands.
    assert machine.listening(camera.address) == sorted(int(item.rpartition(":")[2]) for item in second["listeners"])
    assert [exchange(listener) for listener in second["listeners"]] == [b"one:hello"] * 2
    assert first["name"] == second["name"] == "s2ds-camera"


def test_stopped_and_absent_of_what_is_not_there(camera: Camera) -> None:
    result = camera.call(state="stopped")
    assert result["failed"] and "absent" in result["msg"]
    assert not camera.done(state="absent")["changed"]


def test_names_without_an_address(camera: Camera, application: Application) -> None:
    camera.start(f"localhost:{application.port}")
    missing = "no-such-host.invalid:7000"
    result = camera.call(listeners=[f"{camera.address}:0"], targets=[missing])
    assert result["failed"] and missing in result["msg"]
    assert camera.done(state="absent", targets=[missing])["changed"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name": 1, "more": 2}', '{"listeners": 5}'])
def test_record_that_cannot_be_read(camera: Camera, application: Application, text: str) -> None:
    camera.start(application.endpoint)
    (camera.directory / "instance.json").write_text(text)
    result = camera.call(listeners=[f"{camera.address}:0"])
    assert result["failed"] and "instance.json" in result["msg"] and "absent" in result["msg"], result
    assert camera.done(state="absent")["changed"]
    assert not camera.processes()


def test_killed_in_the_middle(camera: Camera, application: Application, other_application: Application) -> None:
    listener = camera.start(application.endpoint)["s2ds"]["listeners"][0]
    for number in range(10):
        server, name = ((application, b"one"), (other_application, b"two"))[number % 2]
        options = {**camera.options, "listeners": [f"{camera.address}:0"], "targets": [server.endpoint]}
        instance.start("s2ds", options).kill_after(random.uniform(0, 0.08))
        result = camera.call(**options)
        assert not result.get("failed") and result["s2ds"]["listeners"] == [listener]
        assert exchange(listener) == name + b":hello"


def test_configuration_that_was_written_and_not_loaded(
    camera: Camera, application: Application, other_application: Application
) -> None:
    """As if the last call had been killed between the two."""
    listener = camera.start(application.endpoint)["s2ds"]["listeners"][0]
    path = camera.directory / "s2ds.json"
    document = json.loads(path.read_text())
    document["listeners"][0]["target"] = ["127.0.0.1", other_application.port]
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    assert camera.start(other_application.endpoint)["changed"]
    assert exchange(listener) == b"two:hello"


def test_data_server_that_died(camera: Camera, application: Application) -> None:
    listener = camera.start(application.endpoint)["s2ds"]["listeners"][0]
    state = json.loads((camera.directory / "supervisor.json").read_text())
    for victim in ("pid", "child"):
        # The death of the first one may have ended the other.
        with contextlib.suppress(ProcessLookupError):
            os.kill(state[victim], signal.SIGKILL)
    machine.eventually("all processes ended", lambda: not camera.processes())
    mended = camera.start(application.endpoint)
    assert mended["changed"] and mended["s2ds"]["listeners"] == [listener]
    assert exchange(listener) == b"one:hello"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("name", value) for value in ("", "../x", "a/b", "a\nb", "x" * 41, "-a", "Ä", "a b", "camera\n")),
        *(("listeners", value) for value in ([], ["127.0.0.1"], ["0.0.0.0:0"], ["[::]:0"], ["localhost:0"])),
        *(
            ("listeners", value)
            for value in (["127.0.0.1:99999"], ["127.0.0.1:0\n"], ["224.0.0.1:0"], ["[fe80::1%lo]:0"])
        ),
        *(("listeners", value) for value in (["127.0.0.1:-1"], ["127.0.0.1:5100"] * 2)),
        *(("targets", value) for value in (["127.0.0.1:0"], ["x\ny:1"], ["127.0.0.1:1", "127.0.0.1:2"], [""])),
        *(("clients", value) for value in (["127.0.0.1/8"], ["any"], ["::1%\nx"], [""])),
        *(("egress", value) for value in ("", "eth0", "0.0.0.0", "::1%lo", "127.0.0.1\n")),
        *(("rate", value) for value in ("0", "fast", "-1")),
        *(("port_range", value) for value in ([], [5100], [5200, 5100], [0, 1], [1, 65536], [1, 2, 3])),
        *(("settings", value) for value in ({"pipe": 1}, {"pipe_size": "x"}, {"workers": -1}, {"congestion": "\n"})),
    ],
    ids=lambda item: ascii(item)[:30],
)
def test_refused(camera: Camera, option: str, value: Any) -> None:
    before = camera.picture()
    options = {"listeners": [f"{camera.address}:0"], "targets": [], option: value}
    result = camera.call(**options)
    assert result.get("failed"), result
    assert (result["msg"].isprintable() and option in result["msg"]) or next(iter(value)) in result["msg"]
    assert camera.picture()[1:] == before[1:] and not list(camera.state.glob("sessions/*"))
