# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the first task of a run reads and checks, and the others get."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.inputs import Inputs
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import Plan, make_directory, make_plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import DescriptionError, Peer
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.descriptions import (
    GATEWAYS,
    description,
)

KEY = "k" * 64
UID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"


def plan(purpose: str = "open", **variables: Any) -> Plan:
    extra = [name for name in variables if not name.startswith("scistream_")]
    return make_plan(Inputs(variables, extra), purpose, GATEWAYS)


def problems(purpose: str, **variables: Any) -> list[str]:
    with pytest.raises(DescriptionError) as caught:
        plan(purpose, **variables)
    return caught.value.problems


def test_a_plan_survives_the_way_to_the_next_task() -> None:
    streams = [description(), description(name="second", labels={"run": "7"}, rate="1Gbit", lifetime="12h")]
    made = plan(scistream_streams=streams, scistream_key=KEY, scistream_probe="false")
    made.streams[0].peer = Peer("nginx", half_close=False)
    document = made.document()
    text = json.dumps(document)
    assert Plan.of(json.loads(text)) == made == Plan.of(document)
    assert made.key_given and KEY not in text and not made.probe and made.ticket_dir is None


@pytest.mark.parametrize("document", [{"stream": []}, {"streams": [{"title": "a"}]}, {"streams": ["a"]}])
def test_what_is_no_plan_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ScistreamError, match="was not returned by stream_plan"):
        Plan.of(document)


def test_texts_of_a_plan_carry_no_marks() -> None:
    class Marked(str):
        pass

    name = Marked("tomography")
    document = plan(scistream_streams=[description(name=name)], scistream_key=KEY).document()
    name_of_it = document["streams"][0]["name"]
    assert name_of_it == name and name_of_it.__class__ is str


@pytest.mark.parametrize(("given", "probe"), [(True, True), (False, False), ("no", False), ("yes", True), (None, True)])
def test_probe(given: Any, probe: bool) -> None:
    assert plan(scistream_streams=[description()], scistream_key=KEY, scistream_probe=given).probe is probe


def test_the_round_trip_is_that_of_streams_without_one() -> None:
    streams = [description(rtt="0.2s"), description(name="second")]
    made = plan(scistream_streams=streams, scistream_key=KEY, rtt="100 ms")
    assert [stream.rtt for stream in made.streams] == ["200ms", "100ms"]
    assert [stream.rtt for stream in plan(scistream_streams=streams, scistream_key=KEY).streams] == ["200ms", None]
    for variables in ({"rtt": "100"}, {"scistream_streams": [description(rtt=100)]}):
        (problem,) = problems("open", **{"scistream_streams": streams, "scistream_key": KEY, **variables})
        assert "must be a number with the unit us, ms or s such as 100ms" in problem


def test_mistakes_come_before_the_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert len(problems("open", scistream_streams=[description(num_conn=0, rate="fast")], scistream_key_file=str(path)))
    assert not path.exists()
    plan(scistream_streams=[description()], scistream_key_file=str(path))
    assert path.exists()
    path.chmod(0o666)
    (problem,) = problems("open", scistream_streams=[description()], scistream_key_file=str(path))
    assert "chmod 600" in problem


def test_a_release_needs_something_to_release_and_no_key(tmp_path: Path) -> None:
    assert "Specify what to release" in problems("release")[-1]
    unread = make_unread("release", uid=UID)
    assert "rename it to scistream_uid" in unread[0] and "Specify what to release" in unread[1]
    path = str(tmp_path / "key")
    assert plan("release", uid=UID, scistream_key_file=path).uids == [UID]
    assert plan("release", scistream_streams=[description()], scistream_key_file=path).streams[0].name == "tomography"
    assert not os.listdir(tmp_path)


def make_unread(purpose: str, **variables: Any) -> list[str]:
    with pytest.raises(DescriptionError) as caught:
        make_plan(Inputs(variables, ()), purpose, GATEWAYS)
    return caught.value.problems


def test_a_status_may_be_of_everything() -> None:
    assert plan("status") == Plan("status", GATEWAYS)
    # Names that a site uses for itself.
    assert make_plan(Inputs({"uid": 1000, "streams": {"kafka": []}}, ()), "status", GATEWAYS) == plan("status")
    assert plan("status", show="problems").show == "problems"


def test_what_cannot_be_read_is_told_alone() -> None:
    (problem,) = problems("open", streams="- {name: a, name: b}")
    assert problem.startswith("streams: line 1: ")


def test_the_directory_of_tickets(tmp_path: Path) -> None:
    path = tmp_path / "for" / "colleagues"
    assert make_directory(str(path), check_mode=True) and not path.parent.exists()
    assert make_directory(str(path)) and not make_directory(str(path))
    assert [stat.S_IMODE(item.stat().st_mode) for item in (path, path.parent)] == [0o700, 0o700]
    (tmp_path / "file").write_text("")
    with pytest.raises(DescriptionError, match=r"ticket_dir: .* cannot be created"):
        make_directory(str(tmp_path / "file" / "x"))


def test_the_name_of_a_description_is_a_label_of_its_streams() -> None:
    for purpose in ("apply", "open"):
        made = plan(purpose, streams=[description(labels={"run": 7})], stream_set="beamline-2", scistream_key=KEY)
        assert made.streams[0].labels == {"stream": "tomography", "run": "7", "stream_set": "beamline-2"}
        assert made.stream_set == "beamline-2"
    assert plan("apply", streams=[description()], scistream_key=KEY).streams[0].labels == {"stream": "tomography"}
    (problem,) = problems("apply", streams=[description()], stream_set="a b", scistream_key=KEY)
    assert problem.startswith('stream_set: "a b" is not allowed')


def test_options_of_a_description() -> None:
    made = plan("apply", streams=[description()], stream_set="a", prune="yes", replace="true", scistream_key=KEY)
    assert (made.prune, made.replace) == (True, True)
    made = plan("apply", scistream_streams=[description()], prune="no", scistream_key=KEY)
    assert (made.prune, made.replace) == (False, False)
    # Only the playbook streams has them.
    assert not plan("open", streams=[description()], prune=True, scistream_key=KEY).prune
    (problem,) = problems("apply", streams=[description()], prune=True, scistream_key=KEY)
    assert problem.startswith("prune: ") and "stream_set" in problem
    assert len(problems("apply", streams=[description(num_conn=0)], prune=True, scistream_key=KEY)) == 2
    (problem,) = problems("apply", streams=[], prune=True, scistream_key=KEY)
    assert problem.startswith("prune: ")
    (problem,) = problems("apply", streams=[description()], replace="perhaps", scistream_key=KEY)
    assert problem == 'replace: "perhaps" is not allowed: must be true or false'


def test_names_that_resemble_those_of_options_are_noted() -> None:
    given = {"streams": [description()], "stream_sets": "a", "prunes": True, "scistream_key": KEY, "beamline": 2}
    inputs = Inputs(given, given)
    make_plan(inputs, "apply", GATEWAYS, check_mode=True)
    assert inputs.notes == [
        "there is no variable prunes: did you mean prune?",
        "there is no variable stream_sets: did you mean stream_set?",
    ]


@pytest.mark.parametrize("purpose", ["open", "status", "release", "probe", "drop", "inbound"])
def test_all_playbooks_note_such_names(purpose: str) -> None:
    known = {"streams": [description()], "scistream_key": KEY, "scistream_pipelining": True, "probe": False}
    given = {**known, "wach": 2, "scistream_key_fil": "a", "scistream_mine": 1, "beamline": 2}
    inputs = Inputs(given, given)
    make_plan(inputs, purpose, GATEWAYS, check_mode=True)
    assert inputs.notes == [
        "there is no variable scistream_key_fil: did you mean scistream_key_file?",
        "there is no variable wach: did you mean watch?",
    ]


def test_a_label_cannot_put_a_stream_into_another_set() -> None:
    labelled = description(labels={"stream_set": "beamline-3"})
    (problem,) = problems("apply", streams=[labelled], stream_set="beamline-2", scistream_key=KEY)
    assert problem == 'stream "tomography": labels.stream_set: must be the same as stream_set, or omitted'
    assert plan("apply", streams=[labelled], stream_set="beamline-3", scistream_key=KEY).streams


def test_an_empty_description_only_prunes() -> None:
    made = plan("apply", streams=[], stream_set="beamline-2", prune=True, scistream_key=KEY)
    assert (made.streams, made.prune) == ([], True)
    for more in ({"stream_set": "beamline-2"}, {}):
        (problem,) = problems("apply", streams=[], scistream_key=KEY, **more)
        assert "at least one stream" in problem and problem.endswith("; an empty list requires -e prune=true")
    # A file that is missing must not release everything.
    (problem,) = problems("apply", stream_set="beamline-2", prune=True, scistream_key=KEY)
    assert "at least one stream" in problem


def test_absent_streams_are_not_expected_to_be_open() -> None:
    gone = {"name": "old", "state": "absent", "producer": {"gateway": "gw-a"}, "consumer": {"gateway": "gw-b"}}
    assert [stream.state for stream in plan("status", streams=[gone]).streams] == ["absent"]
    made = plan("probe", streams=[description(), gone], scistream_key=KEY)
    assert [stream.state for stream in made.streams] == ["present"] and len(made.probes) == 1
    (problem,) = problems("probe", streams=[gone], scistream_key=KEY)
    assert problem == "streams: all of them have state: absent, so there is none to probe"


@pytest.mark.parametrize("other", [{"uid": UID}, {"uids": [UID]}, {"ticket": "t.yml"}])
def test_only_a_description_can_be_applied(other: dict[str, Any]) -> None:
    found = problems("apply", streams=[description()], scistream_key=KEY, **other)
    assert found == ["streams: the playbook streams requires a description, not a uid or a ticket"]


def test_absent_streams_need_only_what_identifies_them() -> None:
    gone = {"name": "old", "state": "absent", "producer": {"gateway": "gw-a"}, "consumer": {"gateway": "gw-b"}}
    made = plan("apply", streams=[description(), gone], scistream_key=KEY)
    assert [stream.state for stream in made.streams] == ["present", "absent"]
    # The other gateway may be that of another facility.
    assert plan("apply", streams=[{**gone, "consumer": {"gateway": "gw-x"}}], scistream_key=KEY).streams[0].uid
    both = {**gone, "producer": {"gateway": "gw-x"}, "consumer": {"gateway": "gw-y"}}
    (problem,) = problems("apply", streams=[both], scistream_key=KEY)
    assert "are not among the gateways of this run" in problem
    (problem,) = problems("apply", streams=[{**gone, "numconn": 1}], scistream_key=KEY)
    assert problem.startswith('stream "old": "numconn" is not a key of a stream')
    (problem,) = problems("apply", streams=[{**gone, "consumer": {"gateway": "gw-b", "adress": 1}}], scistream_key=KEY)
    assert problem.startswith('stream "old": consumer: "adress" is not a key of a stream')
    (problem,) = problems("apply", streams=[description(state="gone")], scistream_key=KEY)
    assert 'state: "gone" is not allowed' in problem
    (problem,) = problems("open", streams=[description(), gone], scistream_key=KEY)
    assert problem == 'stream "old": state: absent: only the playbook streams releases streams with this state'
    # Others only identify streams.
    assert plan("release", streams=[gone], scistream_key=KEY).streams[0].uid == made.streams[1].uid


def test_how_a_status_is_shown(tmp_path: Path) -> None:
    page = tmp_path / "status.html"
    made = plan("status", show="problems", output=str(page), watch="2", watch_for="5m")
    assert (made.show, made.output, made.watch, made.watch_for) == ("problems", str(page), 2, 300)
    assert plan("status", watch=3).watch_for == 3600
    # Other playbooks ignore variables of an inventory.
    assert plan("release", uid=UID, scistream_output="nonsense").output == ""


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ({"show": "some"}, 'show: "some" is not allowed: must be one of all, problems'),
        ({"output": "status.txt"}, 'output: "status.txt" is not allowed: must be the path of a file that ends with'),
        ({"output": "/nonexistent/status.json"}, "/nonexistent is not a directory: create it first"),
        ({"watch": 0}, "watch: 0 is not allowed: must be an integer from 1 to 3600"),
        ({"watch": "soon"}, 'watch: "soon" is not allowed'),
        ({"watch": True}, "watch: true is not allowed"),
        ({"watch": 2, "watch_for": "long"}, 'watch_for: "long" is not allowed: must be seconds, or a number with s, m'),
    ],
)
def test_what_a_status_cannot_be(extra: dict[str, Any], text: str) -> None:
    (problem,) = problems("status", **extra)
    assert text in problem
