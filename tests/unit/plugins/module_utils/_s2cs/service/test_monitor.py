# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots: viewers share them, and nobody waits for a slow gateway."""

from __future__ import annotations

import threading
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.monitor import Monitor
from ansible_collections.scistream.gateway.tests.unit.plugins.module_utils._s2cs.service.samples import (
    NOW,
    dead,
    info,
    session,
)


def test_viewers_share_snapshots() -> None:
    asked = []

    def ask() -> dict[str, Any]:
        asked.append(1)
        return info(session())

    monitor = Monitor(ask)
    snapshots = [monitor.snapshot(60.0) for _unused in range(50)]
    assert len(asked) == 1
    assert all(snapshot is snapshots[0] for snapshot in snapshots)
    monitor.snapshot(-1.0)
    assert len(asked) == 2


def test_the_previous_snapshot_is_used_while_s2cs_is_slow() -> None:
    begun, go_on = threading.Event(), threading.Event()
    answers = iter([info(session()), info(session(), session(1))])

    def ask() -> dict[str, Any]:
        answer = next(answers)
        if len(answer["sessions"]) == 2:
            begun.set()
            assert go_on.wait(30)
        return answer

    monitor = Monitor(ask)
    first = monitor.snapshot()
    thread = threading.Thread(target=monitor.snapshot, args=(-1.0,))
    thread.start()
    assert begun.wait(30)
    assert monitor.snapshot(-1.0) is first
    go_on.set()
    thread.join()
    assert len(monitor.snapshot(60.0).sessions) == 2


def test_the_error_is_kept_if_s2cs_does_not_respond() -> None:
    def refuse() -> dict[str, Any]:
        raise ScistreamError("nothing listens at /run/scistream/s2cs.sock")

    snapshot = Monitor(refuse).snapshot()
    assert snapshot.info is None
    assert snapshot.error == "nothing listens at /run/scistream/s2cs.sock"
    assert not snapshot.sessions and not snapshot.problems


def test_failures_are_errors() -> None:
    snapshot = Monitor(lambda: {"failed": True, "msg": "the store\nis damaged"}).snapshot()
    assert (snapshot.info, snapshot.error) == (None, "the store is damaged")


def test_problems_come_before_notices() -> None:
    late = session(0, expires="2027-01-15T08:00:30Z")
    snapshot = Monitor(lambda: info(late, dead(1)), clock=lambda: NOW).snapshot()
    assert [problem.level for problem in snapshot.problems] == ["problem", "notice"]
