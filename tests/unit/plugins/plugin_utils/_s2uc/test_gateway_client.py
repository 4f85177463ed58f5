# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The messages of a run that makes gateways match a description, to one gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.gateway_client import GatewayClient
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import Plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.descriptions import description
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.fleet import read

KEY = "k" * 64
Answers = Mapping[str, Mapping[str, Any]]


class Called:
    """What one gateway was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[dict[str, Any]]]] = []

    def __call__(self, module: str, options: Mapping[str, Any], predict: bool = False) -> dict[str, Any]:
        self.calls.append((module, list(options.get("sessions") or [])))
        return {"changed": True}

    def names(self, streams: list[Stream]) -> list[list[str]]:
        """Return the streams of each call by name."""
        known = {stream.uid: stream.name for stream in streams}
        return [[known[item["uid"]] for item in sessions] for _module, sessions in self.calls]


def client(gateway: str, plan: Plan, answers: Mapping[str, Answers]) -> tuple[GatewayClient, Called]:
    called = Called()
    return GatewayClient(gateway, plan, called, lambda message: answers.get(message, {}), lambda: KEY), called


def plan(streams: list[Stream], **more: Any) -> Plan:
    return Plan(purpose="apply", gateways=["gw-a", "gw-b", "gw-c"], streams=streams, **more)


def race(streams: list[Stream]) -> dict[str, Answers]:
    """Return answers to REQ: this run reserved the first stream, and of the second one only the consumer side."""
    first = streams[0]
    made = {
        "gw-a": [{"uid": first.uid, "role": "producer"}],
        "gw-b": [{"uid": stream.uid, "role": "consumer"} for stream in streams],
    }
    return {"request": {gateway: {"sessions": [], "new_sessions": sessions} for gateway, sessions in made.items()}}


def test_a_stream_that_another_run_opens_gets_no_further_message() -> None:
    streams = read(description(name="mine"), description(name="theirs"))
    answers = race(streams)
    decides = {stream.uid: "producer" for stream in streams}
    for gateway in ("gw-a", "gw-b"):
        member, called = client(gateway, plan(streams, decides=decides), answers)
        member.hello()
        assert called.names(streams) == [["mine"]]
    # Without a decision, both would be announced.
    member, called = client("gw-a", plan(streams), answers)
    member.hello()
    assert called.names(streams) == [["mine", "theirs"]]


def test_what_another_run_continues_with_is_not_released() -> None:
    streams = read(description(name="mine"), description(name="theirs"))
    answers = {**race(streams), "hello": {"gw-a": {"refused": True, "msg": "the disk is full"}}}
    decides = {stream.uid: "producer" for stream in streams}
    member, called = client("gw-b", plan(streams, decides=decides), answers)
    member.undo()
    assert called.names(streams) == [["mine"]]


def test_secrets_are_sent_for_described_sessions_only() -> None:
    (stream,) = read(description())
    stray = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"
    releases = [
        {"gateway": "gw-a", "uid": stream.uid, "role": "producer", "described": True},
        {"gateway": "gw-a", "uid": stray, "role": "consumer", "described": False},
        {"gateway": "gw-b", "uid": stream.uid, "role": "consumer", "described": True},
    ]
    member, called = client("gw-a", plan([], releases=releases), {})
    member.release()
    ((module, sessions),) = called.calls
    assert module == "s2cs_release"
    assert [(item["uid"], item["role"], "secret" in item) for item in sessions] == [
        (stream.uid, "producer", True),
        (stray, "consumer", False),
    ]
    member, called = client("gw-c", plan([], releases=releases), {})
    assert member.release() is None and called.calls == []
