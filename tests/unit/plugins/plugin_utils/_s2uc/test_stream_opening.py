# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The result of the task that opens streams: each session once, as the last message returned it."""

from __future__ import annotations

from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_opening import without_repetition


def session(uid: str, state: str) -> dict[str, str]:
    return {"uid": uid, "role": "producer", "state": state}


def test_each_session_is_in_the_last_answer_that_contains_it() -> None:
    asked = [session("a", "reserved"), session("b", "reserved"), session("c", "reserved")]
    steps: dict[str, dict[str, Any]] = {
        "request": {"changed": True, "sessions": asked, "new_sessions": [{"uid": "a", "role": "producer"}]},
        "hello": {"changed": True, "sessions": [session("a", "announced"), session("b", "announced")]},
        "update": {"changed": True, "sessions": [session("a", "streaming")], "repeated": True},
        "opened": {"changed": False},
    }
    found = without_repetition(steps)
    assert list(found) == list(steps)
    assert {name: [(item["uid"], item["state"]) for item in found[name].get("sessions", ())] for name in found} == {
        "request": [("c", "reserved")],
        "hello": [("b", "announced")],
        "update": [("a", "streaming")],
        "opened": [],
    }
    # Everything else stays, and the answers that other gateways have received are not changed.
    assert found["request"]["new_sessions"] and found["update"]["repeated"]
    assert steps["request"]["sessions"] == asked


def test_the_same_uid_in_both_roles_is_two_sessions() -> None:
    both = [session("a", "reserved"), {**session("a", "reserved"), "role": "consumer"}]
    found = without_repetition({"request": {"sessions": both}, "update": {"sessions": [session("a", "streaming")]}})
    assert [item["role"] for item in found["request"]["sessions"]] == ["consumer"]
