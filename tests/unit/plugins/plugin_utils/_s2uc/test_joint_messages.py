# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When HELLO and UPDATE are one call, when HELLO is not sent at all, and what the call contains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import messages
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.joint_messages import JointMessages, are_joint
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import Plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.descriptions import description
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.fleet import read

Calls = Sequence[tuple[str, Mapping[str, Any]]]
KEY = b"k" * 64
SIDES = {"producer": ("gw-a", "192.0.2.1"), "consumer": ("gw-b", "192.0.2.2")}


def session(stream: Stream, role: str, **more: Any) -> dict[str, Any]:
    address = SIDES[role][1]
    found: dict[str, Any] = {
        "uid": stream.uid,
        "role": role,
        "state": "reserved",
        "created": "2026-01-01T00:00:00Z",
        "ends": None,
    }
    found.update(listeners=[f"{address}:5100"], egress=address, certificate=None, producer_listeners=[], proxy="s2ds")
    return {**found, **more}


def asked(stream: Stream) -> dict[str, dict[str, Any]]:
    """Return the answers to a REQ that created both sides."""
    return {
        gateway: {"sessions": [session(stream, role)], "new_sessions": [{"uid": stream.uid, "role": role}]}
        for role, (gateway, _address) in SIDES.items()
    }


def plan(stream: Stream, **more: Any) -> Plan:
    return Plan(purpose="open", gateways=["gw-a", "gw-b"], streams=[stream], **more)


def test_only_new_sessions_are_announced_and_updated_together() -> None:
    (stream,) = read(description())
    answers = asked(stream)
    assert are_joint(plan(stream), answers)
    assert not are_joint(plan(stream, hello_dir="/x"), answers)
    assert not are_joint(plan(replace(stream, waits_for_hello=True)), answers)
    refusals: list[dict[str, Any]] = [
        {"refused": True},
        {"refused": True, "alone": True},
        {"failed": True, "lost": True},
    ]
    for changes in ({"new_sessions": []}, *refusals):
        other = {**answers, "gw-b": {**answers["gw-b"], **changes}}
        assert not are_joint(plan(stream), other)
    assert not are_joint(plan(stream), {"gw-a": {}, "gw-b": {}})


class Gateway:
    """Answers to calls, and what they were."""

    def __init__(self, in_order: bool = True, failing: str = "") -> None:
        self.calls: list[tuple[str, list[dict[str, Any]]]] = []
        self.sequences = 0
        self._in_order = in_order
        self._failing = failing

    def ask(self, module: str, options: Mapping[str, Any]) -> dict[str, Any]:
        self.calls.append((module, options["sessions"]))
        return {"refused": True, "msg": "no"} if module == self._failing else {"changed": True}

    def ask_in_order(self, calls: Calls) -> list[dict[str, Any]] | None:
        if not self._in_order:
            return None
        self.sequences += 1
        return [self.ask(module, options) for module, options in calls]


def joint(stream: Stream, role: str, gateway: Gateway) -> JointMessages:
    return JointMessages(SIDES[role][0], plan(stream), gateway.ask, gateway.ask_in_order, lambda: KEY, asked(stream))


@pytest.mark.parametrize("in_order", [True, False])
def test_the_gateways_get_the_certificates_of_each_other(in_order: bool) -> None:
    (stream,) = read(description())
    gateways = {role: Gateway(in_order) for role in SIDES}
    parts = {role: joint(stream, role, gateways[role]) for role in SIDES}
    offers = {SIDES[role][0]: part.offer() for role, part in parts.items()}
    assert "PRIVATE KEY" not in str(offers)
    for role, part in parts.items():
        assert part.send(offers) == {"hello": {"changed": True}, "update": {"changed": True}}
        (first, (hello,)), (second, (update,)) = gateways[role].calls
        other = next(each for each in SIDES if each != role)
        assert (first, second) == ("s2cs_hello", "s2cs_update")
        assert "PRIVATE KEY" in hello["key"] and "CERTIFICATE" in hello["certificate"]
        assert hello["certificate"] == offers[SIDES[role][0]]["sessions"][0]["certificate"]
        assert update["peer_certificate"] == offers[SIDES[other][0]]["sessions"][0]["certificate"]
        assert gateways[role].sequences == int(in_order)
    assert gateways["consumer"].calls[1][1][0]["remote_listeners"] == ["192.0.2.1:5100"]
    assert gateways["producer"].calls[1][1][0]["clients"] == ["192.0.2.2/32"]


def test_an_update_does_not_follow_a_refused_hello() -> None:
    (stream,) = read(description())
    gateway = Gateway(in_order=False, failing="s2cs_hello")
    part = joint(stream, "consumer", gateway)
    offers = {"gw-a": {"sessions": []}, "gw-b": part.offer()}
    assert part.send(offers) == {"hello": {"refused": True, "msg": "no"}}


def test_nothing_is_sent_without_the_offers_of_all_gateways() -> None:
    (stream,) = read(description())
    gateway = Gateway()
    part = joint(stream, "consumer", gateway)
    assert part.send({"gw-a": {"refused": True, "lost": True}, "gw-b": part.offer()}) == {}
    assert gateway.calls == []


def test_incompatible_sides_are_refused_before_either_message() -> None:
    (stream,) = read(description())
    answers = asked(stream)
    answers["gw-a"]["sessions"][0]["listeners"].append("192.0.2.1:5101")
    gateway = Gateway()
    part = JointMessages("gw-a", plan(stream), gateway.ask, gateway.ask_in_order, lambda: KEY, answers)
    (refused,) = part.send({"gw-a": part.offer(), "gw-b": {}}).values()
    assert refused["refused"] and "same number" in refused["msg"] and gateway.calls == []


@pytest.mark.parametrize(
    ("role", "changes", "settled"),
    [
        ("producer", {}, True),
        ("consumer", {}, True),
        ("producer", {"state": "announced"}, False),
        ("producer", {"producer_listeners": ["10.1.0.9:7000"]}, False),
        ("consumer", {"producer_listeners": []}, True),
        ("producer", {"certificate": None}, False),
    ],
)
def test_a_hello_that_would_change_nothing(role: str, changes: dict[str, Any], settled: bool) -> None:
    (stream,) = read(description())
    known = {"state": "streaming", "certificate": "PEM", "producer_listeners": stream.producer_listeners, **changes}
    answers = {SIDES[role][0]: {"sessions": [session(stream, role, **known)]}}
    assert messages.settled([(stream, role)], answers) == ([(stream, role)] if settled else [])
    waiting = replace(stream, waits_for_hello=True)
    assert messages.settled([(waiting, role)], answers) == []
    assert messages.settled([(stream, role)], {}) == []
