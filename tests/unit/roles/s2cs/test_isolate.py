# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is saved of the directory `run` while a data server has it in memory: a power cut loses the rest."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).resolve().parents[4] / "roles/s2cs/files/isolate.py"
COUNTED = {"total": 3, "ended": True, "exact": True}


@pytest.fixture(scope="module")
def isolate() -> ModuleType:
    """The program as a library."""
    spec = importlib.util.spec_from_file_location("isolate_program", PROGRAM)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def saved(tmp_path: Path) -> Iterator[int]:
    """A directory with what was saved."""
    found = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield found
    os.close(found)


def test_counters_become_a_lower_bound(isolate: ModuleType, tmp_path: Path, saved: int) -> None:
    path = tmp_path / isolate.COUNTERS
    isolate.mark_inexact(saved)
    assert not path.exists()
    path.write_text(json.dumps(COUNTED))
    for _unused in range(2):
        isolate.mark_inexact(saved)
        assert json.loads(path.read_text()) == {**COUNTED, "ended": False}


@pytest.mark.parametrize("text", ["null\n", "", "[" * 4000, "[1]", '{"ended": 1}', "\xff"])
def test_what_is_no_counters_stays(isolate: ModuleType, tmp_path: Path, saved: int, text: str) -> None:
    path = tmp_path / isolate.COUNTERS
    path.write_bytes(text.encode("latin-1"))
    isolate.mark_inexact(saved)
    assert path.read_bytes() == text.encode("latin-1")


@pytest.mark.parametrize("how", ["link", "hard", "fifo"])
def test_only_own_files_are_written(isolate: ModuleType, tmp_path: Path, saved: int, how: str) -> None:
    other, path = tmp_path / "other", tmp_path / isolate.COUNTERS
    other.write_text(json.dumps(COUNTED))
    if how == "fifo":
        os.mkfifo(path)
    else:
        (os.symlink if how == "link" else os.link)(other, path)
    isolate.mark_inexact(saved)
    assert json.loads(other.read_text()) == COUNTED


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")
def test_a_life_that_is_lost_and_one_that_is_saved(tmp_path: Path) -> None:
    """The real program, with a real mount: the power cut is one without its end."""

    def call(what: str) -> None:
        subprocess.run([sys.executable, "-I", "-S", str(PROGRAM), what, str(tmp_path)], check=True)

    path = tmp_path / "run" / "counters.json"
    path.parent.mkdir()
    path.write_text(json.dumps(COUNTED))
    try:
        call("prepare")
        assert os.path.ismount(path.parent) and json.loads(path.read_text()) == COUNTED
        path.write_text(json.dumps({**COUNTED, "total": 9}))
        subprocess.run(["umount", str(path.parent)], check=True)
        assert json.loads(path.read_text()) == {**COUNTED, "ended": False}
        call("prepare")
        path.write_text(json.dumps({**COUNTED, "total": 9}))
        call("save")
        assert json.loads(path.read_text()) == {**COUNTED, "total": 9}
    finally:
        if os.path.ismount(path.parent):
            subprocess.run(["umount", str(path.parent)], check=True)
