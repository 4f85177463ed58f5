# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every option of every module, also those that are added later, with values of somebody who means harm.

Either the call is refused, on one readable line that names the option, and nothing has changed; or the value was
allowed, and nothing of it stands in a configuration that could mean more than itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from ansible_collections.scistream.gateway.tests.integration.hostile import entry_points, values
from ansible_collections.scistream.gateway.tests.integration.hostile.scenarios import Scene

OPTIONS = [(module, option) for module in entry_points.MODULES for option in sorted(entry_points.options_of(module))]
# In a configuration, a path, a command or a unit these end what was meant and begin something else.
MEANING = re.compile(r"[\s;|&$`'\"\\{}<>#*?~!%\x00-\x1f\x7f]|\.\./")
# Ansible's own words about types, choices and missing options, and about a null character that it cannot log.
ANSIBLE = re.compile(
    "value of \\w+ must be one of|is of type|unable to convert|cannot be converted|missing required|are required|"
    "is required|dictionary requested|unable to evaluate|Elements value|could not be|mutually exclusive|"
    "Unsupported parameters|missing parameter|Failed to log to syslog"
)
# What only a call is told whose values are all allowed: there is no engine, and others may not enter the directories.
ALLOWED = re.compile(r"no-engine\.sock|Permission denied|there is no /[a-z0-9/.]*: run the role")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A directory of its own, in which relative paths end as well."""
    for name in ("home", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    yield
    strays = [path for name in ("home", "work") for path in (tmp_path / name).iterdir()]
    assert not strays, f"a value made files where none belong: {strays}"


def texts(value: Any) -> Iterator[str]:
    """Return all texts in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value:
            yield from texts(item)
        if isinstance(value, dict):
            yield from texts(list(value.values()))


def check(scene: Scene, option: str, value: Any) -> None:
    """Call the module with one value in the place of a good one, as if there had been no other call before."""
    if not scene.ready:
        scene.start_anew()
    scene.ready = False
    judge(scene, option, value)
    scene.ready = True


def judge(scene: Scene, option: str, value: Any) -> None:
    """Call the module, and judge what comes of it."""
    spec = entry_points.options_of(scene.module)[option]
    before = scene.picture()
    # Many a path is allowed to root, and must not be used here.
    writes = option == "state_dir" or (scene.module, option) == ("s2cs_policy", "config")
    result, output = entry_points.run(scene.module, {**scene.options(), option: value}, check=writes)
    assert "Traceback" not in output and "MODULE FAILURE" not in output, output
    if spec.get("no_log") and isinstance(value, str) and len(value.strip()) > 8:
        assert value not in output, f"{option} is in the output: {output}"
    if not result.get("failed"):
        for text in texts(value):
            if MEANING.search(text.strip()):
                assert not [written for written in scene.written() if text in written], f"{value!r} got through"
        scene.start_anew()
        return
    assert scene.picture() == before, f"{option}: {value!r} was refused, and something changed all the same"
    message = str(result["msg"])
    if not ANSIBLE.search(message):
        assert message.isprintable() and len(message) < 1000, message
        assert option in message or ALLOWED.search(message), f"{option}: {value!r}: {message}"


@pytest.fixture(scope="module")
def scenes() -> Iterator[dict[str, Scene]]:
    """Modules that are ready to be called; each test leaves its own so."""
    made: dict[str, Scene] = {}
    yield made
    problems = []
    for scene in made.values():
        scene.start_anew()
        problems += scene.s2cs.remove()
    assert not problems, problems


@pytest.fixture
def scene(request: pytest.FixtureRequest, scenes: dict[str, Scene], tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """The module of a test."""
    if request.param not in scenes:
        scenes[request.param] = Scene(request.param, tmp_path_factory.mktemp(request.param))
    return scenes[request.param]


@pytest.mark.parametrize(("scene", "option"), OPTIONS, indirect=["scene"])
def test_known_attacks(scene: Scene, option: str) -> None:
    for value in values.corpus(entry_points.options_of(scene.module)[option].get("type", "str")):
        check(scene, option, value)


@pytest.mark.parametrize(("scene", "option"), OPTIONS, indirect=["scene"])
@settings(
    max_examples=25,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(value=values.ANY)
def test_anything(scene: Scene, option: str, value: Any) -> None:
    check(scene, option, value)


@pytest.mark.parametrize("scene", entry_points.MODULES, indirect=True)
def test_the_call_without_an_attack(scene: Scene) -> None:
    """What the other tests change one value of is a call that works, or they would show nothing."""
    result, _output = entry_points.run(scene.module, scene.options())
    if scene.module == "proxy_container":
        assert "no-engine.sock" in result["msg"]
    else:
        assert not result.get("failed"), result
    scene.start_anew()
