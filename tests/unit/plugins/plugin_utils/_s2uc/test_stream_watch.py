# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A status that is repeated: whatever one gateway does, the others are shown, and the end is noticed by all."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsiblePromptInterrupt, AnsiblePromptNoninteractive

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import stream_watch
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import Plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_watch import StreamWatch
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.test_report_status import both

GATEWAYS = ["gw-a", "gw-b"]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What is displayed; the user is not at a terminal."""
    shown: list[str] = []

    def prompt(_self: Any, text: str, **_options: Any) -> bytes:
        shown.append(text)
        raise AnsiblePromptNoninteractive

    monkeypatch.setattr("ansible.constants.DEFAULT_LOCAL_TMP", str(tmp_path))
    monkeypatch.setattr("ansible.utils.display.Display.display", lambda _self, text, **_options: shown.append(text))
    monkeypatch.setattr("ansible.utils.display.Display.warning", lambda _self, text, **_options: shown.append(text))
    monkeypatch.setattr("ansible.utils.display.Display.prompt_until", prompt)
    monkeypatch.setattr(stream_watch, "terminal_size", lambda: None)
    monkeypatch.setattr(stream_watch, "terminal_width", lambda: None)
    monkeypatch.setattr(stream_watch, "_FIRST_SECONDS", 0.5)
    monkeypatch.setattr(stream_watch, "_LAST_SECONDS", 0.5)
    return shown


def watch(queries: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Watch with a thread in place of the worker of each gateway, and return their results."""
    plan = Plan("status", GATEWAYS, **{"watch": 1, "watch_for": 1, **more})
    results: dict[str, Any] = {}

    def work(name: str) -> None:
        results[name] = StreamWatch("task", name, GATEWAYS, plan, False).run(queries[name])

    threads = [threading.Thread(target=work, args=(name,)) for name in GATEWAYS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def test_all_gateways_are_shown_until_the_time_is_over(screen: list[str], tmp_path: Path) -> None:
    output = tmp_path / "status.json"
    answers = both()
    results = watch({name: lambda name=name: dict(answers[name]) for name in GATEWAYS}, output=str(output))
    assert results == answers
    assert screen.count("1 stream, no problems") == 2
    assert "Every 1 s for another " in "".join(screen)
    assert json.loads(output.read_text())["totals"]["healthy"] == 1


def test_a_gateway_that_does_not_respond_delays_nobody(screen: list[str]) -> None:
    released = threading.Event()

    def late() -> dict[str, Any]:
        released.wait(20)
        return {}

    begun = time.monotonic()
    results = watch({"gw-a": lambda: both()["gw-a"], "gw-b": late})
    released.set()
    assert time.monotonic() - begun < 15
    assert results["gw-b"]["lost"] and results["gw-a"] == both()["gw-a"]
    assert screen.count("PROBLEM gw-b: did not answer yet") == 2
    assert any(" streaming/? " in line for line in screen)


def test_errors_of_a_query_are_answers(screen: list[str]) -> None:
    def fails() -> dict[str, Any]:
        raise ScistreamError("it is broken")

    results = watch({"gw-a": lambda: both()["gw-a"], "gw-b": fails})
    assert results["gw-b"] == {"refused": True, "msg": "it is broken"}
    assert "PROBLEM gw-b: it is broken" in screen


def test_ctrl_c_ends_it(screen: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_self: Any, _text: str, **_options: Any) -> bytes:
        raise AnsiblePromptInterrupt

    monkeypatch.setattr("ansible.utils.display.Display.prompt_until", interrupt)
    answers = both()
    results = watch({name: lambda name=name: answers[name] for name in GATEWAYS}, watch_for=3600)
    assert results == answers and screen.count("1 stream, no problems") == 1


def test_a_file_that_cannot_be_written_ends_nothing(screen: list[str], tmp_path: Path) -> None:
    output = tmp_path / "missing" / "status.json"
    answers = both()
    results = watch({name: lambda name=name: answers[name] for name in GATEWAYS}, output=str(output))
    assert "cannot be written" in results["gw-a"]["unwritten"] and "unwritten" not in results["gw-b"]
    assert screen.count("1 stream, no problems") == 2
    assert len([line for line in screen if "cannot be written" in line]) == 1
