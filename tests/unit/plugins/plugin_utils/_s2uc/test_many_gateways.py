# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Descriptions of streams with many gateways."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.messages import sides_at
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import DescriptionError, Stream
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_reader import read_streams

GATEWAYS = ("p-1", "p-2", "p-3", "c-1", "c-2")
GROUPS = {"left": ["p-1", "p-2", "p-3"], "right": ["c-1", "c-2"], "nobody": [], "far": ["x-1"], "all": list(GATEWAYS)}


def described(producer: Any = "left", consumer: Any = ("c-1", "c-2"), **more: Any) -> dict[str, Any]:
    """Return a description. Keys with two underscores are keys of a side."""
    stream: dict[str, Any] = {
        "name": "tomography",
        "producer": {"gateways": producer, "listeners": ["10.1.0.5:7000"]},
        "consumer": {"gateways": list(consumer) if isinstance(consumer, tuple) else consumer},
        "num_conn": 8,
    }
    for key, value in more.items():
        side, _separator, inner = key.partition("__")
        if inner:
            stream[side][inner] = value
        else:
            stream[key] = value
    return stream


def read(purpose: str = "open", **changes: Any) -> Stream:
    return read_streams([described(**changes)], purpose, GATEWAYS, groups=GROUPS)[0]


def wrong(purpose: str = "open", **changes: Any) -> str:
    """Return the only mistake of a description."""
    with pytest.raises(DescriptionError) as caught:
        read(purpose, **changes)
    (problem,) = caught.value.problems
    return problem.removeprefix('stream "tomography": ')


def test_a_list_and_a_group() -> None:
    stream = read()
    assert stream.members == {"producer": ["p-1", "p-2", "p-3"], "consumer": ["c-1", "c-2"]}
    assert (stream.deal, stream.lost_members, stream.gateways) == ("round_robin", "replace", {})


def test_one_gateway_on_one_side() -> None:
    stream = described(producer=None, producer__gateway="p-1")
    assert read_streams([stream], "open", GATEWAYS)[0].members["producer"] == ["p-1"]


def test_the_uid_does_not_depend_on_the_gateways() -> None:
    uid = read().uid
    assert read(producer=["p-2"], consumer="right").uid == uid
    assert read_streams([described(producer=["gone-1"])], "release", GATEWAYS)[0].uid == uid
    own = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"
    assert read(uid=own).uid == own


def test_weights_make_their_mode() -> None:
    stream = read(producer__weights={"p-1": 4, "p-2": "0"})
    assert (stream.deal, stream.weights) == ("weights", {"producer": {"p-1": 4, "p-2": 0}, "consumer": {}})
    assert read(deal="weights", consumer__weights={"c-1": 2}).deal == "weights"
    assert read(deal="least_used", lost_members="omit").lost_members == "omit"


def test_what_does_not_open_needs_no_gateways() -> None:
    gone = described(producer="gone", consumer=["x", 7])
    for purpose in ("identify", "release"):
        assert read_streams([gone], purpose, GATEWAYS, groups=GROUPS)[0].members == {"producer": [], "consumer": ["x"]}
    (absent,) = read_streams([{**gone, "state": "absent"}], "apply", GATEWAYS, groups=GROUPS)
    assert (absent.state, absent.deal) == ("absent", "round_robin")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"producer": "lefft"}, 'producer.gateways: "lefft" is not a group of the inventory: must be one of far, left'),
        (
            {"producer": "p-1"},
            'producer.gateways: "p-1" is not a group of the inventory: must be a list, such as [p-1]',
        ),
        ({"producer": "nobody"}, 'producer.gateways: the group "nobody" is empty: must have at least one gateway'),
        ({"producer": []}, "producer.gateways: [] is not allowed: must be a list of at least one gateway, or the name"),
        ({"producer": {"p-1": 2}}, 'producer.gateways: {"p-1": 2} is not allowed: must be a list'),
        ({"producer": 3}, "producer.gateways: 3 is not allowed: must be a list"),
        (
            {"producer": ["p-1", "p-9"]},
            'producer.gateways: "p-9" is not among the gateways of this run, which are: c-1',
        ),
        ({"producer": ["left"]}, "none"),
        ({"producer": "far"}, 'producer.gateways: "x-1" is not among the gateways of this run'),
        ({"producer": ["p-1", "p-1"]}, 'producer.gateways: "p-1" is a duplicate: must be listed once'),
        ({"producer": ["p-1", 7]}, "producer.gateways: 7 is not allowed: must be a name"),
        ({"producer": ["p-1", "c-1"]}, '"c-1" of producer.gateways is also in consumer.gateways'),
        (
            {"producer__gateway": "p-1"},
            "producer.gateway and producer.gateways are both specified: must be one of them",
        ),
        ({"producer__ports": 5100}, "producer.ports: it is not supported with many gateways"),
        ({"deal": "random"}, 'deal: "random" is not allowed: must be'),
        (
            {"deal": "weights"},
            'deal: "weights" is not allowed without weights: must be another one, or add producer.wei',
        ),
        (
            {"deal": "least_used", "producer__weights": {"p-1": 2}},
            'deal: "least_used" is not allowed with weights: must be weights, or omitted',
        ),
        ({"lost_members": "ignore"}, 'lost_members: "ignore" is not allowed: must be'),
        (
            {"producer__weights": {"p-9": 2}},
            'producer.weights: "p-9" is not one of its gateways: must be one of p-1, p-2',
        ),
        ({"producer__weights": {"p-1": -1}}, "producer.weights.p-1: -1 is not allowed"),
        ({"producer__weights": {"p-1": 1.5}}, "producer.weights.p-1: 1.5 is not allowed"),
        ({"producer__weights": [1, 2]}, "producer.weights: [1, 2] is not allowed: must be a dictionary"),
        ({"consumer__weights": {"c-1": 0, "c-2": 0}}, "consumer.weights: all weights are 0: must be more for at least"),
        ({"producer__gatewayz": ["p-1"]}, 'producer: "gatewayz" is not a key of a stream'),
    ],
)
def test_mistakes(changes: dict[str, Any], message: str) -> None:
    if message == "none":
        assert "it is a group: must be specified without a list" in wrong(**changes)
    else:
        assert wrong(**changes).startswith(message)


def test_keys_for_many_gateways_with_one() -> None:
    one: dict[str, Any] = {"producer": None, "consumer": None, "producer__gateway": "p-1", "consumer__gateway": "c-1"}
    assert wrong(**one, deal="least_used").startswith(
        "deal: it is only valid with producer.gateways or consumer.gateways"
    )
    assert wrong(**one, producer__weights={"p-1": 1}).startswith("producer.weights: it is only valid with")


@pytest.mark.parametrize("purpose", ["inbound", "outbound"])
def test_tickets_are_for_one_gateway(purpose: str) -> None:
    with pytest.raises(DescriptionError) as caught:
        read(purpose)
    assert any("not supported with tickets" in problem for problem in caught.value.problems)


def test_messages_are_for_legs() -> None:
    with pytest.raises(ScistreamError, match="run stream_deal"):
        sides_at([read()], "p-1", "open")
