# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pinned requirements: versions and hashes of all that goes into an environment, for every Python it is made with."""

from __future__ import annotations

import subprocess
from typing import Mapping

from layout import ROOT, Failure

# What is resolved, and the oldest Python that it is for. The first is the widest: the others agree with it.
RESOLVED = {
    "requirements/test": "3.11",
    "requirements/demo": "3.11",
    "requirements/containers": "3.11",
    "requirements/eda": "3.11",
    "requirements/applications": "3.11",
    "requirements/reuse": "3.11",
    "requirements/core-2.18": "3.11",
    "requirements/core-2.19": "3.11",
    "requirements/core-2.20": "3.12",
    "requirements/core-2.22": "3.13",
    "tests/janus/build": "3.11",
}
# Lists whose versions do not agree by what the packages say, but work: they get hashes and nothing else.
LISTED = {"tests/janus/controller": "3.11"}
# ansible-core 2.22 is a release candidate.
CANDIDATES = ("requirements/core-2.22",)


def renew(env: Mapping[str, str], upgrade: bool) -> None:
    """Write the pins anew: with the same versions where they still do, or with the newest ones."""
    for name, python in {**RESOLVED, **LISTED}.items():
        source = f"{name}.txt" if name in LISTED else f"{name}.in"
        options = ["--upgrade"] if upgrade and name in RESOLVED else []
        options += ["--no-deps"] if name in LISTED else []
        options += ["--prerelease=allow"] if name in CANDIDATES else []
        if name in ("requirements/demo", "requirements/containers"):
            options += ["--constraint", "requirements/test.txt"]
        command = ["uv", "--quiet", "--no-python-downloads", "pip", "compile", "--universal"]
        command += ["--python-version", python, "--generate-hashes", "--no-annotate"]
        command += [*options, source, "--output-file", f"{name}.txt"]
        print(f"{name}.txt", flush=True)
        if subprocess.call(command, cwd=str(ROOT), env={**env, "UV_CUSTOM_COMPILE_COMMAND": "make pins"}):
            raise Failure(f"This failed: {' '.join(command)}")
