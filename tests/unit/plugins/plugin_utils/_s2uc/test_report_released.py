# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people read when streams were released, or could not be opened."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_missing import similar
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import stream_uid
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.client import report

UID = stream_uid("tomography", "gw-a", "gw-b")
OTHER_ROLE = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
STREAMS = [
    {
        "name": "tomography",
        "producer": {"gateway": "gw-a", "listeners": ["10.1.0.5:7000"]},
        "consumer": {"gateway": "gw-b"},
        "encryption": "none",
    }
]
NOT_OPENED = "The streams were not opened."


def test_released() -> None:
    entries = [{"uid": UID, "role": "producer", "listeners": ["192.0.2.1:5100"]}]
    results = {
        "gw-a": {"released": entries},
        "gw-b": {"released": []},
        "gw-c": {"skipped": True},
        "gw-d": {"refused": True, "msg": "no route"},
    }
    assert report(results, "released", streams=STREAMS) == [
        f"gw-a: released tomography producer: 192.0.2.1:5100 (uid {UID})",
        f"gw-b: nothing to release for tomography (uid {UID})",
    ]
    assert report(results, "unreleased", streams=STREAMS) == [
        "Not everything was released. Fix the cause and run the same command again.",
        "  gw-d: no route",
    ]
    assert "would release" in report(results, "released", check_mode=True)[0]
    assert report({"gw-a": {"released": []}}, "unreleased") == []


def test_released_of_uids() -> None:
    results = {"gw-a": {"released": [{"uid": UID, "role": "producer", "listeners": []}]}, "gw-b": {"released": []}}
    assert report(results, "released", uids=[UID.upper()]) == [
        f"gw-a: released stream producer: no listeners (uid {UID})",
        f"gw-b: nothing to release for stream (uid {UID})",
    ]


def test_released_says_which_side_is_out_of_reach() -> None:
    results: dict[str, Any] = {"gw-a": {"released": []}}
    assert report(results, "released", streams=STREAMS, gateways=["gw-a"]) == [
        f"gw-a: nothing to release for tomography (uid {UID})",
        "gateway gw-b is not in this run: its side of tomography is not released",
    ]


@pytest.mark.parametrize(
    ("proxy", "warning"),
    [
        ("s2ds", "  WARNING: 2 open connections were cut"),
        (
            "haproxy",
            "  WARNING: 2 open connections were cut; with haproxy the applications may take that for a normal end",
        ),
    ],
)
def test_released_ends_with_the_totals_and_warns_of_what_it_cut(proxy: str, warning: str) -> None:
    counters = {"connections": {"open": 2, "total": 3}, "bytes": {"to_consumer": 2**31, "to_producer": 7}}
    labels = {"stream": "tomography"}
    before = {"gw-a": {"sessions": [{"uid": UID, "role": "producer", "proxy": proxy, "labels": labels}]}}
    before["gw-a"]["sessions"][0]["counters"] = counters
    results = {"gw-a": {"released": [{"uid": UID, "role": "producer", "listeners": []}]}}
    totals = f"3 connections in all, 2.0 GiB to the consumer, 7 B to the producer (uid {UID})"
    assert report(results, "released", uids=[UID], before=before) == [
        f"gw-a: released tomography producer: no listeners, {totals}",
        warning,
    ]


def test_released_of_what_was_dead() -> None:
    """The last totals that are known, which something may be missing of."""
    counters = {"connections": {"open": 0, "total": 1}, "bytes": {"to_consumer": 9, "to_producer": 5}, "exact": False}
    results = {"gw-a": {"released": [{"uid": UID, "role": "producer", "listeners": [], "counters": counters}]}}
    totals = "at least 1 connection in all, at least 9 B to the consumer, 5 B to the producer"
    assert report(results, "released", uids=[UID]) == [
        f"gw-a: released stream producer: no listeners, {totals} (uid {UID})"
    ]
    # One that is stopped has what it had.
    counters["connections"]["open"] = None  # type: ignore[index]
    for check_mode, cuts in ((False, "were"), (True, "would be")):
        lines = report(results, "released", uids=[UID], check_mode=check_mode)
        assert lines[1:] == [f"  WARNING: its data server did not answer: its open connections {cuts} cut"]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (f'sessions[0] ("{UID}"): num_conn: 0 is', 'stream "tomography": num_conn: 0 is'),
        (f"producer of {UID}: rate: too much", 'stream "tomography": producer: rate: too much'),
        (
            f'producer of {UID}: sessions[0] ("{UID}"): rate: too much',
            'stream "tomography": producer: rate: too much',
        ),
        (
            f"uid: session {UID} (producer) exists with different parameters",
            f'stream "tomography": uid: session {UID} (producer) exists with different parameters',
        ),
        (
            f"producer of {UID}: gone; consumer of {OTHER_ROLE}: gone",
            f'stream "tomography": producer: gone; consumer of {OTHER_ROLE}: gone',
        ),
        ("proxy: not on offer", "proxy: not on offer"),
    ],
)
def test_gateways_know_uids_and_people_know_names(message: str, text: str) -> None:
    refused = {"gw-a": {"refused": True, "msg": message}}
    assert report({}, "failed", steps=[refused], streams=STREAMS)[1] == f"  gw-a: {text}"
    assert report({}, "failed", steps=[refused])[1] == f"  gw-a: {message}"
    assert report(refused, "unreleased", streams=STREAMS)[1] == f"  gw-a: {text}"


def test_failed_says_once_what_all_gateways_say() -> None:
    step: dict[str, Any] = {
        "gw-a": {"refused": True, "msg": f"uid: session {UID} (producer) exists"},
        "gw-b": {"refused": True, "msg": f"uid: session {UID} (consumer) exists"},
    }
    assert report({}, "failed", steps=[step], streams=STREAMS)[1:] == [
        f'  gw-a, gw-b: stream "tomography": uid: session {UID} exists'
    ]
    fit = {"refused": True, "problems": ["they do not fit"], "msg": "they do not fit"}
    assert report({}, "failed", steps=[{"gw-a": fit, "gw-b": fit}]) == [NOT_OPENED, "  they do not fit"]


def test_failed_of_nothing_says_nothing() -> None:
    assert report({"gw-a": {"skipped": True}}, "failed", steps=[{"gw-a": {"sessions": []}}]) == []


@pytest.mark.parametrize(
    ("tickets", "lines"),
    [
        ({"failed": True, "msg": "no template"}, [NOT_OPENED, "  a ticket could not be written: no template"]),
        (
            {
                "refused": True,
                "unwritten": [
                    {"file": "a.ticket.yml"},
                    {"file": "b.reply.yml", "failed": True, "msg": "full"},
                ],
            },
            [NOT_OPENED, "  the file b.reply.yml could not be written: full"],
        ),
        ({}, []),
    ],
)
def test_failed_says_why_there_is_no_ticket(tickets: dict[str, Any], lines: list[str]) -> None:
    assert report({}, "failed", tickets=tickets) == lines


def test_failed_keeps_the_words_of_the_gateway_and_names_what_it_released() -> None:
    lines = report(
        {"gw-a": {"released": [{"uid": UID, "role": "producer"}]}, "gw-b": {"skipped": True}},
        "failed",
        steps=[{"gw-a": {}, "gw-b": {"refused": True, "msg": "proxy: not on offer"}}, {"gw-a": {"skipped": True}}],
        streams=STREAMS,
    )
    assert lines == [
        NOT_OPENED,
        "  gw-b: proxy: not on offer",
        "  Released what this run had opened: producer of tomography on gw-a",
    ]


def test_failed_names_what_may_be_left_and_how_it_is_released() -> None:
    undone = {"gw-b": {"refused": True, "msg": "gone", "left": [{"uid": UID, "role": "consumer", "sure": False}]}}
    steps = [{"gw-b": {"refused": True, "lost": True, "msg": "gone"}}]
    lines = report(undone, "failed", steps=steps, streams=STREAMS)
    assert lines == [
        NOT_OPENED,
        "  gw-b: gone",
        "  WARNING: gw-b: the consumer session of tomography may still exist",
        f"  To release it: ansible-playbook scistream.gateway.stream_release -e uid={UID}",
    ]


@pytest.mark.parametrize(
    ("new", "state", "headline"),
    [
        ([], "streaming", "The streams were not changed. Still open as before: tomography."),
        ([{"uid": UID, "role": "producer"}], "reserved", NOT_OPENED),
    ],
)
def test_failed_says_whether_streams_are_open_as_before(new: list[Any], state: str, headline: str) -> None:
    made = {"new_sessions": new, "sessions": [{"uid": UID, "role": "producer", "state": state}]}
    steps: list[dict[str, Any]] = [{"gw-a": made}, {}, {"gw-a": {"refused": True, "msg": "targets: not allowed"}}]
    assert report({}, "failed", steps=steps, streams=STREAMS)[0] == headline


def test_a_stream_that_cannot_be_changed_concerns_itself_alone() -> None:
    second = {**STREAMS[0], "name": "second", "uid": OTHER_ROLE}
    failed = [{"uid": OTHER_ROLE, "role": "producer", "msg": "num_conn is 1, requested 2"}]
    step = {"gw-a": {"refused": True, "alone": True, "msg": "x", "failed_sessions": failed}}
    lines = report({}, "failed", steps=[step], streams=[*STREAMS, second])
    assert lines[:2] == [
        "Not changed: second. All others are open as described:",
        '  gw-a: stream "second": producer: num_conn is 1, requested 2',
    ]
    assert lines[2].startswith("tomography: ") and not any(line.startswith("second: ") for line in lines[2:])
    would = report({}, "failed", steps=[step], streams=[*STREAMS, second], check_mode=True)
    assert would[0] == "Would not be changed: second. All others would be open as described:"


THERE = {"gw-a": {"sessions": [{"uid": UID, "role": "producer", "labels": {"stream": "tomography"}}]}}


@pytest.mark.parametrize(
    ("uids", "streams", "mistake"),
    [
        (["nonsense"], [], 'uid: "nonsense" is not allowed: must be a UUID'),
        (["tomograhpy"], [], f'; did you mean "tomography" (uid {UID})?'),
        ([UID[:-1] + ("0" if UID[-1] != "0" else "1")], [], f'; did you mean "tomography" (uid {UID})?'),
        ([], [{**STREAMS[0], "name": "tomograhpy"}], f'; did you mean "tomography" (uid {UID})?'),
        ([UID], STREAMS, None),
        ([OTHER_ROLE], [], None),
        ([], [{**STREAMS[0], "name": "spectra"}], None),
    ],
)
def test_what_is_misspelled(uids: list[str], streams: list[Any], mistake: str | None) -> None:
    lines = report(THERE, "misspelled", uids=uids, streams=streams)
    assert (mistake in lines[0]) if mistake else lines == []


def test_status_fails_of_what_is_nowhere() -> None:
    lines = report({**THERE, "gw-b": {"refused": True, "msg": "gone"}}, "unseen", uids=[OTHER_ROLE])
    assert lines == ["gw-b: gone", f"uid {OTHER_ROLE}: no gateway of this run has a session for it"]
    assert report(THERE, "unseen", streams=[{**STREAMS[0], "name": "spectra"}]) == []


@pytest.mark.parametrize(
    ("given", "there", "same"),
    [
        ("tomograhpy", "tomography", True),
        ("tomo-graphy", "tomography", True),
        ("Tomography", "tomography", True),
        ("scan-1", "scan-2", False),
        ("detector-a", "detector-b", False),
        ("raw-north", "raw-south", False),
        ("stream-brief", "stream-breif", True),
        ("scan", "", False),
    ],
)
def test_names_of_neighbours_are_not_taken_for_misspelled(given: str, there: str, same: bool) -> None:
    assert similar(given, there) is same
