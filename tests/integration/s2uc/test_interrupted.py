# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls that are lost on their way to a gateway or back, and runs that somebody ends in the middle."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import stream_uid
from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import PLAYBOOK, Outcome, Site

# In the place of ssh: runs on this machine what it is told, but for the calls whose numbers are in a file. Of these it
# loses the way there, or the way back, or it takes its time.
_SSH = """#!/bin/sh
for word; do [ "$word" = -O ] && exit 0; done
cd {directory}
echo >>calls
number=$(wc -l <calls)
if grep -qx $number lost; then
    case $(cat how) in
        back) /bin/sh -c "$word" >/dev/null ;;
        slow) exec sleep 60 ;;
    esac
    echo 'Connection closed by remote host' >&2
    exit 255
fi
exec /bin/sh -c "$word"
"""


class Line:
    """A gateway gw-b that is reached over a line which loses calls."""

    def __init__(self, site: Site, directory: Path) -> None:
        self.site = site
        self.directory = directory
        program = directory / "ssh"
        program.write_text(_SSH.format(directory=directory))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        away = {**site.host("gw-b"), "ansible_connection": "ssh", "ansible_host": "127.0.0.1"}
        away["ansible_ssh_executable"] = str(program)
        self.inventory = site.write("line.yml", site.hosts("gw-a", **{"gw-b": away}))
        self.streams = [site.stream("tomography")]
        self.uid = stream_uid("tomography", "gw-a", "gw-b")

    def loses(self, how: str, *numbers: int) -> None:
        """Lose the calls with these numbers, counted from now on."""
        (self.directory / "calls").write_text("")
        (self.directory / "how").write_text(how)
        (self.directory / "lost").write_text("".join(f"{number}\n" for number in numbers))

    def open(self) -> Outcome:
        return self.site.play("stream_open", inventory=self.inventory, streams=self.streams)

    @property
    def calls(self) -> int:
        return len((self.directory / "calls").read_text().splitlines())


@pytest.fixture
def line(site: Site, tmp_path: Path) -> Line:
    return Line(site, tmp_path)


@pytest.mark.parametrize("how", ["there", "back"])
def test_a_call_that_is_lost_is_repeated(line: Line, how: str) -> None:
    # REQ, and after its repetition HELLO and UPDATE.
    line.loses(how, 1, 3)
    outcome = line.open()
    assert outcome.status == 0, outcome.output
    assert line.site.sessions() == ["gw-a/producer", "gw-b/consumer"]
    assert line.calls == 4


def test_sessions_of_a_gateway_that_is_cut_off_are_named(line: Line) -> None:
    line.loses("there", *range(2, 20))
    message = line.open().message
    assert line.site.sessions() == ["gw-b/consumer"]
    assert message.splitlines()[0] == "The streams were not opened."
    assert "opened: producer of tomography on gw-a" in message
    assert "WARNING: gw-b: the consumer session of tomography still exists" in message
    # The command that is named does release it.
    line.loses("there")
    command = message.rpartition("To release it: ansible-playbook ")[2].split()
    assert command == ["-i", str(line.inventory), "scistream.gateway.stream_release", "-e", f"uid={line.uid}"]
    line.site.ok("stream_release", inventory=line.inventory, uid=line.uid)
    assert line.site.sessions() == []


def test_what_a_lost_request_made_is_released(line: Line) -> None:
    line.loses("back", 1, 2)
    message = line.open().message
    assert "opened: producer of tomography on gw-a, consumer of tomography on gw-b" in message
    assert line.site.sessions() == []


def test_an_open_stream_survives_a_gateway_that_is_cut_off(line: Line) -> None:
    line.loses("there")
    assert line.open().status == 0
    line.loses("there", *range(2, 20))
    message = line.open().message
    assert message.splitlines()[0] == "The streams were not changed. Still open as before: tomography."
    assert "WARNING" not in message and "Released" not in message
    assert line.site.sessions() == ["gw-a/producer", "gw-b/consumer"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_releases_what_it_opened(line: Line, number: signal.Signals) -> None:
    # HELLO does not come back.
    line.loses("slow", 2)
    output = _interrupted(line, number)
    assert "The run was interrupted while it opened streams. The sessions that it had opened were released." in output
    assert line.site.sessions() == []


def test_a_run_that_is_interrupted_names_what_it_cannot_release(line: Line) -> None:
    line.loses("slow", *range(2, 20))
    output = _interrupted(line, signal.SIGINT)
    assert "The run was interrupted while it opened streams" in output
    assert f"gw-b: the consumer session {line.uid} is open" in output
    assert "gw-a: " not in output.partition("The run was interrupted")[2]
    assert f"stream_release -e uid={line.uid}" in output
    assert line.site.sessions() == ["gw-b/consumer"]


def _interrupted(line: Line, number: signal.Signals) -> str:
    """Interrupt a run at the second call to gw-b; return what it said."""
    command = [PLAYBOOK, "-i", str(line.inventory), "scistream.gateway.stream_open", "-e", f"@{_description(line)}"]
    environment = {**os.environ, "HOME": str(line.site.home), "ANSIBLE_CONFIG": str(line.site.configuration)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        deadline = time.monotonic() + 120
        while line.calls < 2:
            assert run.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        run.send_signal(number)
        output, _nothing = run.communicate(timeout=60)
    print(output)
    assert run.returncode != 0
    return output


def _description(line: Line) -> Path:
    return line.site.write("interrupted.yml", {"streams": line.streams})
