# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many workers there are, unless that is configured."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parents[4] / "roles" / "s2ds" / "files" / "s2ds"


@pytest.fixture
def choice() -> Iterator[Any]:
    sys.path.insert(0, str(PROGRAM))
    try:
        yield importlib.import_module("worker_choice")
    finally:
        sys.path.remove(str(PROGRAM))


@pytest.mark.parametrize(
    ("processors", "busy", "spliced", "copied"),
    [
        (1, 0, 1, 1),
        (2, 0, 1, 2),
        (3, 0, 1, 3),
        (4, 0, 2, 4),
        (4, 0.3, 1, 4),
        (16, 0, 8, 8),
        (16, 0.5, 4, 8),
        (16, 0.9, 1, 8),
        # More tasks than processors.
        (16, 3.0, 1, 8),
        # Its own workers have only just started, and the load does not contain them yet.
        (4, -0.5, 2, 4),
        (128, 0, 8, 8),
    ],
)
def test_workers_follow_idle_processors_and_the_work_in_user_space(
    choice: Any, processors: int, busy: float, spliced: int, copied: int
) -> None:
    assert choice.most(True, processors, busy) == spliced
    assert choice.most(False, processors, busy) == copied


def test_own_workers_are_not_the_load_of_others(choice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "getloadavg", lambda: (4.0, 0.0, 0.0))
    assert choice.automatic(True, 0) == 2
    assert choice.automatic(True, 4) == 4


def test_processors_that_the_host_keeps_for_others(choice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The load is that of all processors, of which the session may use some."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {4, 5, 6, 7})
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "getloadavg", lambda: (8.0, 0.0, 0.0))
    assert choice.automatic(True, 0) == 1
    assert choice.automatic(True, 8) == 2


@pytest.mark.parametrize("options", [(), ("--copy",)])
def test_connections_share_what_the_choice_allows(bed: Any, choice: Any, options: tuple[str, ...]) -> None:
    target = bed.target()
    forwarder = bed.forwarder(*options, targets=[target.address])
    pairs = [bed.link(forwarder, target) for _unused in range(3 * choice.MAX_WORKERS)]
    for client, server in pairs:
        client.send(b"x")
        assert server.receive(1) == b"x"
    found, processors = len(forwarder.workers()), len(os.sched_getaffinity(0))
    if options:
        assert found == choice.most(False, processors, 0)
    else:
        assert 1 <= found <= choice.most(True, processors, 0)
