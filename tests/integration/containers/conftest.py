# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the tests with a container engine: the real one of this machine, or these tests fail."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.containers.harness import (
    KINDS,
    PROXIES,
    RUNTIMES,
    left_on_engine,
    offer,
)
from ansible_collections.scistream.gateway.tests.integration.containers.ssh import engine_over_ssh
from ansible_collections.scistream.gateway.tests.integration.proxies.harness import policy
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS
from ansible_collections.scistream.gateway.tests.testbed.__main__ import CACHE
from ansible_collections.scistream.gateway.tests.testbed.engine import docker, ensure_engine
from ansible_collections.scistream.gateway.tests.testbed.proxies import images as make_images


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """The images of the proxies, made if they are not there."""
    # To import the SDK takes longer than most calls, which are processes that have what this one has.
    importlib.import_module("docker")
    ensure_engine(CACHE)
    return make_images(CACHE)


@pytest.fixture
def make_gateway(
    make_s2cs: Callable[..., S2CS], images: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., S2CS]]:
    """Make an S2CS that offers all proxies in containers; nothing of it may be left on the engine."""
    made: list[S2CS] = []

    def make(settings: dict[str, Any] | None = None, **keys: Any) -> S2CS:
        given = {**policy(tmp_path_factory.mktemp("templates")), "proxies": offer(images, **(settings or {})), **keys}
        made.append(make_s2cs(**given))
        return made[-1]

    yield make
    left: list[str] = []
    for s2cs in made:
        for uid in sorted({row[0] for row in s2cs.rows()}):
            s2cs.call("release", uid=uid)
        for what in left_on_engine(s2cs):
            left.append(what)
            kind, name = what.split()
            docker(kind, "rm", "--force", name)
    assert not left, f"left on the engine: {left}"


@pytest.fixture
def gateway(make_gateway: Callable[..., S2CS]) -> S2CS:
    """An S2CS that offers all proxies in containers."""
    return make_gateway()


@pytest.fixture(params=PROXIES)
def proxy(request: pytest.FixtureRequest) -> str:
    """Each proxy in turn."""
    return str(request.param)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each proxy in turn, without and with encryption."""
    return str(request.param)


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    """Each runtime that makes containers."""
    return str(request.param)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of this machine's engine over an SSH server of our own; the client's home is of the test as well."""
    with engine_over_ssh(tmp_path, monkeypatch) as address:
        yield address
