# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The layers: nothing imports upward, and nothing in a circle, not even inside of functions or for types alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = "ansible_collections.scistream.gateway."
FORWARDER = ROOT / "roles/s2ds/files/s2ds"

# What each part of the collection may import of it.
ALLOWED: Mapping[str, tuple[str, ...]] = {
    "plugins.module_utils._common": (),
    "plugins.module_utils._s2ds": ("plugins.module_utils._common",),
    "plugins.module_utils._s2cs": ("plugins.module_utils._common", "plugins.module_utils._s2ds"),
    "plugins.modules": ("plugins.module_utils",),
    "plugins.plugin_utils._s2uc": ("plugins.module_utils._common",),
    "plugins.action": ("plugins.module_utils._common", "plugins.plugin_utils", "plugins.filter"),
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
    """Return the modules below a directory by their full names."""
    return {
        prefix + ".".join(path.relative_to(directory).with_suffix("").parts): path
        for path in sorted(directory.rglob("*.py"))
    }


def _imports(name: str, path: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    """Return which of the modules another one imports, wherever in it that is."""
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


def _circle(graph: Graph) -> list[str]:
    """Return the modules of one circle of imports, none if there is none."""
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
    """Return a graph in which a package is one module. The settings of a runtime are values that the policy has."""
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
    """What imports what among the plugins."""
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


def test_no_plugin_imports_in_a_circle(plugins: Graph) -> None:
    assert not _circle(plugins)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_is_in_a_circle(plugins: Graph, package: str) -> None:
    """A package as a whole: what it uses uses none of it."""
    assert not _circle(_as_one(plugins, f"{PACKAGE}plugins.{package}"))


def test_nothing_in_the_forwarder_imports_in_a_circle() -> None:
    graph = _graph(_modules(FORWARDER, ""))
    assert sum(map(len, graph.values())) > 20
    assert not _circle(graph)


def test_circles_are_found() -> None:
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_circles_of_packages_are_found() -> None:
    graph = {"p.a": {"x"}, "x": {"p.b"}, "p.b": set[str]()}
    assert not _circle(graph)
    assert _circle(_as_one(graph, "p")) == ["p", "x", "p"]
