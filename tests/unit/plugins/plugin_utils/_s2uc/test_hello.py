# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applications that announce themselves, or that run in batch jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import hello_wait, messages
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.hello_commands import HelloCommands
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.hello_options import hello_options, read_secret
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.hello_wait import HelloWait
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.inputs import InputError, Inputs
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import stream_secret
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import make_plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import DescriptionError, Stream
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_jobs import job_problems, jobs, with_jobs
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_reader import read_streams
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_steps import Wishes, plan_steps
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.descriptions import (
    GATEWAYS,
    description,
    problems,
)

KEY = bytes(range(32))
SECRET = stream_secret(KEY, "1b4e28ba-2fa1-41d2-883f-0016d3cca427")


def silent(**job: Any) -> dict[str, Any]:
    """Return a description without listeners."""
    found = description(**{f"producer__{kind}": value for kind, value in job.items()})
    del found["producer"]["listeners"]
    return found


def waiting() -> Stream:
    return read_streams([silent()], "open", GATEWAYS, wait_for_hello=True)[0]


def inputs(**variables: Any) -> Inputs:
    return Inputs(variables, variables)


def test_listeners_may_only_be_missing_if_the_application_announces_them() -> None:
    (line,) = problems([silent()])
    assert "producer.listeners: null is not allowed" in line and "-e wait_for_hello=true" in line
    assert waiting().producer_listeners == [] and waiting().waits_for_hello
    with pytest.raises(DescriptionError, match="wait_for_hello: it is an option of stream_open only"):
        make_plan(inputs(streams=[description()], wait_for_hello=True), "apply", GATEWAYS)


def test_applications_behind_many_gateways_cannot_announce_themselves() -> None:
    item = silent()
    item["producer"]["gateways"] = [item["producer"].pop("gateway")]
    with pytest.raises(DescriptionError, match="not supported with applications that announce themselves"):
        read_streams([item], "open", GATEWAYS, wait_for_hello=True)


def test_hello_hands_over_credentials_without_announcing_the_application() -> None:
    stream, now = waiting(), datetime.now(timezone.utc)
    session = {"uid": stream.uid, "role": "producer", "state": "reserved", "created": now.isoformat()}
    session["expires"] = (now + timedelta(seconds=600)).isoformat()
    results = {"gw-a": {"sessions": [session]}, "gw-b": {"sessions": [{**session, "role": "consumer"}]}}
    (producer,) = messages.hellos([(stream, "producer")], KEY, "open", results)
    assert producer["announce"] is False and "producer_listeners" not in producer and "certificate" in producer
    (consumer,) = messages.hellos([(stream, "consumer")], KEY, "open", results)
    # It outlasts the wait.
    assert consumer["update_timeout"] == 600 + 180 and "announce" not in consumer


class Gateway:
    """A gateway whose answers follow each other; it gives the last one again and again."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)

    def __call__(self) -> dict[str, Any]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(hello_wait, "_INTERVAL", 0.0)
    yield


def state(name: str, left: float = 600.0, **more: Any) -> dict[str, Any]:
    end = datetime.fromtimestamp(time.time() + left, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"sessions": [{"uid": waiting().uid, "role": "producer", "state": name, "expires": end, **more}]}


def wait(*answers: dict[str, Any], stopped: bool = False) -> dict[str, Any] | None:
    return HelloWait("gw-a", [waiting()], Gateway(*answers), lambda: None, lambda: stopped).run()


@pytest.mark.usefixtures("quick")
def test_a_wait_ends_with_the_hello(capsys: pytest.CaptureFixture[str]) -> None:
    lost = {"refused": True, "lost": True, "msg": "cannot be reached"}
    announced = state("announced", producer_listeners=["10.1.0.5:7000"])
    assert wait(state("reserved"), lost, state("reserved"), announced) == {"changed": False}
    assert "tomography: HELLO received, its application listens on 10.1.0.5:7000" in capsys.readouterr().out
    assert wait(state("reserved"), stopped=True) is None


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ([state("reserved", 0), state("expired", 0)], "no HELLO of its application was received by 2"),
        ([state("reserved", 0), {"sessions": []}], "no HELLO of its application was received by 2"),
        ([state("reserved", 600), {"sessions": []}], "it was released by somebody else"),
        ([{"sessions": [None, 7]}], "no HELLO of its application was received in time"),
        ([state("reserved", 600, expires="nonsense"), {}], "no HELLO of its application was received by nonsense"),
    ],
)
def test_a_wait_ends_without_a_hello(answers: list[dict[str, Any]], text: str) -> None:
    answer = wait(*answers)
    assert answer is not None and answer["refused"] and text in answer["failed_sessions"][0]["msg"]


@pytest.mark.usefixtures("quick")
def test_a_gateway_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hello_wait, "_PATIENCE", 0.05)
    answer = wait({"refused": True, "lost": True, "msg": "cannot be reached"})
    assert answer == {"refused": True, "msg": "the wait for the HELLO of the application ended: cannot be reached"}


def test_the_commands_name_what_they_need(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream = waiting()
    commands = HelloCommands("gw-a", str(tmp_path), "/x/s2cs", "/etc/scistream/s2cs.json", "scistream-hello@gw-a.site")
    commands.show([stream], {}, KEY)
    said = capsys.readouterr().out
    path = tmp_path / "tomography.secret"
    assert path.stat().st_mode & 0o777 == 0o600 and path.read_text().strip() == stream_secret(KEY, stream.uid)
    assert path.read_text().strip() not in said
    assert f"on gw-a: s2cs hello {stream.uid} --listener ADDRESS:PORT --secret-file tomography.secret\n" in said
    assert f"ssh scistream-hello@gw-a.site hello {stream.uid} ADDRESS:PORT < {path}\n" in said
    assert f"scistream.gateway.hello -e uid={stream.uid} -e listeners=ADDRESS:PORT\n" in said
    with pytest.raises(ScistreamError, match="cannot be written"):
        HelloCommands("gw-a", str(tmp_path / "missing"), "", "").show([stream], {}, KEY)


def test_options_of_an_announcement(tmp_path: Path) -> None:
    secret = tmp_path / "tomography.secret"
    secret.write_text(f"{SECRET}\n")
    good = hello_options(inputs(listeners="10.1.0.5:7000, [::1]:7000", secret_file=str(secret)), ["uid"], True, "", "")
    assert good.problems == [] and good.listeners == ["10.1.0.5:7000", "[::1]:7000"]
    for variables, selected, text in (
        ({"secret_file": str(secret)}, ["uid"], "listeners: it is missing"),
        ({"listeners": "10.1.0.5", "secret_file": str(secret)}, ["uid"], "listeners"),
        ({"listeners": "10.1.0.5:7000", "secret_file": str(secret)}, ["one", "two"], "it is for a single stream"),
        ({"listeners": "10.1.0.5:7000", "secret_file": "/nonexistent"}, ["uid"], "secret_file: "),
    ):
        found = hello_options(inputs(**variables), selected, True, "", "")
        assert any(text in line for line in found.problems), found
    (line,) = hello_options(inputs(listeners="10.1.0.5:7000"), ["uid"], True, str(tmp_path / "key"), "").problems
    assert "the key with which the stream was opened does not exist here" in line and not (tmp_path / "key").exists()


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 5000, b"\xff" * 43, b"two words with many characters"])
def test_files_without_a_secret(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(ScistreamError, match="it does not contain the secret of a stream") as caught:
        read_secret(str(path))
    assert "xxx" not in str(caught.value)


SLURM = {"job": 4711, "host": "login1", "port": 7000}
PBS = {"template": "pbs", "job": "4711.pbs1", "host": "login1", "port": 7000}


def job_of(**job: Any) -> Stream:
    return read_streams([silent(**job)], "open", GATEWAYS)[0]


def test_a_job_takes_the_place_of_listeners() -> None:
    stream = job_of(slurm={**SLURM, "user": "ann", "networks": "10.1.0.0/16"})
    (found,) = jobs([stream], 60)
    assert found["job"] == "4711" and found["networks"] == ["10.1.0.0/16"] and found["wait"] == 60
    registered = {"results": [{"scistream_job": found, "nodes": [{"name": "n1", "address": "10.1.0.5"}]}]}
    assert with_jobs([stream], registered)[0].producer_listeners == ["10.1.0.5:7000"]
    assert with_jobs([stream], None) == [stream]
    # In check mode, a job that does not run yet has no nodes.
    assert with_jobs([stream], {"results": [{"scistream_job": found, "state": "pending"}]})[0].waits_for_hello


@pytest.mark.parametrize(
    "nodes",
    [None, [], [{}], ["10.1.0.5"], [{"address": "node1"}], [{"address": None}], [{"address": "10.1.0.5:1"}], 7],
)
def test_nodes_without_addresses_are_refused(nodes: Any) -> None:
    stream = job_of(slurm=SLURM)
    registered = {"results": [{"scistream_job": {"uid": stream.uid}, "nodes": nodes}]}
    with pytest.raises(ScistreamError, match="job 4711 has no nodes with IP addresses"):
        with_jobs([stream], registered)


def test_other_streams_are_not_held_up_by_a_job() -> None:
    good, bad = job_of(slurm=SLURM), description(name="other")
    bad["producer"] = {"gateway": "gw-a", "slurm": SLURM}
    bad_stream = read_streams([bad], "apply", GATEWAYS)[0]
    assert [job["required"] for job in jobs([good, bad_stream], 0, required=False)] == [False, False]
    registered = {
        "results": [
            {"scistream_job": {"uid": good.uid}, "nodes": [{"address": "10.1.0.5"}]},
            {"scistream_job": {"uid": bad_stream.uid}, "reason": "job 4711 on login1: it is COMPLETED", "nodes": []},
        ]
    }
    found = with_jobs([good, bad_stream], registered, required=False)
    assert found[0].producer_listeners == ["10.1.0.5:7000"]
    steps = plan_steps(found, {name: {"sessions": []} for name in GATEWAYS}, Wishes(), datetime.now(timezone.utc))
    assert [(step.action, step.why[:1]) for step in steps] == [
        ("open", ["gw-a -> gw-b"]),
        ("refused", ["job 4711 on login1: it is COMPLETED"]),
    ]
    with pytest.raises(ScistreamError, match="it is COMPLETED"):
        with_jobs([good, bad_stream], registered)


def test_a_job_with_more_nodes_than_connections() -> None:
    stream = job_of(slurm=SLURM)
    nodes = [{"address": f"10.1.0.{number}"} for number in (5, 6, 6)]
    with pytest.raises(ScistreamError, match="job 4711 has 2 nodes for num_conn 1: write 'num_conn: 2'"):
        with_jobs([stream], {"results": [{"scistream_job": {"uid": stream.uid}, "nodes": nodes}]})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"slurm": 4711}, "producer.slurm: 4711 is not allowed: must be a dictionary"),
        ({"slurm": {**SLURM, "node": "x"}}, 'producer.slurm: "node" is not allowed: must be one of the keys'),
        ({"slurm": {**SLURM, "job": "1;id"}}, "producer.slurm.job: "),
        ({"slurm": {**SLURM, "port": 70000}}, "producer.slurm.port: "),
        ({"slurm": {"job": 1, "host": "login1"}}, "producer.slurm.port: "),
        ({"slurm": {**SLURM, "host": "-oProxyCommand=id"}}, "producer.slurm.host: "),
        ({"slurm": {**SLURM, "user": "a b"}}, "producer.slurm.user: "),
        ({"slurm": {**SLURM, "networks": ["10.1.0.5/16"]}}, "producer.slurm.networks[0]: "),
        ({"slurm": SLURM, "command": PBS}, "specify one of listeners, slurm and command"),
        ({"command": SLURM}, "producer.command.template: null is not allowed: must be the name of a command"),
        ({"command": {**PBS, "job": "../x"}}, "producer.command.job: "),
    ],
)
def test_mistakes_in_the_description_of_a_job(changes: dict[str, Any], text: str) -> None:
    assert any(text in line for line in problems([silent(**changes)]))


def test_a_producer_has_listeners_or_a_job() -> None:
    (line,) = problems([description(producer__slurm=SLURM)])
    assert line.endswith("specify one of listeners, slurm and command")


def test_jobs_only_belong_to_the_side_that_is_opened_here() -> None:
    stream = silent(slurm=SLURM)
    stream["producer"]["remote_listeners"] = ["192.0.2.1:5100"]
    with pytest.raises(DescriptionError, match=r"producer\.slurm"):
        read_streams([stream], "outbound", GATEWAYS)


def test_commands_come_from_the_site() -> None:
    stream = job_of(command=PBS)
    (line,) = job_problems([stream], dict, {"login1"})
    assert line.endswith('"pbs" is not in scistream_job_commands: define it in the inventory')
    (line,) = job_problems([stream], lambda: {"pbs": "qstat {job}"}, None)
    assert "scistream_job_commands.pbs: " in line
    commands = {"pbs": ["/usr/local/bin/pbs-nodes", "{job}"]}
    (line,) = job_problems([stream], lambda: commands, {"gw-a"})
    assert 'producer.command.host: "login1" is not in the inventory' in line
    assert list(job_problems([stream], lambda: commands, {"login1"})) == []
    assert jobs([stream], 0)[0]["command"] == commands["pbs"]


@pytest.mark.parametrize(("value", "seconds"), [(True, 604800), ("yes", 604800), ("2h", 7200), (False, 0), ("no", 0)])
def test_how_long_to_wait_for_a_job(value: Any, seconds: int) -> None:
    assert inputs(wait_for_job=value).wait_for_job() == seconds
    with pytest.raises(InputError, match="wait_for_job"):
        inputs(wait_for_job="soon").wait_for_job()
