# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which variables the stream playbooks read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import inputs as source
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.input_documents import is_document
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.inputs import InputError, Inputs


def inputs(extra: Mapping[str, Any] | None = None, **variables: Any) -> Inputs:
    """Return inputs, the extra variables among them."""
    return Inputs({**variables, **(extra or {})}, set(extra or {}))


def test_nothing() -> None:
    nothing = inputs()
    assert (nothing.streams(), nothing.uids(), nothing.replies(), nothing.ticket_dir()) == ([], [], [], ".")
    assert (nothing.key(), nothing.key_file(), nothing.notes, nothing.ignored()) == ("", "", [], [])


@pytest.mark.parametrize("name", ["streams", "ticket", "reply", "uid", "uids"])
def test_short_names_are_extra_variables_only(name: str) -> None:
    ours: dict[str, Any] = {name: ["x"]}
    theirs = inputs(None, **ours)
    assert (theirs.streams(), theirs.uids(), theirs.replies()) == ([], [], [])
    assert theirs.ignored() == [f"{name}: it is only read as an extra variable (-e): rename it to scistream_{name}"]
    assert inputs(ours).ignored() == inputs(None, **{f"scistream_{name}": ["y"]}, **ours).ignored() == []
    for given in (inputs(ours), inputs(None, **{f"scistream_{name}": ["x"]})):
        assert [given.streams(), given.uids(), given.replies()].count([]) == 2


@pytest.mark.parametrize("name", ["encryption", "consumer_gateway"])
def test_what_goes_with_a_ticket(name: str) -> None:
    assert inputs({"ticket": "t.yml"}, **{name: "x"}).streams() == [{"ticket": "t.yml", "consumer": {}}]
    for given in (inputs({"ticket": "t.yml", name: "x"}), inputs({"ticket": "t.yml"}, **{f"scistream_{name}": "x"})):
        (stream,) = given.streams()
        assert "x" in (stream.get("encryption"), stream["consumer"].get("gateway"))


def test_which_of_two_names_counts() -> None:
    given = inputs({"streams": ["short"]}, scistream_streams=["long"])
    assert given.streams() == ["short"]
    assert given.notes == ["streams and scistream_streams are both set; using streams"]
    given = inputs({"streams": ["short"], "scistream_streams": ["long"]})
    assert given.streams() == ["long"]
    assert given.notes == ["streams and scistream_streams are both set; using scistream_streams"]
    given = inputs(streams=["own"], scistream_streams=["long"])
    assert (given.streams(), given.notes) == (["long"], [])


def test_which_of_two_ways_counts() -> None:
    given = inputs({"uid": "u", "ticket": "t", "streams": ["s"]})
    assert (given.streams(), given.uids()) == ([], ["u"])
    assert given.notes == ["uid and ticket and streams are set; using uid"]
    given = inputs({"ticket": "t"}, scistream_streams=["s"])
    assert ([stream["ticket"] for stream in given.streams()], given.notes) == (["t"], [])
    assert inputs({"uid": "u", "uids": ["v", "w"]}).uids() == ["u", "v", "w"]


def test_what_a_survey_leaves_empty_is_not_given() -> None:
    empty = inputs({"ticket": "", "uid": "", "reply": None, "ticket_dir": "", "streams": ["s"]})
    assert (empty.streams(), empty.uids(), empty.replies(), empty.ticket_dir()) == (["s"], [], [], ".")


def test_several_tickets_and_replies() -> None:
    assert [stream["ticket"] for stream in inputs({"ticket": ["a", "b"]}).streams()] == ["a", "b"]
    assert inputs({"reply": ["a", "b"]}).replies() == ["a", "b"]
    assert inputs({"reply": {"kind": "reply"}}).replies() == [{"kind": "reply"}]


@pytest.mark.parametrize(
    "text", ['[{"name": "a"}]', "- name: a", "streams:\n- name: a", '{"scistream_streams": [{"name": "a"}]}']
)
def test_descriptions_as_text(text: str) -> None:
    assert inputs({"streams": text}).streams() == [{"name": "a"}]


@pytest.mark.parametrize("text", ["- name: a\n", "streams:\n  - name: a\n"])
def test_a_file_may_hold_the_list_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "streams.yml").write_text(text)
    assert inputs({"streams": f"@{tmp_path}/streams.yml"}).streams() == [{"name": "a"}]
    with pytest.raises(InputError, match="No such file or directory"):
        inputs({"streams": f"@{tmp_path}/nowhere"}).streams()


def test_texts_that_are_none() -> None:
    with pytest.raises(InputError, match="streams: line 1: anchors"):
        inputs({"streams": "- &a b"}).streams()
    assert inputs({"streams": "all"}).streams() == "all"


def test_documents_are_no_templates() -> None:
    def template(value: Any) -> Any:
        raise AssertionError(value)

    for value in ("kind: ticket\nname: '{{ x }}'\n", '{"kind": "ticket"}', {"kind": "ticket", "name": "{{ x }}"}):
        assert is_document(value)
        given = Inputs({"ticket": value, "reply": [value]}, {"ticket", "reply"}, template)
        assert given.streams()[0]["ticket"] == value and given.replies() == [value]
    for value in ("a.yml", "{{ x }}", "{% if x %}a{% endif %}", "/srv/{{ name }}.yml"):
        assert not is_document(value)


def test_the_key_itself() -> None:
    assert inputs(scistream_key="k").key() == "k"
    given = inputs(scistream_key="k", scistream_key_file="f")
    assert given.key() == "k" and given.notes == [
        "scistream_key and scistream_key_file are both set; using scistream_key"
    ]
    for value in ("", " ", 5, ["k"]):
        with pytest.raises(InputError, match="scistream_key: it is empty or not a string"):
            inputs(scistream_key=value).key()


def test_a_task_with_streams_of_its_own_takes_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Templar:
        def template(self, value: Any) -> Any:
            return value

    given = {"streams": ["mine"], "uid": "u", "scistream_key": "k", "scistream_show": "problems"}
    monkeypatch.setattr(source, "load_extra_vars", lambda _loader: {"streams": ["mine"], "uid": "u"})
    own = source.read_inputs(None, Templar(), given, {"streams": ["own"], "key_file": "file", "probe": False})
    assert (own.streams(), own.uids(), own.key(), own.key_file(), own.probe()) == (["own"], [], "", "file", False)
    theirs = source.read_inputs(None, Templar(), {**given, "uid": None}, {"probe": False})
    assert (theirs.streams(), theirs.key(), theirs.probe(), theirs.show()) == (["mine"], "k", False, "problems")
