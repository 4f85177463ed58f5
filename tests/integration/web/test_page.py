# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status page in a real browser: it shows what is so, whatever users call their streams."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.tests.integration.web.browser import Browser
from ansible_collections.scistream.gateway.tests.integration.web.conftest import Site
from ansible_collections.scistream.gateway.tests.unit.plugins.module_utils._s2cs.service.samples import (
    HOSTILE,
    counters,
    dead,
    session,
)

SCREENS = [(1200, 900), (800, 1100), (390, 844), (320, 640)]


def text(browser: Browser, selector: str = "body") -> str:
    """Return what can be read in a part of the page."""
    found: str = browser.value(f"document.querySelector({json.dumps(selector)}).innerText")
    return found


def test_streams_are_shown_with_rates_and_health(site: Site, browser: Browser) -> None:
    site.show(session(0, labels={"stream": "tomography"}, counters=counters(0)))
    time.sleep(0.5)
    site.show(session(0, labels={"stream": "tomography"}, counters=counters(10**9)))
    browser.open(site.address)
    assert text(browser, "h1") == "gw-aps"
    assert text(browser, "#verdict") == "All healthy"
    row = text(browser, "#rows tr")
    assert "tomography" in row and "consumer side, streaming" in row and "ok" in row
    assert "bit/s" in text(browser, "#rows .down") and not text(browser, "#rows .down").endswith(" 0 bit/s")
    assert "954 MiB" in row and "1 open" in row
    # The picture, and what it says to those who do not see it.
    assert browser.value("document.querySelectorAll('#picture .flow').length") == 2
    assert "tomography (consumer): ok" in browser.value(
        "document.querySelector('#picture svg').getAttribute('aria-label')"
    )
    assert "peak" in text(browser, "#plot-words")
    # A page that has only been there for moments does not show an empty hour: its times have seconds.
    assert re.search(r"\d:\d\d:\d\d", browser.value("document.querySelector('#plot svg').textContent"))


def test_the_page_keeps_up_by_itself(site: Site, browser: Browser) -> None:
    browser.open(site.address)
    assert "No streams are open" in text(browser, "#none")
    assert text(browser, "#verdict") == "Ready"
    site.show(session(0), dead(1))
    browser.until("document.querySelectorAll('#rows tr').length === 2")
    assert text(browser, "#verdict") == "1 problem"
    site.show(session(0))
    browser.until("document.querySelectorAll('#rows tr').length === 1")
    browser.until("document.getElementById('verdict').textContent === 'All healthy'")


def test_a_dead_session_is_shown_with_what_mends_it(site: Site, browser: Browser) -> None:
    site.show(session(0), dead(1))
    browser.open(site.address)
    assert text(browser, "#rows tr:first-child .chip") == "down"
    assert "killed by the signal SIGKILL" in text(browser, "#problems")
    assert text(browser, "#problems code").startswith("ansible-playbook scistream.gateway.stream_open")
    assert browser.value("document.querySelectorAll('#picture .dead').length") == 2
    assert browser.value("document.title").startswith("(1) gw-aps")


def test_names_of_streams_are_texts(site: Site, browser: Browser) -> None:
    sessions = [
        session(number, labels={"stream": name}, owner=name, reason=name, health=name, targets=[name], listeners=[name])
        for number, name in enumerate(HOSTILE)
    ]
    site.show(*sessions, orphans=[{"uid": name, "role": name} for name in HOSTILE], policy_problems=list(HOSTILE))
    browser.open(site.address)
    shown = text(browser, "#rows")
    for name in HOSTILE:
        assert name[:100] in shown
    assert browser.value("document.querySelectorAll('img, body script').length") == 1
    assert browser.value("document.title") != "1"
    # A name that is written from the right turns nothing but itself, and a long one widens nothing.
    assert browser.value("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("screen", SCREENS, ids=str)
@pytest.mark.parametrize("number", [0, 3, 200])
def test_the_page_fits_on_each_screen(site: Site, browser: Browser, screen: tuple[int, int], number: int) -> None:
    browser.device(*screen)
    lost = {"open": 12345, "total": 123456, "refused": 1234, "failed": 98765}
    long = {
        "counters": counters(1 << 50, connections=lost),
        "targets": ["[2001:db8:1234:5678:9abc:def0:1234:5678]:50000"],
        "labels": {"stream": "W" * 256},
    }
    site.show(*(session(one, **(long if one == 2 else {})) for one in range(number)))
    browser.open(site.address)
    assert browser.value("document.documentElement.scrollWidth") <= screen[0]
    outside = """[...document.querySelectorAll('svg text, svg rect')].filter((one) => {
        const box = one.getBoundingClientRect();
        return box.left < 0 || box.right > innerWidth; }).length"""
    assert browser.value(outside) == 0
    assert browser.value("document.querySelectorAll('#rows tr').length") == min(number, 50)
    # No text reaches into the next cell.
    wide = "[...document.querySelectorAll('td')].filter((one) => one.scrollWidth > one.clientWidth + 1)"
    assert browser.value(f"{wide}.map((one) => one.innerText)") == []
    if number > 50:
        assert "189 more" in browser.value("document.querySelector('#picture').textContent")
        browser.value("document.getElementById('more').click()")
        assert browser.value("document.querySelectorAll('#rows tr').length") == number


def test_streams_can_be_searched(site: Site, browser: Browser) -> None:
    site.show(*(session(number) for number in range(20)))
    browser.open(site.address)
    box = "document.getElementById('filter')"
    browser.value(f"{box}.value = 'GRAPHY-17'; {box}.dispatchEvent(new Event('input'))")
    assert browser.value("document.querySelectorAll('#rows tr').length") == 1
    assert "tomography-17" in text(browser, "#rows")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_all_texts_can_be_read(site: Site, browser: Browser, dark: bool) -> None:
    """The contrast that WCAG asks for, of every text on the page in both schemes."""
    browser.device(1200, 900, dark)
    site.show(
        session(0, encryption="none"), dead(1), session(2, health="expired", state="expired"), session(3, health="busy")
    )
    browser.open(site.address)
    low = browser.value(CONTRAST)
    assert low == []


def test_s2cs_that_does_not_answer_is_said(site: Site, browser: Browser) -> None:
    site.info = None
    browser.open(site.address)
    assert text(browser, "#verdict") == "S2CS does not respond"
    assert "nothing listens at /run/scistream/s2cs.sock" in text(browser, "#lost")


def test_a_gateway_that_is_gone_is_said(tmp_path: Path, browser: Browser) -> None:
    site = Site(tmp_path)
    site.show(session(0))
    browser.open(site.address)
    site.close()
    browser.until("document.getElementById('verdict').textContent === 'No contact'")
    assert "cannot be fetched" in text(browser, "#lost")
    # What was seen last stays.
    assert "tomography-0" in text(browser, "#rows")
    browser.complaints.clear()


CONTRAST = """(() => {
  const parts = (color) => color.match(/[0-9.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((value) => value / 255)
    .map((value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const ground = (node) => {
    for (let one = node; one instanceof Element; one = one.parentElement) {
      const found = parts(getComputedStyle(one).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((one) => one.nodeType === 3 && one.data.trim());
    if (!own || node.matches('script, noscript, noscript *, title, .skip') || !node.getClientRects().length) continue;
    const style = getComputedStyle(node), svg = node instanceof SVGElement;
    const [one, two] = [light(parts(svg ? style.fill : style.color)), light(ground(node))];
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    if (ratio < 4.5) low.push(`${ratio.toFixed(2)} ${node.textContent.trim()} ${style.color}`);
  }
  return low;
})()"""
