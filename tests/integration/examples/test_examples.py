# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The EXAMPLES of modules and filters as they are written, on gateways with the addresses that stand in them.

Each is run alone, from its first task to its last, and twice: nothing that it needs may come from somewhere else, and
nothing that it left may be in the way of the second run. What the modules return is what RETURN says, and nothing more.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.scistream.gateway.tests.integration.examples.facilities import COLLECTION, GATEWAYS
from ansible_collections.scistream.gateway.tests.integration.examples.returned import (
    differences,
    documented,
    of_module,
)
from ansible_collections.scistream.gateway.tests.integration.examples.site import Site

# proxy_container has its test where there is an engine, and job_nodes where there is a batch system. The policy of an
# example takes the place of that of the others, and the program of an example that of the host.
APART = ("proxy_container", "job_nodes", "s2cs_policy", "s2cs_program")
MODULES = sorted(path.stem for path in COLLECTION.glob("plugins/modules/*.py") if path.stem not in APART)
VALUES = [
    (kind, path.stem) for kind in ("filter", "lookup") for path in sorted(COLLECTION.glob(f"plugins/{kind}/*.py"))
]
_results: dict[str, list[dict[str, Any]]] = {}


def twice(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return tasks, and the same once more, in one play: to start one takes longer than most of them."""
    return [*tasks, *copy.deepcopy(tasks)]


@pytest.mark.parametrize("module", MODULES)
def test_examples_of_modules(work: Site, module: str) -> None:
    tasks = documented("modules", module, "EXAMPLES")
    assert [task for task in tasks if f"scistream.gateway.{module}" in task], "there is none of the module itself"
    for row in work.tasks(twice(tasks)):
        _results.setdefault(row["action"].rpartition(".")[2], []).append(row["result"])


@pytest.mark.parametrize(("kind", "plugin"), VALUES)
def test_examples_of_filters_and_lookups(work: Site, kind: str, plugin: str) -> None:
    tasks = documented(kind, plugin, "EXAMPLES")
    assert f"scistream.gateway.{plugin}" in yaml.safe_dump(tasks, width=1000)
    shown = [row["result"]["msg"] for row in work.tasks(twice(tasks)) if row["action"] == "ansible.builtin.debug"]
    assert shown, "no example shows what it returns"
    described = documented(kind, plugin, "RETURN")
    described.setdefault("_value", described.get("_raw"))
    assert differences({"_value": described["_value"]}, [{"_value": value} for value in shown]) == []


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith(("s2cs_", "s2ds"))])
def test_returned_is_what_is_described(site: Site, tmp_path: Path, module: str) -> None:
    """After all the examples, and a look at what they opened: every key in both directions."""
    work = site.elsewhere(tmp_path)
    everything = {"samples": 1, "interval": 0.1}
    asked = {"scistream.gateway.s2cs_info": everything, "delegate_to": "{{ item }}", "loop": list(GATEWAYS)}
    results = [*_results.get(module, []), *(row["result"] for row in work.tasks([asked]) if module == "s2cs_info")]
    assert results, "run all tests of this file: this one judges what the examples returned"
    assert differences(of_module(module), results) == []


def test_the_example_of_the_policy(work: Site) -> None:
    tasks = documented("modules", "s2cs_policy", "EXAMPLES")
    try:
        first, second = work.tasks(tasks)[0]["result"], work.tasks(tasks)[0]["result"]
    finally:
        work.shell("ansible-playbook scistream.gateway.gateway")
    assert first["changed"] and not second["changed"]
    returned = documented("modules", "s2cs_policy", "RETURN")
    # What a failure returns is tested with the failures.
    assert differences({key: returned[key] for key in ("config", "allowed")}, [first, second]) == []
