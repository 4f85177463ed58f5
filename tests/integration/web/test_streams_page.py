# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of stream_status in a real browser: one file, which shows paths, throughput and what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.status_document import status_document
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.status_html import status_html
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.status_view import view_status
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.throughput import Throughput
from ansible_collections.scistream.gateway.tests.integration.web.browser import Browser
from ansible_collections.scistream.gateway.tests.integration.web.test_page import CONTRAST, SCREENS, text
from ansible_collections.scistream.gateway.tests.unit.plugins.module_utils._s2cs.service.samples import HOSTILE
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.test_report_status import (
    NOW,
    both,
    counters,
    side,
)


def opened(browser: Browser, directory: Path, results: dict[str, Any]) -> None:
    """Show the page of a status, from a file."""
    status = view_status(results, (), (), NOW)
    throughput = Throughput()
    throughput.add(status.streams, NOW)
    page = directory / "status.html"
    page.write_text(status_html(status_document(status, throughput)))
    browser.open(page.as_uri(), "document.getElementById('updated')?.textContent.startsWith('as of ')")


def several() -> dict[str, Any]:
    """Return a healthy, a broken, an unencrypted and an expired stream, and a gateway that does not answer."""
    results = both()
    dead: dict[str, Any] = {"running": False, "health": "down", "reason": "it was killed", "log": ["out of memory"]}
    kinds: list[dict[str, Any]] = [dead, {"encryption": "none"}, {"health": "expired", "state": "expired"}]
    for number, more in enumerate(kinds):
        for gateway, role in (("gw-a", "producer"), ("gw-b", "consumer")):
            own = more if number or role == "consumer" else {}
            results[gateway]["sessions"].append(
                side(role, uid=f"uid-{number}", labels={"stream": f"scan-{number}"}, **own)
            )
    results["gw-c"] = {"refused": True, "msg": "cannot be reached"}
    return results


def test_a_healthy_stream_has_its_path_and_its_throughput(browser: Browser, tmp_path: Path) -> None:
    opened(browser, tmp_path, both())
    assert text(browser, "h1") == "gw-a, gw-b" and text(browser, "#verdict") == "All healthy"
    label = browser.value("document.querySelector('#picture svg').getAttribute('aria-label')")
    path = "10.2.0.1:5200 (gw-b) -> 192.0.2.1:5100 (gw-a) -> 10.1.0.5:7000"
    assert f"tomography: ok, {path}, 10.0 Gbit/s to the consumer" in label
    drawn = browser.value("document.querySelector('#picture svg').textContent")
    for shown in ("10.1.0.5:7000", "gw-a", "192.0.2.1:5100", "gw-b", "10.2.0.1:5200", "198.51.100.7/32", "encrypted"):
        assert shown in drawn, shown
    assert browser.value("document.querySelectorAll('#picture .flow').length") == 3
    assert browser.value("document.querySelectorAll('#plot path.consumer').length") == 2
    assert "peak 10.0 Gbit/s" in text(browser, "#plot-words")
    row = text(browser, "#rows tr")
    assert "tomography" in row and "streaming" in row and "10.0 Gbit/s" in row and "1 open" in row
    # It is complete without anything else, and asks nobody for anything.
    assert browser.value("performance.getEntriesByType('resource').length") == 0


def test_what_is_wrong_has_its_command(browser: Browser, tmp_path: Path) -> None:
    opened(browser, tmp_path, several())
    assert text(browser, "#verdict") == "2 problems"
    assert "gw-c: cannot be reached" in text(browser, "#problems")
    problem = text(browser, "#problems .problem:nth-child(2)")
    assert "scan-0 (consumer, gw-b): it was killed" in problem and text(browser, "#problems .log") == "out of memory"
    assert "Run: ansible-playbook scistream.gateway.stream_open -e @streams.yml" in problem
    assert text(browser, "#rows tr:first-child .chip") == "ok/down"
    assert browser.value("document.querySelectorAll('#picture .dead').length") == 1
    assert "gw-c: no answer" in text(browser, "footer") and "1 did not answer" in text(browser, "#tiles")


def test_nothing_is_open(browser: Browser, tmp_path: Path) -> None:
    opened(browser, tmp_path, {"gw-a": {"sessions": []}})
    assert text(browser, "#verdict") == "No streams"
    assert "No stream is open." in text(browser, "#picture") and "Nothing measured" in text(browser, "#plot")


@pytest.mark.parametrize("screen", SCREENS, ids=str)
def test_the_page_fits_on_each_screen(browser: Browser, tmp_path: Path, screen: tuple[int, int]) -> None:
    results = several()
    for number, name in enumerate(HOSTILE * 8):
        # Some have one side only.
        for gateway, role in (("gw-a", "producer"), ("gw-b", "consumer"))[number % 2 :]:
            results[gateway]["sessions"].append(
                side(
                    role,
                    uid=f"long-{number}",
                    labels={"stream": f"{name}{number}"},
                    owner=name,
                    targets=["[2001:db8:1234:5678:9abc:def0:1234:5678]:50000"],
                    counters=counters(1 << 50, connections={"open": 12345, "total": 123456, "refused": 0, "failed": 0}),
                )
            )
    browser.device(*screen)
    opened(browser, tmp_path, results)
    assert browser.value("document.documentElement.scrollWidth") <= screen[0]
    outside = """[...document.querySelectorAll('svg text, svg rect')].filter((one) => {
        const box = one.getBoundingClientRect();
        return box.left < 0 || box.right > innerWidth; }).map((one) => one.textContent)"""
    assert browser.value(outside) == []
    wide = "[...document.querySelectorAll('td')].filter((one) => one.scrollWidth > one.clientWidth + 1)"
    assert browser.value(f"{wide}.map((one) => one.innerText)") == []
    assert "28 more are in the table below." in browser.value("document.querySelector('#picture').textContent")


def test_texts_are_texts(browser: Browser, tmp_path: Path) -> None:
    results: dict[str, Any] = {}
    for number, name in enumerate(HOSTILE):
        more: dict[str, Any] = {"uid": f"u{number}", "labels": {"stream": name}, "owner": name, "health": name}
        results[name] = {
            "sessions": [side("producer", reason=name, targets=[name], listeners=[name], log=[name], **more)],
            "policy_problems": [name],
        }
    opened(browser, tmp_path, results)
    shown = text(browser, "#rows")
    for name in HOSTILE:
        assert name[:100] in shown
    assert browser.value("document.querySelectorAll('img, body script').length") == 2
    assert browser.value("document.title") == "SciStream streams"
    assert json.loads(browser.value("document.getElementById('document').textContent"))["document"] == 1


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_all_texts_can_be_read(browser: Browser, tmp_path: Path, dark: bool) -> None:
    browser.device(1200, 900, dark)
    opened(browser, tmp_path, several())
    assert browser.value(CONTRAST) == []
