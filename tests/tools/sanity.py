# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ansible-test sanity: a home of its own, and interpreters that it can use."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from interpreters import TARGETS, targets
from job import Job
from layout import CACHE, locked

HOME = CACHE / "ansible-test"
# ansible-test fetches a script that puts pip into its environments, by this name, from a host that many
# machines cannot reach. Python brings a pip along that does as well.
GET_PIP = ("get_pip_24_2.py", "get_pip_23_1_2.py")
STAND_IN = """\
import ensurepip
ensurepip.bootstrap()
"""


def sanity(job: Job) -> None:
    """Run all sanity tests of the installed ansible-core, gateway code with every Python that is there."""
    env = job.workspace.env
    with locked(HOME.with_name("ansible-test.lock")):
        cache = HOME / ".ansible" / "test" / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        for name in GET_PIP:
            (cache / name).write_text(STAND_IN, encoding="utf-8")
        _pip_settings(env)
        found = _interpreters(job.scratch / "bin")
        path = os.pathsep.join([str(Path(env["VIRTUAL_ENV"], "bin")), str(job.scratch / "bin"), "/usr/bin", "/bin"])
        job.run("ansible-test", "sanity", "--color", "no", env={"HOME": str(HOME), "PATH": path})
    lacking = [version for version in TARGETS if version not in found]
    if lacking:
        job.notes.append(f"gateway code was not tried with Python {', '.join(lacking)}: not on this machine")
    text = job.log.read_text(encoding="utf-8", errors="replace")
    for line in sorted(set(re.findall(r"^WARNING: (Skipping .*)$", text, re.M))):
        if not any(version in line for version in lacking):
            job.notes.append(line)


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
