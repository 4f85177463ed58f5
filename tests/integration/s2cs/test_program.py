# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module s2cs_program: the program and its library come with what Ansible sends, as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import installation
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import call

PYTHON = sys.executable


def install(directory: Path, check: bool = False, interpreter: str = PYTHON) -> dict[str, Any]:
    """Run the module."""
    return call("s2cs_program", {"directory": str(directory), "interpreter": interpreter}, check)


def version(directory: Path) -> str:
    """Run the program."""
    return subprocess.run([directory / "s2cs", "--version"], check=True, capture_output=True, text=True).stdout


def test_install(tmp_path: Path) -> None:
    assert install(tmp_path, check=True)["changed"] and not os.listdir(tmp_path)
    before = os.umask(0o077)
    try:
        first = install(tmp_path)
    finally:
        os.umask(before)
    assert first["changed"] and first["version"] == VERSION and first["path"] == str(tmp_path / "s2cs")
    assert VERSION in version(tmp_path)
    assert not install(tmp_path)["changed"] and not install(tmp_path, check=True)["changed"]
    assert list((tmp_path / "lib").rglob("*.pyc"))
    for path in tmp_path.rglob("*"):
        assert path.stat().st_mode & 0o755 == (0o755 if path.is_dir() or path.name == "s2cs" else 0o644), path


def test_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs goes on with its own version until the next one comes."""
    install(tmp_path)
    states = []
    for number in range(3):
        states.append(os.readlink(tmp_path / "lib"))
        monkeypatch.setattr(installation, "VERSION", f"99.{number}")
        assert install(tmp_path)["changed"]
        assert VERSION in version(tmp_path)
        found = {path.name for path in tmp_path.iterdir() if path.name.startswith("lib-")}
        assert found == {states[-1], os.readlink(tmp_path / "lib")}


def test_damaged(tmp_path: Path) -> None:
    install(tmp_path)
    next((tmp_path / "lib").rglob("action_runner.py")).write_text("")
    assert install(tmp_path)["changed"] and not install(tmp_path)["changed"]
    (tmp_path / "s2cs").unlink()
    assert install(tmp_path)["changed"] and not install(tmp_path)["changed"]


def test_directory_that_is_not_there(tmp_path: Path) -> None:
    result = install(tmp_path / "none")
    assert result["failed"] and str(tmp_path / "none") in result["msg"]
    wrong = install(tmp_path, interpreter=str(tmp_path / "python"))
    assert wrong["failed"] and str(tmp_path / "python") in wrong["msg"] and not (tmp_path / "s2cs").exists()


def test_sent_by_ansible(tmp_path: Path) -> None:
    """The archive that Ansible sends has everything that the program needs."""
    task = ["ansible", "localhost", "-c", "local", "-m", "scistream.gateway.s2cs_program"]
    arguments = ["-a", f"directory={tmp_path} interpreter={PYTHON}", "-e", f"ansible_python_interpreter={PYTHON}"]
    done = subprocess.run([*task, *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done
    sent = {path.name for path in (tmp_path / "lib").rglob("*.py")}
    assert {"commands.py", "backend.py", "frontend.py", "haproxy.py", "nginx.py", "dockersock.py"} <= sent
    for command in ("--version", "info", "act", "serve", "expire"):
        more = [] if command == "--version" else ["--help"]
        assert subprocess.run([tmp_path / "s2cs", command, *more], check=False, capture_output=True).returncode == 0
    missing = subprocess.run(
        [tmp_path / "s2cs", "expire", "--config", "/nowhere/s2cs.json"], check=False, capture_output=True, text=True
    )
    assert missing.returncode == 1 and "/nowhere/s2cs.json" in missing.stderr and missing.stderr.count("\n") == 1
