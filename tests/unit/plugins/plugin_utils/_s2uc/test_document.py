# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Texts from elsewhere: plain data comes out of them, or a short refusal, quickly."""

from __future__ import annotations

import json
import string
import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import document
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.document import (
    MAX_DEPTH,
    MAX_SIZE,
    DocumentError,
    load_document,
    plain_document,
)

#: Both parsers of PyYAML: the one of libyaml may be missing.
LOADERS = sorted({document._LOADER, yaml.SafeLoader}, key=str)
_keys = st.text(string.ascii_letters, min_size=1, max_size=8)
_texts = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp")), max_size=20)
_data = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=10,
)


def reads(text: str | bytes) -> Any:
    """Return what a text says, or None; whatever it is, that must be quick, and a refusal short."""
    begin = time.process_time()
    try:
        return load_document(text)
    except DocumentError as error:
        assert "\n" not in str(error) and len(str(error)) < 300
        return None
    finally:
        assert time.process_time() - begin < 2


def depth(value: Any) -> int:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@given(_data)
@settings(max_examples=150, deadline=None)
def test_data_comes_out_as_it_went_in(value: Any) -> None:
    if depth(value) <= MAX_DEPTH:
        assert load_document(json.dumps(value, ensure_ascii=False)) == plain_document(value) == value


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_bytes(text: bytes) -> None:
    reads(text)


@given(
    st.lists(
        st.sampled_from([*"abc 12:-?[]{},&*!|>%@`'\"#\n\t~<=.", "\n  ", ": ", "- ", "!!", "---\n", "&a ", "*a", "<<: "])
    )
)
@settings(max_examples=150, deadline=None)
def test_any_yaml(parts: list[str]) -> None:
    reads("".join(parts))


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{a: " * 100_000,
        "- " * 400_000,
        "? " * 300_000,
        "&a " * 300_000,
        "!" * 900_000,
        "{" * 100_000,
        "x" * MAX_SIZE * 2,
        "'" * 50_001,
        "%TAG ! x\n" * 10_000,
        "a: &a [x]\n" + "".join(f"b{number}: &b{number} [*a, *a]\n" for number in range(30)),
    ],
)
def test_bombs(text: str, loader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "_LOADER", loader)
    assert reads(text) is None


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &x 1", "line 1: anchors and aliases"),
        ("\na: *x", "line 2: anchors and aliases"),
        ("a: !!python/object/apply:os.system [id]", "line 1: tags"),
        ("a: !vault x", "line 1: tags"),
        ("a: 1\nb: 2\na: 3", 'line 3: the key "a" is given twice'),
        ("a: {b: 1, b: 1}", 'line 1: the key "b" is given twice'),
        ("1: a", "line 1: the key 1 is not a string"),
        ("? [a]\n: b", 'line 1: the key ["a"] is not a string'),
        ("---\na\n---\nb", "line 3: there is a second document"),
        ("a: [b\nc: d", "line 2: it is not YAML"),
        ("\0", "it is not YAML"),
        (b"\xff\xfe", "it is not text in UTF-8"),
    ],
)
def test_what_is_more_than_plain_data(
    text: str | bytes, says: str, loader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "_LOADER", loader)
    with pytest.raises(DocumentError) as caught:
        load_document(text)
    assert str(caught.value).startswith(says)


def test_what_scalars_are() -> None:
    text = (
        "[1, -5, 0, 010, 1.5, 1e3, yes, true, null, ~, '1', 12h, 10:20, 2026-01-01, 10.0.0.1:5100, 0x10, "
        + "9" * 30
        + "]"
    )
    assert load_document(text) == [
        *(1, -5, 0, "010", "1.5", "1e3", "yes", True, None, None, "1", "12h", "10:20", "2026-01-01", "10.0.0.1:5100"),
        *("0x10", "9" * 30),
    ]
    assert load_document("") is load_document("# nothing") is None
    assert load_document("a: |\n  x\n  y\n") == {"a": "x\ny\n"}


class Marked(str):
    """As ansible-core marks texts: up to 2.18 they stay what they are when they are turned into a text."""

    __slots__ = ()

    def __str__(self) -> str:  # pylint: disable=invalid-str-returned
        return self


def test_texts_that_ansible_has_marked() -> None:
    assert load_document(Marked("a: b")) == {"a": "b"}
    [plain] = plain_document([Marked("a")])
    assert plain == "a" and plain.__class__ is str


def test_data_that_was_read_already() -> None:
    endless: list[Any] = []
    endless.append(endless)
    wide = [["x"] * 1000] * 1000
    for value in (endless, wide, {"a": endless}, {"a": 1.5}, {"a": b"x"}, [object()]):
        with pytest.raises(DocumentError):
            plain_document(value)
