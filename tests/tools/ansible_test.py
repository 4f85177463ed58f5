# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ansible-test: a home of its own, and interpreters that it can use."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from pathlib import Path
from typing import Iterator, Sequence

import environment
from interpreters import CONTROLLER, TARGETS, targets
from job import Job
from layout import CACHE, Failure, locked

HOME = CACHE / "ansible-test"
# ansible-test fetches a script that puts pip into its environments, by this name, from a host that many
# machines cannot reach. Python brings a pip along that does as well.
GET_PIP = ("get_pip_25_2.py", "get_pip_24_2.py")
STAND_IN = """\
import ensurepip
ensurepip.bootstrap()
"""
# What runs on gateways, and what runs on the control node alone.
ON_GATEWAYS = "tests/unit/plugins/module_utils/"
ON_THE_CONTROL_NODE = "tests/unit/plugins/plugin_utils/"
# The programs of gateways, which ansible-test takes for something of the control node.
PROGRAMS = "tests/unit/roles"
WORKERS = 2
# The Pythons that ansible-test of the newest ansible-core has given up, and the environment of the one that has not.
GIVEN_UP, OLDER = ("3.8",), "core-2.19"
# No other Python than those that are put in front of it.
SYSTEM = "/usr/bin:/bin:/usr/sbin:/sbin"


def sanity(job: Job) -> None:
    """Run all sanity tests of the installed ansible-core, gateway code with every Python that is there.

    What is not shipped is left to the parts ruff, mypy and nox.
    """
    with _prepared(job) as (env, found):
        job.run("ansible-test", "sanity", "--color", "no", "--exclude", "tests/", env=env)
    lacking = _lacking(job, found)
    text = job.log.read_text(encoding="utf-8", errors="replace")
    for line in sorted(set(re.findall(r"^WARNING: (Skipping .*)$", text, re.M))):
        if not any(version in line for version in lacking):
            job.notes.append(line)


def units(job: Job) -> None:
    """Run the unit tests of gateway code with the oldest Python that is there; the part unit has a new one."""
    with _prepared(job) as (env, found):
        _units(job, env, [version for version in TARGETS if version in found][:1])
    _lacking(job, found)


def units_all(job: Job) -> None:
    """Run the unit tests of gateway code with every Python that is there."""
    with _prepared(job) as (env, found):
        _units(job, env, [version for version in TARGETS if version in found])
    _lacking(job, found)


def _units(job: Job, env: dict[str, str], versions: Sequence[str]) -> None:
    """Gateway code with each of the Pythons, its programs with the oldest, the control node's with the newest."""
    if not versions:
        raise Failure("nothing to run: no Python on this machine can make the environments of ansible-test")
    newest = next((version for version in CONTROLLER if version in versions[1:]), None)
    asked = job.workspace.arguments
    output = job.workspace.collection / "tests" / "output"
    for version in versions:
        where = asked or [ON_GATEWAYS, *([ON_THE_CONTROL_NODE] if version == newest else [])]
        options = ["--color", "no", "--num-workers", WORKERS, "--target-python", f"venv/{version}"]
        done = job.run("ansible-test", "units", *options, *where, env=_with_core_for(version, env))
        found = sorted((output / "junit").glob("python*-units.xml"))
        if done and not asked and len(found) != len(where):
            job.errors.append(f"not all tests ran with Python {version}")
        for report in found:
            job.count(report)
            report.unlink()
        if version == versions[0] and not asked:
            # In the environment that ansible-test made.
            python = (
                job.workspace.collection / "tests" / "output" / ".tmp" / "delegation" / f"python{version}/bin/python"
            )
            job.pytest(PROGRAMS, "-n", WORKERS, python=python)


def _with_core_for(version: str, env: dict[str, str]) -> dict[str, str]:
    """Put an ansible-test in front that still knows this Python."""
    if version not in GIVEN_UP:
        return env
    older = str(environment.environment(OLDER) / "bin")
    return {**env, "PATH": os.pathsep.join([older, env["PATH"]])}


@contextlib.contextmanager
def _prepared(job: Job) -> Iterator[tuple[dict[str, str], dict[str, Path]]]:
    """Give the environment for ansible-test and the interpreters that it finds in it; one run has it at a time."""
    env = job.workspace.env
    with locked(HOME.with_name("ansible-test.lock")):
        cache = HOME / ".ansible" / "test" / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        for name in GET_PIP:
            (cache / name).write_text(STAND_IN, encoding="utf-8")
        _pip_settings(env)
        found = _interpreters(job.scratch / "bin")
        path = os.pathsep.join([str(Path(env["VIRTUAL_ENV"], "bin")), str(job.scratch / "bin"), SYSTEM])
        yield {"HOME": str(HOME), "PATH": path}, found


def _lacking(job: Job, found: dict[str, Path]) -> list[str]:
    """Tell which Pythons of gateways this machine does not have."""
    lacking = [version for version in TARGETS if version not in found]
    if lacking:
        job.notes.append(f"gateway code was not tried with Python {', '.join(lacking)}: not on this machine")
    return lacking


def _interpreters(directory: Path) -> dict[str, Path]:
    """Put the real interpreters, and no version manager's shims, in a directory for PATH."""
    found = targets()
    directory.mkdir()
    for version, python in found.items():
        (directory / f"python{version}").symlink_to(python)
    return found


def _pip_settings(env: dict[str, str]) -> None:
    """Keep the user's settings of pip (index, certificates), which ansible-test would not see in its home."""
    command = [str(Path(env["VIRTUAL_ENV"], "bin", "pip")), "config", "list"]
    listed = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout
    settings = re.findall(r"^(?::env:|global|install)\.([\w-]+)='(.*)'$", listed, re.M)
    unique = {key: value.replace("\\n", "\n    ") for key, value in settings}
    file = HOME / ".config" / "pip" / "pip.conf"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in unique.items()), encoding="utf-8")
    file.chmod(0o600)
