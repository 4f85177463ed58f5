# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that are replaced: as a whole, and only files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output_file import check_output, write_output

FORMATS = (".json", ".html")


def test_a_file_is_replaced_atomically(tmp_path: Path) -> None:
    path = check_output("output", str(tmp_path / "status.json"), FORMATS)
    write_output("output", path, "first")
    reader = (tmp_path / "status.json").open()
    write_output("output", path, "second ✓")
    # A reader has the previous contents as a whole.
    with reader:
        assert reader.read() == "first"
    assert (tmp_path / "status.json").read_text() == "second ✓"
    assert os.listdir(tmp_path) == ["status.json"]
    mask = os.umask(0)
    os.umask(mask)
    assert os.stat(path).st_mode & 0o777 == 0o666 & ~mask


def test_paths_are_relative_to_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert check_output("output", "status.html", FORMATS) == str(tmp_path / "status.html")
    assert check_output("output", "~/status.html", FORMATS) == str(tmp_path / "status.html")


@pytest.mark.parametrize("value", ["status.txt", "status", "", 7, ["status.json"], "a\0.json", None])
def test_the_suffix_is_the_format(value: Any) -> None:
    with pytest.raises(ScistreamError, match=r"output: .* is not allowed: must be the path of a file that ends"):
        check_output("output", value, FORMATS)


@pytest.mark.parametrize("kind", ["link", "dangling", "directory", "pipe"])
def test_nothing_but_files_is_replaced(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "status.json", tmp_path / "other"
    other.write_text("precious")
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(other if kind == "link" else tmp_path / "missing")
    text = "is a symbolic link" if kind in ("link", "dangling") else "exists and is not a regular file"
    for act in (lambda: check_output("output", str(path), FORMATS), lambda: write_output("output", str(path), "x")):
        with pytest.raises(ScistreamError, match=f"output: {path} {text}: specify"):
            act()
    assert other.read_text() == "precious" and sorted(os.listdir(tmp_path)) == ["other", "status.json"]


def test_directories_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ScistreamError, match=f"output: .*{tmp_path}/missing is not a directory: create it first"):
        check_output("output", str(tmp_path / "missing/status.json"), FORMATS)
    path = check_output("output", str(tmp_path / "status.json"), FORMATS)
    tmp_path.rmdir()
    with pytest.raises(ScistreamError, match=r"output: .*status.json cannot be written: No such file"):
        write_output("output", path, "x")
    tmp_path.mkdir()
