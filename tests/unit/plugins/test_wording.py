# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The terms of the glossary and idiomatic English are used in code, roles and playbooks."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PARTS = (
    "CHANGELOG.rst",
    "CONTRIBUTING.md",
    "Makefile",
    "README.md",
    "changelogs",
    "docs",
    "extensions",
    "inventories",
    "playbooks",
    "plugins/doc_fragments",
    "plugins/filter",
    "plugins/lookup",
    "plugins/module_utils/_common",
    "plugins/module_utils/_s2cs",
    "plugins/module_utils/_s2ds",
    "plugins/modules",
    "plugins/plugin_utils",
    "roles",
)
SUFFIXES = (".py", ".yml", ".yaml", ".md", ".j2")

# Phrases in text of any kind, with what to write instead.
PHRASES: Mapping[str, str] = {
    r"g[ia]v(e|es|en|ing) back": "release",
    r"mend(s|ed|ing)?": "repair",
    r"left out": "omitted",
    r"is no (dictionary|directory|file|json|list|number|text)": "is not a ...",
    r"whose (it is|they are)": "the owner",
    r"anything could be": "say what it is",
    r"of before": "earlier, previous",
    r"one spelling": "canonical form",
    r"side by side": "concurrently",
    r"as it comes": "by default",
    r"(as|what) (is|was|were|are) told": "reported",
    r"any more": "no longer",
    r"all the same": "nevertheless",
    r"com(e|es|ing) about": "happen",
    r"whoever": "anyone who",
    r"of ours": "own, of this collection",
}
# Names of variables, functions, attributes and classes, with what to call them instead.
NAMES: Mapping[str, str] = {
    "bring": "what it does",
    "crew": "worker pool",
    "keeper": "session manager",
    "mend": "repair",
    "mended": "repaired",
    "point_back": "restore",
    "reception": "acceptor",
    "sweep": "remove",
    "swept": "removed",
    "told": "message",
}
_PHRASE = re.compile("|".join(rf"\b(?:{phrase})\b" for phrase in PHRASES), re.IGNORECASE)


def _phrases(text: str) -> Iterator[str]:
    """Yield each phrase in a text, even if it is broken across lines, with its line."""
    # Line breaks, with the indentation and comment signs that follow them, keep their length.
    joined = re.sub(r"\n[ \t]*(?:#:? ?)?", lambda match: " " * len(match.group()), text)
    joined = re.sub(r" {2,}", lambda match: " " + "\0" * (len(match.group()) - 1), joined)
    offsets = [index for index, character in enumerate(joined) if character != "\0"]
    for match in _PHRASE.finditer(joined.replace("\0", "")):
        yield f"line {text.count(chr(10), 0, offsets[match.start()]) + 1}: {match.group()}"


def _names(text: str) -> Iterator[str]:
    """Yield each name in a program that should not be used, with its line."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and token.string.strip("_") in NAMES:
            yield f"line {token.start[0]}: {token.string} ({NAMES[token.string.strip('_')]})"


def _problems(path: Path) -> list[str]:
    text = path.read_text()
    found = [*_phrases(text), *(_names(text) if path.suffix == ".py" else ())]
    return [f"{path.relative_to(ROOT)}, {problem}" for problem in found]


@pytest.mark.parametrize("part", PARTS)
def test_no_translated_words(part: str) -> None:
    place = ROOT / part
    files = [place] if place.is_file() else [path for path in sorted(place.rglob("*")) if path.suffix in SUFFIXES]
    assert files
    problems = [problem for path in files for problem in _problems(path)]
    assert not problems, "\n".join(problems)


def _advice(text: str) -> Iterator[str]:
    """Yield what each message about a value says is allowed, as far as it does not depend on the value."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "ValueRefused":
            first = node.args[2].values[0] if isinstance(node.args[2], ast.JoinedStr) else node.args[2]
            if isinstance(first, ast.Constant):
                yield str(first.value)


def test_messages_about_values_have_one_form() -> None:
    """As in messages of Ansible, a value "must be" something."""
    advice = [line for path in (ROOT / "plugins").rglob("*.py") for line in _advice(path.read_text())]
    assert len(advice) > 50
    assert not [line for line in advice if re.match(r"(give|choose|name|it must) ", line)]


def test_phrases_are_found_across_lines() -> None:
    text = 'one = 1\n    # What is given\n    # back here, and\n    """of\n    before."""\n'
    assert list(_phrases(text)) == ["line 2: given back", "line 4: of before"]
    assert not list(_phrases("given a backup, recommended, of beforehand"))


def test_names_are_found() -> None:
    assert list(_names("x = 1\nself._keeper.run(told=x)\n")) == [
        "line 2: _keeper (session manager)",
        "line 2: told (message)",
    ]
    assert not list(_names("'keeper'  # told\n"))
