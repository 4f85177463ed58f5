# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The version is the same as in galaxy.yml wherever it is repeated."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import yaml

from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION

ROOT = Path(__file__).resolve().parents[3]
# Images that are built from the files of this version, and the sample of what s2cs_info returns.
STATED = re.compile(r"(?:scistream/[a-z0-9]+:|\{collection: )([0-9][A-Za-z0-9.+-]*)")
BINARY = (".pyc", ".png")
SHIPPED = ("README.md", "docs/**/*", "inventories/**/*", "playbooks/**/*", "plugins/**/*", "roles/**/*")


def stated() -> dict[str, set[str]]:
    """Return the versions in files."""
    paths = [path for pattern in SHIPPED for path in ROOT.glob(pattern) if path.is_file() and path.suffix not in BINARY]
    found = {str(path.relative_to(ROOT)): set(STATED.findall(path.read_text())) for path in paths}
    return {name: versions for name, versions in found.items() if versions}


def test_gateway_code_has_the_version_of_the_collection() -> None:
    assert yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"] == VERSION


def test_the_forwarder_has_the_version_of_the_collection() -> None:
    assert runpy.run_path(str(ROOT / "roles/s2ds/files/s2ds/version.py"))["VERSION"] == VERSION


def test_documents_have_the_version_of_the_collection() -> None:
    found = stated()
    assert {"roles/docker/README.md", "plugins/modules/s2cs_info.py"} <= set(found)
    assert {name: versions for name, versions in found.items() if versions != {VERSION}} == {}


def test_roles_and_playbooks_have_no_version() -> None:
    """They read the version from the collection."""
    assert [name for name in stated() if name.endswith((".yml", ".j2", ".json"))] == []


def test_the_oldest_ansible_core_is_the_same_everywhere() -> None:
    required = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["requires_ansible"]
    oldest = re.sub(r"^>=|\.0$", "", required)
    roles = {path: yaml.safe_load(path.read_text())["galaxy_info"] for path in ROOT.glob("roles/*/meta/main.yml")}
    assert len(roles) > 5
    assert {path: info for path, info in roles.items() if info["min_ansible_version"] != oldest} == {}
    assert re.findall(r"ansible-core ([0-9.]+), ", (ROOT / "README.md").read_text()) == [oldest]
