# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people read when streams were released, or could not be opened."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.filter.stream_report import stream_report
from ansible_collections.scistream.gateway.plugins.plugin_utils._stream import stream_uid

UID = stream_uid("tomography", "gw-a", "gw-b")
STREAMS = [
    {
        "name": "tomography",
        "producer": {"gateway": "gw-a", "listeners": ["10.1.0.5:7000"]},
        "consumer": {"gateway": "gw-b"},
        "encryption": "none",
    }
]


def test_released() -> None:
    given_back = [{"uid": UID, "role": "producer", "listeners": ["192.0.2.1:5100"]}]
    results = {
        "gw-a": {"released": given_back},
        "gw-b": {"released": []},
        "gw-c": {"skipped": True},
        "gw-d": {"unreachable": True, "msg": "no route"},
    }
    assert stream_report(results, "released", streams=STREAMS) == [
        f"gw-a: gave back tomography producer: 192.0.2.1:5100 (uid {UID})",
        f"gw-b: nothing to give back of tomography (uid {UID})",
        "gw-d: no route",
    ]
    assert "would give back" in stream_report(results, "released", check_mode=True)[0]


def test_released_of_uids() -> None:
    results = {"gw-a": {"released": [{"uid": UID, "role": "producer", "listeners": []}]}, "gw-b": {"released": []}}
    assert stream_report(results, "released", uids=[UID.upper()]) == [
        f"gw-a: gave back stream producer: no listeners (uid {UID})",
        f"gw-b: nothing to give back of stream (uid {UID})",
    ]


def test_released_says_which_side_is_out_of_reach() -> None:
    results: dict[str, Any] = {"gw-a": {"released": []}}
    assert stream_report(results, "released", streams=STREAMS, gateways=["gw-a"]) == [
        f"gw-a: nothing to give back of tomography (uid {UID})",
        "gateway gw-b is not in this run: its side of tomography is not released",
    ]


OTHER = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (f'sessions[0] ("{UID}"): num_conn: 0 is', 'stream "tomography": num_conn: 0 is'),
        (f"producer of {UID}: rate: too much", 'stream "tomography": producer: rate: too much'),
        (
            f"uid: session {UID} (producer) exists with other parameters",
            f'stream "tomography": uid: session {UID} (producer) exists with other parameters',
        ),
        (
            f"producer of {UID}: gone; consumer of {OTHER}: gone",
            f'stream "tomography": producer: gone; consumer of {OTHER}: gone',
        ),
        ("proxy: not on offer", "proxy: not on offer"),
    ],
)
def test_gateways_know_uids_and_people_know_names(message: str, text: str) -> None:
    refused = {"gw-a": {"failed": True, "msg": message}}
    assert stream_report({}, "failed", steps=[refused], streams=STREAMS)[0] == f"gw-a: {text}"
    assert stream_report({}, "failed", steps=[refused])[0] == f"gw-a: {message}"
    assert stream_report(refused, "released", streams=STREAMS) == [f"gw-a: {text}"]


def test_failed_says_what_did_not_fit() -> None:
    assert stream_report({}, "failed", problems=["the reply answers another"])[0] == "the reply answers another"


def test_failed_names_what_was_given_back() -> None:
    lines = stream_report({"gw-a": {"released": [{"uid": UID, "role": "producer"}]}}, "failed", streams=STREAMS)
    assert lines == ["given back: gw-a producer of tomography"]


@pytest.mark.parametrize(
    ("tickets", "lines"),
    [
        ({"failed": True, "msg": "no template"}, ["a ticket could not be written: no template"]),
        (
            {
                "failed": True,
                "results": [
                    {"item": {"file": "a.ticket.yml"}},
                    {"item": {"file": "b.reply.yml"}, "failed": True, "msg": "full"},
                ],
            },
            ["the file b.reply.yml could not be written: full"],
        ),
        ({"results": [{"item": {"file": "a.ticket.yml"}}]}, []),
        ({}, []),
    ],
)
def test_failed_says_why_there_is_no_ticket(tickets: dict[str, Any], lines: list[str]) -> None:
    assert stream_report({}, "failed", tickets=tickets)[:-1] == lines


def test_failed_keeps_the_words_of_the_gateway() -> None:
    lines = stream_report(
        {"gw-a": {"released": [{"uid": UID, "role": "producer"}]}, "gw-b": {"skipped": True}},
        "failed",
        steps=[{"gw-a": {}, "gw-b": {"failed": True, "msg": "proxy: not on offer"}}, {"gw-a": {"skipped": True}}],
    )
    assert lines == ["gw-b: proxy: not on offer", f"given back: gw-a producer of {UID}"]


def test_failed_tells_what_could_not_be_given_back() -> None:
    lines = stream_report({"gw-a": {"unreachable": True, "msg": "gone"}}, "failed", steps=[])
    assert "could not be given back: gone" in lines[0]
