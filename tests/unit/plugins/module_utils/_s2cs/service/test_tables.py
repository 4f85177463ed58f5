# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table: no wider than the terminal, in letters that can be shown, and without colours in a file."""

from __future__ import annotations

import io
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common import text as texts
from ansible_collections.scistream.gateway.plugins.module_utils._common.history import History
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import tables
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.monitor import Snapshot, take_snapshot
from ansible_collections.scistream.gateway.tests.unit.plugins.module_utils._s2cs.service.samples import (
    HOSTILE,
    NOW,
    dead,
    info,
    session,
)


def seen(*sessions: dict[str, Any], **changes: Any) -> Snapshot:
    return take_snapshot(info(*sessions, **changes), History(), NOW)


def text(found: Snapshot, width: int | None = None, ascii_only: bool = False) -> list[str]:
    return ["".join(part for part, _style in line).rstrip() for line in tables.info_lines(found, width, ascii_only)]


def test_a_session_is_a_line() -> None:
    head, titles, line = text(seen(session(0)))
    assert head == "gw-aps: 1 session, 1 of 202 ports used, scistream.gateway 0.1.0"
    assert titles.split()[:4] == ["STREAM", "ROLE", "STATE", "HEALTH"]
    for value in ("tomography-0", "consumer", "streaming", "ok", "1/3", "1.0 GiB", "now", "1d 0h", "alice"):
        assert f" {value} " in f" {line} ", value
    assert line.endswith(session(0)["uid"])


def test_a_problem_has_its_command_below() -> None:
    lines = text(seen(dead(1)))
    assert lines[-2] == (
        "PROBLEM tomography-1 (producer): its data server is not running: it was killed by the signal SIGKILL"
    )
    assert lines[-1] == "    ansible-playbook scistream.gateway.stream_open -e @streams.yml"


def test_a_gateway_without_sessions_is_one_line() -> None:
    assert text(seen()) == ["gw-aps: 0 sessions, 0 of 202 ports used, scistream.gateway 0.1.0"]


@pytest.mark.parametrize("width", [60, 80, 100, 132, 250])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_the_table_is_as_wide_as_there_is_room(width: int, ascii_only: bool) -> None:
    found = seen(*(session(number, labels={"stream": name}) for number, name in enumerate(HOSTILE)), dead(20))
    lines = [line for line in text(found, width, ascii_only)[1:] if not line.startswith(("PROBLEM", "    "))]
    assert len(lines) == len(HOSTILE) + 2
    assert {texts.display_width(line) <= width for line in lines} == {True}
    assert all("STREAM" in lines[0] and word in lines[0] for word in ("ROLE", "HEALTH"))
    if ascii_only:
        assert all(line.isascii() for line in lines)
    # The columns stand below each other, whatever is in them.
    place = texts.display_width(lines[0][: lines[0].index("ROLE")])
    for line in lines[1:]:
        role = next(one for one in ("producer", "consumer") if one in line)
        assert texts.display_width(line[: line.index(role)]) == place, line


@pytest.mark.parametrize(("text_", "width"), [("abc", 3), ("粒子", 4), ("é", 1), ("e\u0301", 1), ("", 0), ("بث", 2)])
def test_width_of_letters(text_: str, width: int) -> None:
    assert texts.display_width(text_) == width


@pytest.mark.parametrize("most", range(8))
def test_a_cut_text_fits(most: int) -> None:
    for text_ in ("abcdefghij", "粒子線断層撮影"):
        for ascii_only in (False, True):
            assert texts.display_width(texts.truncate(text_, most, ascii_only)) <= most


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_a_file_gets_no_colours_and_only_its_letters(encoding: str) -> None:
    raw = io.BytesIO()
    output = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    tables.write_info(seen(dead(1), *(session(9, labels={"stream": name}) for name in HOSTILE)), output)
    written = raw.getvalue().decode(encoding)
    assert "\033" not in written
    assert "tomography-1" in written
    assert ("粒子線" in written) == (encoding == "utf-8")
