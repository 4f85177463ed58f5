# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sources of modules, by whatever loader the modules come from."""

from __future__ import annotations

import importlib.util
import zipimport
from importlib.machinery import ModuleSpec
from pathlib import Path
from zipfile import ZipFile

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.module_source import source_of
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import probe_endpoint_main

NAME = probe_endpoint_main.__name__
TEXT = Path(str(probe_endpoint_main.__file__)).read_text(encoding="utf-8")


class OfCollections:
    """Returns bytes, as Ansible's loader of collections does."""

    def get_source(self, _name: str) -> bytes:
        return TEXT.encode()


def test_loader_of_this_run() -> None:
    assert source_of(NAME) == TEXT


def test_loader_of_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ModuleSpec(NAME, OfCollections())  # type: ignore[arg-type]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: found)
    assert source_of(NAME) == TEXT


def test_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ZipFile(str(tmp_path / "module.zip"), "w") as archive:
        archive.writestr("sent.py", TEXT)
    loader = zipimport.zipimporter(str(tmp_path / "module.zip"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleSpec(name, loader))  # type: ignore[arg-type]
    assert source_of("sent") == TEXT


def test_missing() -> None:
    with pytest.raises(S2DSException, match="the source of no_such_module cannot be read"):
        source_of("no_such_module")
