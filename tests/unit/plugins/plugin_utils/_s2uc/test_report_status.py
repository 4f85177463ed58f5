# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people read of streams: a table that fits their terminal, and what is wrong with a command that repairs it."""

from __future__ import annotations

import shlex
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.text import display_width
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import make_credentials
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_missing import missing
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_status import status_lines, unencrypted
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.status_view import StatusView, view_status
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_reader import read_streams
from ansible_collections.scistream.gateway.tests.unit.plugins.module_utils._s2cs.service.samples import HOSTILE
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.reports import STREAMS, UID, session

NOW = datetime(2026, 1, 31, 13, 5, tzinfo=timezone.utc).timestamp()
PATH = "10.2.0.1:5200 (gw-b) -> 192.0.2.1:5100 (gw-a) -> 10.1.0.5:7000; started 2026-01-31 12:00:00Z"
OPEN = "    ansible-playbook scistream.gateway.stream_open -e @streams.yml"
RELEASE = "    ansible-playbook scistream.gateway.stream_release -e uid="


def counters(to_consumer: int = 2**31, **more: Any) -> dict[str, Any]:
    return {
        "since": NOW - 3900,
        "restarts": 0,
        "connections": {"open": 1, "total": 4, "refused": 0, "failed": 0},
        "bytes": {"to_consumer": to_consumer, "to_producer": 96},
        "last_byte": NOW - 0.5,
        "exact": True,
        **more,
    }


def side(role: str, **more: Any) -> dict[str, Any]:
    """Return a healthy session."""
    samples = [
        {"time": NOW - 1, "to_consumer": 2**31 - 1_250_000_000, "to_producer": 96},
        {"time": NOW, "to_consumer": 2**31, "to_producer": 96},
    ]
    healthy = {"running": True, "health": "ok", "encryption": "tls", "owner": "ann", "reason": "", "log": []}
    return session(role, **{**healthy, "counters": counters(), "samples": samples, **more})


def both(**more: Any) -> dict[str, Any]:
    """Return the answers of two gateways with one stream."""
    return {
        "gw-a": {"sessions": [side("producer", **more)], "gateway": {"ports": {"used": 1, "total": 101, "free": 100}}},
        "gw-b": {"sessions": [side("consumer", **more)]},
    }


def seen(results: Any, uids: Any = (), streams: Any = ()) -> StatusView:
    return view_status(results, uids, read_streams(list(streams), "identify") if streams else [], NOW)


def shown(results: Any, uids: Any = (), streams: Any = (), show: str = "all", width: int | None = None) -> list[str]:
    lines = status_lines(seen(results, uids, streams), show, width)
    return ["".join(text for text, _style in line).rstrip() for line in lines]


def troubles(results: Any, **more: Any) -> list[str]:
    lines = shown(results, **more)
    first = [number for number, line in enumerate(lines) if line.startswith(("PROBLEM ", "NOTICE "))]
    return lines[first[0] :] if first else []


def test_a_stream_is_a_line_and_its_path() -> None:
    summary, titles, line, path, gateways = shown(both())
    assert summary == "1 stream, no problems"
    assert titles.split("  ")[0] == "STREAM" and titles.endswith("OWNER")
    cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
    assert cells == [
        *("tomography", "streaming", "ok", "10.0 Gbit/s", "2.0 GiB", "1/4", "1h 5m"),
        *("0 bit/s", "96 B", "0s", "never", "s2ds", "tls", "ann"),
    ]
    assert path == f"  {PATH}; uid {UID}"
    assert gateways == "gw-a: 1 session, 1 of 101 ports used; gw-b: 1 session"


def test_both_sides_are_shown_if_they_differ() -> None:
    results = both()
    results["gw-b"]["sessions"] = [
        side(
            "consumer",
            state="reserved",
            health="waiting",
            proxy="haproxy",
            owner="bob",
            targets=[],
            counters=None,
            rate=10**10,
            expires="2026-01-31T13:10:00Z",
        )
    ]
    _summary, _titles, line, path, _gateways = shown(results)
    for text in ("streaming/reserved", "ok/waiting", "s2ds/haproxy", "ann/bob", " 5m 0s "):
        assert text in line
    # The counters are those of the only side that has any.
    assert "10.0 Gbit/s" in line and "2.0 GiB" in line and "; at most 10.0 Gbit/s; " in path


def test_who_encrypts() -> None:
    tls = {
        "sending": "kernel",
        "receiving": "kernel",
        "suite": "TLS_AES_256_GCM_SHA384",
        "reason": "kernel_tls is true",
    }
    assert "; encrypted in the kernel with TLS_AES_256_GCM_SHA384; uid " in shown(both(tls=tls))[3]
    results = both(tls=tls)
    results["gw-b"]["sessions"] = [side("consumer", tls={**tls, "receiving": "user space"})]
    line = shown(results)[3]
    assert "encrypted in the kernel with TLS_AES_256_GCM_SHA384 (gw-a)" in line
    assert "encrypted sending in the kernel, receiving in user space with TLS_AES_256_GCM_SHA384 (gw-b)" in line
    only_the_suite = {"sending": None, "receiving": None, "suite": "TLS_CHACHA20_POLY1305_SHA256", "reason": "set"}
    assert "; encrypted with TLS_CHACHA20_POLY1305_SHA256; uid " in shown(both(tls=only_the_suite))[3]
    nothing_yet = {"sending": None, "receiving": None, "suite": None, "reason": "kernel_tls is false"}
    others: list[Any] = [None, {}, [], "x", nothing_yet]
    for unknown in others:
        assert "encrypted" not in "".join(shown(both(tls=unknown)))


def test_a_notice_is_no_problem() -> None:
    refused = {"counters": counters(connections={"open": 0, "total": 3, "refused": 1, "failed": 0})}
    assert shown(both(**refused))[0] == "1 stream, no problems, 1 with notices"


@pytest.mark.parametrize(
    ("suite", "amount", "level"),
    [
        ("TLS_AES_256_GCM_SHA384", 129 << 30, "NOTICE"),
        ("TLS_AES_128_GCM_SHA256", 363 << 30, "PROBLEM"),
        ("TLS_AES_256_GCM_SHA384", 120 << 30, ""),
        ("TLS_CHACHA20_POLY1305_SHA256", 1 << 60, ""),
        (None, 129 << 30, "NOTICE"),
        (None, 363 << 30, "NOTICE"),
        (None, 120 << 30, ""),
        ("TLS_AES_256_GCM_SHA384", "1", ""),
        ("TLS_AES_256_GCM_SHA384", True, ""),
    ],
)
def test_what_one_key_has_encrypted(suite: Any, amount: Any, level: str) -> None:
    tls = {"sending": "user space", "receiving": "user space", "suite": suite, "reason": "", "with_one_key": amount}
    lines = [line for line in shown(both(tls=tls)) if "with one key" in line]
    assert [line.partition(" ")[0] for line in lines] == [level] * len(lines) and bool(lines) == bool(level)
    if level:
        unknown = "" if suite else ", if it is used,"
        message = f"GiB with one key, and AES-GCM{unknown} allows 362 GiB: connect again, or set cipher"
        assert message in " ".join(shown(both(tls=tls)))


def test_the_round_trip_between_the_gateways() -> None:
    path = {"client": {"rtt": 0.125, "congestion": "cubic"}, "target": {"rtt": 100.254, "congestion": "bbr"}}
    assert "; round trip 100 ms; uid " in " ".join(line.strip() for line in shown(both(path=path))[3:])
    short = {"rtt": 0.99, "congestion": "cubic"}
    others: list[Any] = [None, {}, [], "x", {"client": None}, {"client": {"rtt": "2"}}, {"target": {"rtt": True}}]
    others.append({"client": short, "target": short})
    for unknown in others:
        assert "round trip" not in "".join(shown(both(path=unknown))[3:])


def test_how_many_paths() -> None:
    texts = {2: "2 paths", 1: "1 path", 0: "single path: the other gateway or the network has no Multipath TCP"}
    for paths, text in texts.items():
        assert f"; {text}; uid " in " ".join(line.strip() for line in shown(both(multipath={"paths": paths}))[3:])
    others: list[Any] = [None, {}, [], "x", {"paths": None}, {"paths": "2"}, {"paths": True}]
    for unknown in others:
        assert "path" not in "".join(shown(both(multipath=unknown))[3:])


@pytest.mark.parametrize("width", [79, 80, 100, 120, 132, 160, 250])
def test_the_table_fits_the_terminal(width: int) -> None:
    results = both()
    for number, name in enumerate(HOSTILE):
        results["gw-a"]["sessions"].append(side("producer", uid=f"u{number}", labels={"stream": name}, owner=name))
    lines = shown(results, width=width)
    titles = lines[1] if "OWNER" in lines[1] else lines[1] + lines[2]
    for title in ("STREAM", "STATE", "HEALTH", "RATE", "TO CONSUMER", "NO BYTES FOR", "EXPIRES", "ENCRYPTION", "OWNER"):
        assert title in titles
    commands = ("    ansible", OPEN)
    assert not [line for line in lines if display_width(line) > width and not line.startswith(commands)]
    assert any(line.startswith("tomography ") for line in lines)


def test_what_has_no_problem_is_not_below_the_table() -> None:
    assert troubles(both()) == []
    lines = shown(both(health="waiting", state="announced", expires="2026-01-31T14:00:00Z"), show="problems")
    assert lines == ["1 stream, no problems", "gw-a: 1 session, 1 of 101 ports used; gw-b: 1 session"]


def test_a_dead_data_server_has_its_log_and_the_command() -> None:
    results = both()
    log = [f"line {number}" for number in range(9)]
    dead = side("consumer", running=False, health="down", reason="it was killed: line 8", log=log)
    results["gw-b"]["sessions"] = [dead]
    lines = shown(results, show="problems")
    assert lines[0] == "1 stream, 1 with problems" and " ok/down " in lines[2]
    assert lines[5:] == [
        "PROBLEM tomography (consumer, gw-b): it was killed: line 8",
        *(f"    log: line {number}" for number in range(4, 8)),
        OPEN,
    ]


@pytest.mark.parametrize(
    ("more", "text", "command"),
    [
        (
            {"counters": counters(connections={"open": 0, "total": 3, "refused": 0, "failed": 3})},
            "NOTICE tomography (producer, gw-a): 3 connections failed because the target did not respond",
            "ansible gw-a -m ansible.builtin.wait_for -a 'host=10.1.0.5 port=7000 timeout=5'",
        ),
        (
            {"counters": counters(connections={"open": 0, "total": 3, "refused": 1, "failed": 0}), "proxy": "haproxy"},
            "1 connection refused: the client or its certificate is not allowed (allowed: 198.51.100.7/32)"
            ", or it left before the handshake was complete, as stream_probe does",
            OPEN.strip(),
        ),
        (
            {"counters": counters(last_byte=NOW - 900)},
            "nothing has been transferred for 15m 0s",
            f"ansible-playbook scistream.gateway.stream_drop -e uid={UID}",
        ),
        ({"health": "expired", "running": False, "reason": "over"}, "tomography: over", RELEASE.strip() + UID),
        ({"health": "silent", "reason": "it is paused"}, "it is paused", RELEASE.strip() + UID + " && " + OPEN.strip()),
    ],
)
def test_each_problem_has_a_command_for_the_control_node(more: Any, text: str, command: str) -> None:
    lines = troubles(both(**more))
    assert text in "\n".join(lines)
    assert f"    {command}" in lines
    # What concerns both sides is reported once.
    assert len([line for line in lines if line.endswith(text)]) <= 2
    assert "s2cs " not in "".join(lines)


def test_certificates_that_expire_soon() -> None:
    begin = datetime.fromtimestamp(NOW, timezone.utc)
    old = make_credentials(UID, "producer", now=begin - timedelta(days=360)).certificate
    dead = make_credentials(UID, "consumer", now=begin - timedelta(days=366)).certificate
    lines = troubles(both(certificate=old, peer_certificate=dead))
    assert lines == [
        "PROBLEM tomography: the certificate of the other gateway has expired: release the stream and open it again",
        f"{RELEASE}{UID} && {OPEN.strip()}",
        "NOTICE tomography: its certificate expires in 5d 0h: release the stream and open it again",
        f"{RELEASE}{UID} && {OPEN.strip()}",
    ]
    # The certificate of a session with a lifetime expires with it.
    assert troubles(both(certificate=old, peer_certificate=None, expires="2026-02-05T13:05:00Z")) == []


@pytest.mark.parametrize("described", [False, True])
def test_a_side_that_was_released_by_hand(described: bool) -> None:
    results = both()
    results["gw-a"]["gateway"]["listen"] = {"producer": "192.0.2.1"}
    results["gw-a"]["sessions"] = []
    lines = troubles(results, streams=STREAMS if described else ())
    assert lines == ["PROBLEM tomography: gw-a has no session for the producer side", OPEN]
    assert " streaming " not in shown(results)[2] and " -/streaming " in shown(results)[2]
    # The gateway of another facility is not part of the run.
    del results["gw-a"]["gateway"]["listen"]
    assert described or troubles(results) == []


def test_what_belongs_to_no_session() -> None:
    orphan = {"uid": UID, "role": "producer", "running": True}
    results: dict[str, Any] = {"gw-a": {"sessions": [], "orphans": [orphan], "policy_problems": ["listen: is wrong"]}}
    assert troubles(results) == [
        "PROBLEM gw-a: policy: listen: is wrong",
        "    ansible-playbook scistream.gateway.gateway --limit gw-a",
        f"PROBLEM uid {UID} (producer, gw-a): a data server is running without a session in the store",
        RELEASE + UID,
    ]
    # If the store cannot be used, there is nothing else.
    answer = {"failed": True, "msg": "the session store is damaged", "orphans": [orphan]}
    assert shown({"gw-a": answer})[:2] == ["0 streams", "gw-a: no answer"]
    assert RELEASE + UID in shown({"gw-a": answer})
    assert shown({"gw-a": answer})[-2:] == [
        "PROBLEM gw-a: the session store is damaged",
        "    ansible gw-a -m scistream.gateway.s2cs_info",
    ]


def test_a_gateway_that_does_not_answer() -> None:
    results = {**both(), "gw-c": {"refused": True, "lost": True, "msg": "cannot be reached:\nno route"}}
    assert shown(results)[-3].endswith("; gw-c: no answer")
    del results["gw-b"]
    assert " streaming/? " in shown(results)[2]
    results["gw-a"]["sessions"].clear()
    assert shown(results, streams=STREAMS)[2].split()[:2] == ["tomography", "?"]
    assert troubles(results) == [
        "PROBLEM gw-c: cannot be reached: no route",
        "    ansible gw-c -m ansible.builtin.ping",
    ]


def test_selected_streams() -> None:
    results = both()
    results["gw-a"]["sessions"].append(side("producer", uid="other", labels={"stream": "other"}))
    assert shown(results)[0].startswith("2 streams") and shown(results)[4].startswith("tomography ")
    for more in ({"uids": [UID.upper()]}, {"streams": STREAMS}):
        assert shown(results, **more)[0] == "1 stream, no problems"


def test_a_described_stream_that_is_not_open_is_a_problem() -> None:
    lines = shown({"gw-a": {"sessions": []}}, streams=STREAMS)
    assert lines[0] == "1 stream, 1 with problems" and " not open " in lines[2]
    assert troubles({"gw-a": {"sessions": []}}, streams=STREAMS) == [
        "PROBLEM tomography: it is not open: no gateway of this run has a session for it",
        "    ansible-playbook scistream.gateway.stream_open -e @streams.yml",
    ]
    gone = [{**stream, "state": "absent"} for stream in STREAMS]
    assert shown({"gw-a": {"sessions": []}}, streams=gone)[0] == "1 stream, no problems"
    for streams, number in ((STREAMS, 1), (gone, 0)):
        found = missing({"gw-a": {"sessions": []}}, streams=read_streams(streams, "identify"), strict=True)
        assert len(found) == number


def test_streams_are_in_natural_order() -> None:
    names = ["scan-10", "scan-2", "Scan-1", "alpha"]
    sessions = [side("producer", uid=str(index), labels={"stream": name}) for index, name in enumerate(names)]
    found = [stream.name for stream in seen({"gw-a": {"sessions": sessions}}).streams]
    assert found == ["alpha", "Scan-1", "scan-2", "scan-10"]


@pytest.mark.parametrize(
    "answer",
    [
        {"sessions": [{"uid": UID}]},
        {"sessions": 7},
        {"sessions": [{**side("producer"), "role": "other"}]},
        {"sessions": [side("producer", counters={"bytes": {"to_consumer": "much"}})]},
        {"sessions": [side("producer", samples=[{"time": "now"}])]},
        {"sessions": [], "gateway": {"ports": {"free": "x", "total": "y"}}},
        {"sessions": [], "gateway": 7},
        {"sessions": [], "orphans": [7]},
    ],
)
def test_an_answer_of_another_form_concerns_its_gateway_only(answer: Any) -> None:
    results = {"gw-c": answer, **both()}
    lines = shown(results)
    assert any(line.startswith("tomography ") and "10.0 Gbit/s" in line for line in lines)
    assert "gw-c: no answer" in lines[4]
    assert lines[5].startswith("PROBLEM gw-c: its answer has an unknown form")


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_a_command_or_a_line(text: str) -> None:
    hostile = side(
        "producer",
        uid=text,
        labels={"stream": text + "\n\x1b[2J"},
        owner=text,
        targets=[text + ":1"],
        counters=counters(connections={"open": 0, "total": 1, "failed": 1, "refused": 1}, last_byte=1),
        health=text,
        reason=text + "\nPROBLEM",
    )
    lines = shown({"gw-a": {"sessions": [hostile]}})
    assert not any(character in "".join(lines) for character in "\n\x1b")
    for line in lines:
        if line.startswith("    ansible"):
            assert shlex.split(line)[0] in ("ansible", "ansible-playbook")


def test_streams_without_encryption_are_named() -> None:
    results = both(encryption="none")
    results["gw-a"]["sessions"].append(side("producer", uid="other", labels={"stream": "safe"}))
    assert unencrypted(seen(results)) == ["tomography"]
    assert unencrypted(seen(results, uids=["other"])) == []


def test_clocks_of_gateways_do_not_matter() -> None:
    results = both()
    for answer, late in zip(results.values(), (7200, -7200), strict=True):
        for one in answer["sessions"]:
            one["samples"] = [{**sample, "time": sample["time"] + late} for sample in one["samples"]]
            one["counters"]["last_byte"] += late
            one["expires"] = f"{datetime.fromtimestamp(NOW + late + 3600, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
            one["created"] = f"{datetime.fromtimestamp(NOW + late - 3900, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
    lines = shown(results)
    assert lines[0] == "1 stream, no problems"
    assert [lines[2].split()[index] for index in (8, 9, 14, 15, 16)] == ["1h", "5m", "0s", "1h", "0m"]
