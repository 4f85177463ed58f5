# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Any number of sessions in one run: a gateway accepts 1,024 in a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.call_parts import call_in_parts

SESSIONS = [{"uid": str(number), "role": "producer"} for number in range(2500)]


class Gateway:
    """Answers calls, and fails in one of them."""

    def __init__(self, failing: int = -1, **failure: Any) -> None:
        self.sizes: list[int] = []
        self._failing = failing
        self._failure = failure

    def __call__(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        assert arguments["config"] == "/etc/p.json"
        sessions = arguments["sessions"]
        self.sizes.append(len(sessions))
        if len(self.sizes) - 1 == self._failing:
            return {"refused": True, **self._failure}
        name = sessions[0]["uid"]
        return {
            "changed": len(sessions) == 1024,
            "sessions": [{**item, "state": "reserved"} for item in sessions],
            "new_sessions": sessions[:1],
            "released": sessions,
            "diff": {"before": {name: None}, "after": {name: {}}},
        }


def ask(gateway: Gateway, module: str = "s2cs_request", count: int = 2500) -> dict[str, Any]:
    return call_in_parts(module, {"config": "/etc/p.json", "sessions": SESSIONS[:count]}, gateway)


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (1024, [1024]), (1025, [1024, 1]), (2500, [1024, 1024, 452])])
def test_parts(count: int, sizes: list[int]) -> None:
    gateway = Gateway()
    answer = ask(gateway, count=count)
    assert gateway.sizes == sizes
    assert answer["released"] == SESSIONS[:count]
    assert [item["uid"] for item in answer["new_sessions"]] == [str(1024 * part) for part in range(len(sizes))]
    assert list(answer["diff"]["after"]) == list(answer["diff"]["before"]) and len(answer["diff"]["after"]) == len(
        sizes
    )
    assert answer["changed"] == (1024 in sizes) and "refused" not in answer


def test_what_fails() -> None:
    for module, failure, calls in (
        ("s2cs_request", {"msg": "the policy"}, 2),
        ("s2cs_release", {"msg": "the policy"}, 3),
        ("s2cs_release", {"msg": "gone", "lost": True}, 2),
        ("s2cs_update", {"msg": "one", "failed_sessions": [SESSIONS[1024]]}, 3),
    ):
        gateway = Gateway(1, **failure)
        answer = ask(gateway, module)
        assert len(gateway.sizes) == calls and answer["refused"] and answer["msg"] == failure["msg"]
        assert answer["sessions"][0]["uid"] == "0" and answer["changed"]


def test_repeated_part() -> None:
    """Only its own sessions may have been created by the call whose answer was lost."""
    reserved = [{**item, "state": "reserved"} for item in SESSIONS[1024:2048]]
    gateway = Gateway(1, repeated=True, sessions=reserved)
    answer = ask(gateway, "s2cs_release")
    assert [item["uid"] for item in answer["new_sessions"]] == ["0", *map(str, range(1024, 2049))]
    assert "repeated" not in answer


def test_messages_are_shown_once() -> None:
    class Failing(Gateway):
        def __call__(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
            super().__call__(arguments)
            return {"refused": True, "msg": "no" if len(self.sizes) < 3 else "other"}

    assert ask(Failing(), "s2cs_release")["msg"] == "no; other"
