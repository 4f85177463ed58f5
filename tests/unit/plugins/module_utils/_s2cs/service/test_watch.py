# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking again and again: many viewers cost one look, and one that takes its time holds up nobody."""

from __future__ import annotations

import threading
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.watch import Watch
from ansible_collections.scistream.gateway.tests.unit.plugins.module_utils._s2cs.service.samples import (
    NOW,
    dead,
    info,
    session,
)


def test_many_viewers_cost_one_look() -> None:
    asked = []

    def ask() -> dict[str, Any]:
        asked.append(1)
        return info(session())

    watch = Watch(ask)
    looks = [watch.look(60.0) for _unused in range(50)]
    assert len(asked) == 1
    assert all(look is looks[0] for look in looks)
    watch.look(-1.0)
    assert len(asked) == 2


def test_the_last_look_does_while_the_next_one_takes_its_time() -> None:
    begun, go_on = threading.Event(), threading.Event()
    answers = iter([info(session()), info(session(), session(1))])

    def ask() -> dict[str, Any]:
        answer = next(answers)
        if len(answer["sessions"]) == 2:
            begun.set()
            assert go_on.wait(30)
        return answer

    watch = Watch(ask)
    first = watch.look()
    thread = threading.Thread(target=watch.look, args=(-1.0,))
    thread.start()
    assert begun.wait(30)
    assert watch.look(-1.0) is first
    go_on.set()
    thread.join()
    assert len(watch.look(60.0).sessions) == 2


def test_the_reason_is_kept_if_s2cs_does_not_answer() -> None:
    def refuse() -> dict[str, Any]:
        raise ScistreamError("nothing listens at /run/scistream/s2cs.sock")

    look = Watch(refuse).look()
    assert look.info is None
    assert look.error == "nothing listens at /run/scistream/s2cs.sock"
    assert not look.sessions and not look.problems


def test_a_failure_is_no_look_either() -> None:
    look = Watch(lambda: {"failed": True, "msg": "the store\nis damaged"}).look()
    assert (look.info, look.error) == (None, "the store is damaged")


def test_problems_come_before_notices() -> None:
    late = session(0, expires="2027-01-15T08:00:30Z")
    look = Watch(lambda: info(late, dead(1)), clock=lambda: NOW).look()
    assert [problem.level for problem in look.problems] == ["problem", "notice"]
