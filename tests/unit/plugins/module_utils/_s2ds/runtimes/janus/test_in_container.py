# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes into a container and what comes out of it: run by a real shell, without any container."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus import in_container
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus.runtime import session_name

NONCE = "00ff"
HEADER = (
    "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,dcon,dses"
)


def test_a_configuration_arrives_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_container, "DIRECTORY", str(tmp_path / "there"))
    content = bytes(range(256)) * 300
    arguments = in_container.start_command(["sh", "-c", 'cat a.cfg; echo "$1"', "sh", "it's $HOME"], {"a.cfg": content})
    done = subprocess.run(shlex.split(arguments), capture_output=True, check=True)
    assert done.stdout == content + b"it's $HOME\n"
    assert (tmp_path / "there" / "run").is_dir()
    assert (tmp_path / "there").stat().st_mode & 0o777 == 0o700


def test_the_order_of_files_does_not_matter() -> None:
    files = {"a": b"1", "b": b"2"}
    again = dict(reversed(files.items()))
    assert in_container.start_command(["x"], files) == in_container.start_command(["x"], again)


def test_only_a_report_that_is_complete_counts() -> None:
    lines = ["noise", f"scistream:{NONCE}:one\r", "scistream:other:two", "noise", f"scistream:{NONCE}:end"]
    assert in_container.own_lines(lines, NONCE) == ["one"]
    assert in_container.own_lines(lines[:-1], NONCE) is None
    assert in_container.own_lines([], NONCE) is None
    assert in_container.other_lines(lines) == ["noise", "noise"]


def test_counters() -> None:
    said = [
        "listening 0100007F:13EC",
        "Uptime_sec: 12",
        HEADER,
        "listener0,FRONTEND,,,1,2,1024,5,700,800,0,0,0,,,,,OPEN,3,4",
        "listener0,BACKEND,0,0,0,0,1,2,700,800,0,0,,6,0,0,0,UP,,",
        "listener1,FRONTEND,,,2,2,1024,6,70,80,0,0,0,,,,,OPEN,0,0",
    ]
    report = in_container.parse(said)
    assert report.listens and not report.closed and report.counters is not None
    assert report.counters["connections"] == {"open": 3, "total": 11, "refused": 7, "failed": 6}
    assert report.counters["bytes"] == {"to_consumer": 880, "to_producer": 770}
    assert in_container.parse([line.replace("OPEN", "STOP") for line in said]).closed


@pytest.mark.parametrize("said", [[], ["listening"], ["listening", "Uptime_sec: x", HEADER]])
def test_a_container_that_serves_nothing(said: list[str]) -> None:
    assert not in_container.parse(said).listens


def test_an_image_that_has_nothing_to_ask_with() -> None:
    report = in_container.parse(["listening 0100007F:13EC"])
    assert report.listens and report.counters is None and not report.closed


@pytest.mark.parametrize(
    ("instance", "name"),
    [
        ("producer-0a-1b", "scistream-0a-1b-producer"),
        ("consumer-0a-1b", "scistream-0a-1b-consumer"),
        ("something-else", "scistream-something-else"),
    ],
)
def test_names(instance: str, name: str) -> None:
    assert session_name(instance) == name
