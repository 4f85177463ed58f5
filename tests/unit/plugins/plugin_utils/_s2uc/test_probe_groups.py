# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls for several probes, and what their answers mean for each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import Plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.probe_client import LABEL, ProbeClient, probes
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.probe_groups import answers_by_stream
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.fleet import read

NAMES = ("gw-a", "gw-b")
STREAMS: list[Stream] = [
    read(
        {
            "name": name,
            "producer": {"gateway": "gw-a", "listeners": ["10.1.0.5:7000"]},
            "consumer": {"gateway": "gw-b"},
        },
        stream_set="",
    )[0]
    for name in ("one", "two", "three")
]
PROBES = [f"1b4e28ba-2fa1-41d2-883f-0016d3cca42{number}" for number in range(3)]
PLAN = Plan(
    purpose="probe",
    gateways=list(NAMES),
    streams=STREAMS,
    probes={stream.uid: uid for stream, uid in zip(STREAMS, PROBES, strict=True)},
)


def session(uid: str, role: str, **more: Any) -> dict[str, Any]:
    return {"uid": uid, "role": role, "state": "streaming", "encryption": "none", **more}


INFO = {
    name: {
        "gateway": {"name": name},
        "sessions": [session(stream.uid, role, producer_listeners=["10.1.0.5:7000"]) for stream in STREAMS],
    }
    for name, role in zip(NAMES, ("producer", "consumer"), strict=True)
}


class Site:
    """Two gateways that refuse what they are told to."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.calls: list[tuple[str, str, list[str]]] = []
        self.answers: dict[str, dict[str, Any]] = {"probe_contact": INFO}

    def send(self, message: str, seconds: int = 0, *arguments: Any) -> dict[str, Any]:
        """Send a message to both gateways; returns their answers."""
        found = {}
        for name in NAMES:

            def ask(module: str, options: dict[str, Any], _predict: bool = False, name: str = name) -> dict[str, Any]:
                return self.ask(name, module, options)

            plan = replace(PLAN, seconds=seconds)
            client = ProbeClient(name, plan, ask, lambda message: self.answers.get(message, {}), lambda: "k" * 64)
            found[name] = getattr(client, message)(*arguments) or {}
        self.answers[f"probe_{message}"] = found
        return found

    def ask(self, name: str, module: str, options: dict[str, Any]) -> dict[str, Any]:
        if module == "s2cs_info":
            return {"sessions": []}
        entries = options["sessions"]
        uids = [entry["uid"] for entry in entries]
        if not {stream.uid for stream in STREAMS} & set(uids):
            self.calls.append((name, module, uids))
        bad = [{"uid": uid, "role": "producer", "msg": f"no {uid}"} for uid in uids if uid in self.refused]
        good = [session(entry["uid"], entry["role"]) for entry in entries if entry["uid"] not in self.refused]
        if module == "s2cs_probe":
            failed = {"failed": True, "msg": "some failed", "failed_sessions": bad} if bad else {}
            return {"sessions": [{**one, "probe": {"arrived": True}} for one in good], **failed}
        if bad:
            return {"failed": True, "msg": "refused", "failed_sessions": bad}
        kind = "released" if module == "s2cs_release" else "sessions"
        return {"changed": True, kind: good, "new_sessions": good}


def test_one_call_is_for_all_probes() -> None:
    site = Site()
    found = site.send("request")
    assert [(name, uids) for name, _module, uids in site.calls] == [(name, PROBES) for name in NAMES]
    for name, role in zip(NAMES, ("producer", "consumer"), strict=True):
        assert list(found[name]["streams"]) == PROBES
        for uid, answer in found[name]["streams"].items():
            assert [(one["uid"], one["role"]) for one in answer["sessions"]] == [(uid, role)]
            assert [one["uid"] for one in answer["new_sessions"]] == [uid]
    site.calls.clear()
    site.send("release")
    assert [(module, uids) for _name, module, uids in site.calls] == [("s2cs_release", PROBES)] * 2


def test_a_probe_that_is_refused_does_not_hold_up_others() -> None:
    site = Site(PROBES[1])
    found = site.send("request")
    # All at once, and as that was refused, each by itself.
    assert [len(uids) for _name, _module, uids in site.calls] == [3, 1, 1, 1] * 2
    answers = found["gw-a"]["streams"]
    assert [bool(answers[uid].get("failed")) for uid in PROBES] == [False, True, False]
    site.calls.clear()
    site.send("release")
    assert [uids for _name, _module, uids in site.calls if len(uids) > 1] == [[PROBES[0], PROBES[2]]] * 2


def test_the_pattern_is_sent_by_one_call_unless_throughputs_are_measured() -> None:
    for seconds, numbers in ((0, [3]), (5, [1, 1, 1])):
        site = Site()
        site.answers["probe_update"] = {
            name: {"streams": {uid: {"sessions": [session(uid, "producer")]} for uid in PROBES}} for name in NAMES
        }
        found = site.send("pattern", seconds)
        assert [len(uids) for _name, _module, uids in site.calls] == numbers
        assert list(found["gw-b"]["streams"]) == PROBES and not found["gw-a"]


def test_sessions_that_fail_independently() -> None:
    answer = {
        "failed": True,
        "msg": "1 of 2 failed",
        "sessions": [{"uid": "a"}],
        "failed_sessions": [{"uid": "b", "msg": "no b"}],
    }
    found = answers_by_stream(answer, ["a", "b"], independent=True)
    assert found["a"] == {"sessions": [{"uid": "a"}]}
    assert found["b"]["failed"] and found["b"]["msg"] == "no b"
    lost = answers_by_stream({"failed": True, "lost": True, "msg": "away"}, ["a", "b"], independent=True)
    assert {one["msg"] for one in lost.values()} == {"away"} and all(one["lost"] for one in lost.values())


def test_labels_name_what_is_probed() -> None:
    assert [stream.labels[LABEL] for stream in probes(PLAN, INFO)] == [stream.uid for stream in STREAMS]
