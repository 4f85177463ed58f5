# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The layers: no module imports from a higher layer, and there are no import cycles.

Imports in functions and for type checking count too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = "ansible_collections.scistream.gateway."
FORWARDER = ROOT / "roles/s2ds/files/s2ds"

# Parts of the collection that each part may import.
ALLOWED: Mapping[str, tuple[str, ...]] = {
    "plugins.module_utils._common": (),
    "plugins.module_utils._s2ds": ("plugins.module_utils._common",),
    "plugins.module_utils._s2cs": ("plugins.module_utils._common", "plugins.module_utils._s2ds"),
    "plugins.module_utils._jobs": ("plugins.module_utils._common",),
    "plugins.modules": ("plugins.module_utils",),
    "plugins.plugin_utils._s2uc": ("plugins.module_utils._common", "plugins.module_utils._jobs"),
    "plugins.action": (
        "plugins.module_utils._common",
        "plugins.module_utils._jobs",
        "plugins.plugin_utils",
        "plugins.filter",
    ),
    "plugins.filter": ("plugins.module_utils._common", "plugins.plugin_utils"),
    "plugins.lookup": ("plugins.module_utils._common", "plugins.plugin_utils"),
    "plugins.doc_fragments": (),
}
PACKAGES = sorted(
    ".".join(path.relative_to(ROOT / "plugins").parts)
    for path in (ROOT / "plugins").rglob("*")
    if path.is_dir() and any(path.glob("*.py"))
)

Graph = dict[str, set[str]]


def _modules(directory: Path, prefix: str) -> dict[str, Path]:
    """Return the modules below a directory, by their full names."""
    return {
        prefix + ".".join(path.relative_to(directory).with_suffix("").parts): path
        for path in sorted(directory.rglob("*.py"))
    }


def _imports(name: str, path: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    """Return the modules that a module imports, anywhere in its code."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                origin = ".".join([*name.split(".")[: -node.level], *filter(None, [node.module])])
            below = [f"{origin}.{alias.name}" if origin else alias.name for alias in node.names]
            found = [item for item in below if item in modules]
            yield from found or ([origin] if origin in modules else [])


def _graph(modules: Mapping[str, Path]) -> Graph:
    return {name: set(_imports(name, path, modules)) for name, path in modules.items()}


def _cycle(graph: Graph) -> list[str]:
    """Return the modules of an import cycle, or an empty list if there is none."""
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name not in done:
            for other in sorted(graph[name]):
                found = visit(other, [*way, name])
                if found:
                    return found
            done.add(name)
        return []

    return next(filter(None, (visit(name, []) for name in sorted(graph))), [])


def _as_one(graph: Graph, package: str) -> Graph:
    """Return a graph in which a package is a single node, without its settings, which the policy imports."""
    names = {
        name: package if name.startswith(f"{package}.") and not name.endswith(".settings") else name for name in graph
    }
    found: Graph = {}
    for name, others in graph.items():
        found.setdefault(names[name], set()).update({names[other] for other in others} - {names[name]})
    return found


def _part(name: str) -> str:
    return next((part for part in ALLOWED if name.startswith(f"{PACKAGE}{part}.")), "")


@pytest.fixture(scope="module")
def plugins() -> Graph:
    """The imports between the plugins."""
    graph = _graph(_modules(ROOT / "plugins", f"{PACKAGE}plugins."))
    assert sum(map(len, graph.values())) > 100
    return graph


def test_every_module_belongs_to_a_layer(plugins: Graph) -> None:
    assert not [name for name in plugins if not _part(name)]
    assert {_part(name) for name in plugins} == set(ALLOWED)


def test_nothing_imports_upward(plugins: Graph) -> None:
    wrong = [
        f"{name} imports {other}"
        for name, others in plugins.items()
        for other in sorted(others)
        if not any(other.startswith(f"{PACKAGE}{part}.") for part in (*ALLOWED[_part(name)], _part(name)))
    ]
    assert not wrong, "\n".join(wrong)


def test_plugins_have_no_import_cycles(plugins: Graph) -> None:
    assert not _cycle(plugins)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_have_no_import_cycles(plugins: Graph, package: str) -> None:
    """A package must not be imported by the modules that it imports."""
    assert not _cycle(_as_one(plugins, f"{PACKAGE}plugins.{package}"))


def test_forwarder_has_no_import_cycles() -> None:
    graph = _graph(_modules(FORWARDER, ""))
    assert sum(map(len, graph.values())) > 20
    assert not _cycle(graph)


def test_cycles_are_found() -> None:
    assert _cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_cycles_of_packages_are_found() -> None:
    graph = {"p.a": {"x"}, "x": {"p.b"}, "p.b": set[str]()}
    assert not _cycle(graph)
    assert _cycle(_as_one(graph, "p")) == ["p", "x", "p"]
