# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tickets go to other facilities and come from them: nothing in one is trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.scistream.gateway.plugins.filter.stream_tickets import stream_tickets
from ansible_collections.scistream.gateway.plugins.plugin_utils._streams import DescriptionError, read_streams

UID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
TICKET: dict[str, Any] = {
    "version": 1,
    "name": "tomography",
    "uid": UID,
    "num_conn": 1,
    "rate": None,
    "encryption": "none",
    "transport": "tcp",
    "producer": {"gateway": "gw-aps", "listeners": ["192.0.2.1:5100"]},
    "consumer": {"gateway": "gw-alcf"},
}


def write(path: Path, ticket: Any) -> str:
    path.write_text(ticket if isinstance(ticket, str) else yaml.safe_dump(ticket))
    return str(path)


def problem(item: dict[str, Any], gateways: list[str] | None = None) -> str:
    with pytest.raises(DescriptionError) as caught:
        read_streams([item], "outbound", ["gw-alcf"] if gateways is None else gateways)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_there_and_back(tmp_path: Path) -> None:
    streams = [
        {
            "name": "tomography",
            "uid": UID,
            "producer": {"gateway": "gw-aps", "listeners": ["10.1.0.5:7000"]},
            "consumer": {"gateway": "gw-alcf"},
            "num_conn": 2,
            "rate": "1Gbit",
            "encryption": "none",
            "transport": "tcp",
            "labels": {"internal": "yes"},
        }
    ]
    session = {"uid": UID, "role": "producer", "num_conn": 2, "rate": 10**9, "encryption": "none"}
    session["listeners"] = ["192.0.2.1:5100", "192.0.2.1:5101"]
    (ticket,) = stream_tickets(streams, {"gw-aps": {"sessions": [session]}})
    assert "secret" not in json.dumps(ticket) and "internal" not in json.dumps(ticket)
    path = write(tmp_path / "t.yml", ticket)
    (stream,) = read_streams([{"ticket": path}], "outbound", ["gw-alcf", "gw-x"])
    assert (stream.uid, stream.num_conn, stream.rate) == (UID, 2, "1000000000")
    assert stream.remote_listeners == session["listeners"]
    assert stream.gateways == {"producer": "gw-aps", "consumer": "gw-alcf"}


def test_a_producer_side_that_is_not_open_has_no_ticket() -> None:
    streams = [
        {
            "name": "a",
            "producer": {"gateway": "x", "listeners": ["10.1.0.5:7000"]},
            "consumer": {"gateway": "y"},
            "encryption": "none",
            "transport": "tcp",
        }
    ]
    assert stream_tickets(streams, {"x": {}}) == []


def test_the_only_gateway_is_the_one_that_is_meant(tmp_path: Path) -> None:
    path = write(tmp_path / "t.yml", TICKET)
    assert read_streams([{"ticket": path}], "outbound", ["own"])[0].gateways["consumer"] == "own"
    assert "consumer_gateway" in problem({"ticket": path}, ["one", "other"])
    chosen = {"ticket": path, "consumer": {"gateway": "other", "clients": "10.2.0.5"}, "proxy": "nginx"}
    (stream,) = read_streams([chosen], "outbound", ["one", "other"])
    assert (stream.gateways["consumer"], stream.clients, stream.proxy) == ("other", ["10.2.0.5/32"], "nginx")


def test_empty_choices_of_the_command_line_are_none(tmp_path: Path) -> None:
    item = {"ticket": write(tmp_path / "t.yml", TICKET), "consumer": {"gateway": ""}}
    assert read_streams([item], "outbound", ["gw-alcf", "b"])[0].gateways["consumer"] == "gw-alcf"


@pytest.mark.parametrize("purpose", ["open", "inbound"])
def test_only_outbound_opens_tickets(tmp_path: Path, purpose: str) -> None:
    with pytest.raises(DescriptionError, match="only stream_outbound"):
        read_streams([{"ticket": write(tmp_path / "t.yml", TICKET)}], purpose, ["gw-alcf"])


@pytest.mark.parametrize("purpose", ["identify", "release"])
def test_a_ticket_releases(tmp_path: Path, purpose: str) -> None:
    (stream,) = read_streams([{"ticket": write(tmp_path / "t.yml", TICKET)}], purpose, ["gw-alcf"])
    assert stream.uid == UID


@pytest.mark.parametrize("key", ["num_conn", "producer", "uid", "name", "encryption"])
def test_what_is_in_the_ticket_is_not_given_beside_it(tmp_path: Path, key: str) -> None:
    assert key in problem({"ticket": write(tmp_path / "t.yml", TICKET), key: 1})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text",
        "[1, 2]",
        "version: 1",
        "{",
        "\0",
        "!!python/object/apply:os.system ['id']",
        "a: &a [*a, *a]",
        "x" * 300_000,
        "[" * 5_000,
    ],
)
def test_what_is_no_ticket(tmp_path: Path, text: str) -> None:
    assert "not a ticket" in problem({"ticket": write(tmp_path / "t.yml", text)})


@pytest.mark.parametrize("path", ["", 5, None, ["a"], "/nonexistent/t.yml", "/", "/dev/zero", "a\0b"])
def test_what_is_no_file(path: Any) -> None:
    if path is not None:
        assert "ticket" in problem({"ticket": path})


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": True},
        {"version": "1"},
        {"secret": "x"},
        {"producer": []},
        {"consumer": None},
    ],
)
def test_other_shapes(tmp_path: Path, change: dict[str, Any]) -> None:
    assert "ticket" in problem({"ticket": write(tmp_path / "t.yml", {**TICKET, **change})})


@pytest.mark.parametrize(
    "change",
    [
        {"name": "{{ lookup('pipe', 'id') }}"},
        {"name": "../../etc/cron.d/x"},
        {"uid": "{{ 1 }}"},
        {"uid": None, "name": None},
        {"num_conn": 0},
        {"num_conn": [1]},
        {"rate": "{{ x }}"},
        {"encryption": "tls"},
        {"encryption": None},
        {"producer": {"gateway": "gw", "listeners": ["192.0.2.1:5100\nserver evil"]}},
        {"producer": {"gateway": "gw", "listeners": "192.0.2.1:5100"}},
        {"producer": {"gateway": "gw", "listeners": []}},
        {"producer": {"gateway": "g w", "listeners": ["192.0.2.1:5100"]}},
        {"producer": {}},
    ],
)
def test_hostile_values(tmp_path: Path, change: dict[str, Any]) -> None:
    assert problem({"ticket": write(tmp_path / "t.yml", {**TICKET, **change})})
