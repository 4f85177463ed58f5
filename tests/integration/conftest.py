# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the integration tests; whatever a test does, nothing of it may be left when it ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2cs import machine
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application


@pytest.fixture(scope="session", autouse=True)
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have modules on gateways that are on this machine compiled once (see bytecode/sitecustomize.py)."""
    os.environ["SCISTREAM_TEST_BYTECODE"] = str(tmp_path_factory.mktemp("bytecode"))
    path = [str(Path(__file__).parent / "bytecode"), os.environ.get("PYTHONPATH")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))


@pytest.fixture(scope="session", autouse=True)
def nothing_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """End, and count as a failure, whatever still runs below the directories of the tests at the end of the run."""
    yield
    left = machine.processes(f"--directory {tmp_path_factory.getbasetemp()}/")
    for pid in left:
        machine.kill(pid)
    assert not left, f"processes were left: {left}"


@pytest.fixture
def door() -> str:
    """How an S2CS is reached: through the modules, or, where tests are parametrized with it, through the service."""
    return "modules"


@pytest.fixture
def make_s2cs(tmp_path: Path, door: str) -> Iterator[Callable[..., S2CS]]:
    """Make S2CS instances that are removed with the test."""
    made: list[S2CS] = []

    def make(**policy: Any) -> S2CS:
        made.append(S2CS(tmp_path / f"gateway-{len(made)}", **policy))
        if door == "service":
            made[-1].serve()
        return made[-1]

    yield make
    problems = [problem for s2cs in made for problem in s2cs.remove()]
    assert not problems, f"left after release: {problems}"


@pytest.fixture
def s2cs(make_s2cs: Callable[..., S2CS]) -> S2CS:
    """An S2CS."""
    return make_s2cs()


@pytest.fixture
def application() -> Iterator[Application]:
    """An application that listens."""
    with Application("one") as server:
        yield server


@pytest.fixture
def other_application() -> Iterator[Application]:
    """Another application that listens."""
    with Application("two") as server:
        yield server
