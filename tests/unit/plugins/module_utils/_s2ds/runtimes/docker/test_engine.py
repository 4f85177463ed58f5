# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Engines that hang, never end or talk nonsense hold nobody up; what an engine tells of a container, in words."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker import client as engine_client
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker import inspection
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.client import Timeouts
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.engine import Engine
from ansible_collections.scistream.gateway.tests.unit.plugins.module_utils._s2ds.runtimes.docker.hostile_engine import (
    WAYS,
    HostileEngine,
)

SHORT = Timeouts(connect=1.0, look=1.0, act=1.5)
QUESTIONS: list[Callable[[Engine], Any]] = [
    lambda engine: engine.container("x"),
    lambda engine: engine.log("x", 10),
    lambda engine: engine.security(),
    lambda engine: engine.create("x", image="y"),
    lambda engine: engine.get("x", "/y"),
    lambda engine: engine.labelled(name="x"),
]


@pytest.fixture
def path() -> Iterator[Path]:
    """A path for a socket, which may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="scistream-") as directory:
        yield Path(directory, "engine.sock")


@pytest.mark.parametrize("way", sorted(WAYS))
def test_an_engine_that_does_not_answer(path: Path, way: str) -> None:
    for question in QUESTIONS:
        engine_client._silent.clear()
        with HostileEngine(path, way) as hostile:
            began = time.monotonic()
            try:
                # To an error it is all the same what is in it.
                assert question(Engine(hostile.address, SHORT)) is not None
            except S2DSException as error:
                assert hostile.address in str(error) and str(error).isprintable() and len(str(error)) < 600
            assert time.monotonic() - began < 5
        path.unlink()


@pytest.mark.parametrize("way", ["hang", "dribble", "slow head", "endless", "garbage", "a list"])
def test_what_is_no_engine_at_all(path: Path, way: str) -> None:
    with HostileEngine(path, way, greets=False) as hostile, pytest.raises(S2DSException, match="does not answer"):
        Engine(hostile.address, SHORT).ping()


def test_one_that_is_silent_is_not_asked_again_at_once(path: Path) -> None:
    with HostileEngine(path, "hang") as hostile:
        for _session in range(20):
            with pytest.raises(S2DSException, match="answer"):
                Engine(hostile.address, SHORT).container("x")
            if not _session:
                began = time.monotonic()
        assert time.monotonic() - began < 1


def test_what_a_container_wrote_before_it_was_started_is_no_reason() -> None:
    lines = [
        ("2026-01-01T00:00:00.000000000Z", "of last year"),
        ("2026-11-25T10:00:00.100000000Z", "[emerg] why it ended"),
        ("2026-11-25T10:00:05.250000000Z", "started"),
    ]
    state = {"StartedAt": "2026-11-25T10:00:05.2Z", "FinishedAt": "2026-11-25T10:00:01Z"}
    assert inspection.recent_output({"State": state}, lines) == ["started"]
    assert inspection.recent_output({"State": state}, lines[:2]) == []
    # It was started again a moment ago, and what it said at its end is the reason.
    assert inspection.recent_output({"State": state, "RestartCount": 1}, lines[:2]) == ["[emerg] why it ended"]


def test_times() -> None:
    whole = inspection.timestamp("2026-11-25T10:00:05Z")
    assert inspection.timestamp("2026-11-25T10:00:05.000000001Z") == whole + 1
    assert inspection.timestamp("2026-11-25T10:00:05.5Z") == whole + 500000000
    assert inspection.timestamp("0001-01-01T00:00:00Z") < 0 < whole
    for text in ("", "x.y", "2026-13-40T10:00:05Z", "2026-11-25T10:00:05+01:00"):
        assert inspection.timestamp(text) == 0


@pytest.mark.parametrize(
    ("state", "word", "running"),
    [
        ({"Running": True}, "", True),
        ({"Running": True, "Paused": True, "Status": "paused"}, "is paused", False),
        (
            {"Running": True, "Restarting": True, "Status": "restarting", "ExitCode": 1},
            "restarting, exit status 1",
            False,
        ),
        ({"Running": False, "Status": "exited", "ExitCode": 137, "OOMKilled": True}, "out of memory", False),
    ],
)
def test_states_in_words(state: dict[str, Any], word: str, running: bool) -> None:
    assert inspection.is_serving({"State": state}) == running
    assert word in inspection.explain("name", {"State": state}, "unix:///x")
