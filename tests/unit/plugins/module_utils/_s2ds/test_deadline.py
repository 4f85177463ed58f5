# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import deadline


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def waited(monkeypatch: pytest.MonkeyPatch, seconds: float, attempt: float) -> float:
    """Return the time after which a program that never answers is given up, if each attempt takes so long."""
    clock = Clock()
    monkeypatch.setattr(deadline, "time", clock)
    timer = deadline.PollTimer(seconds)
    while True:
        clock.now += attempt
        if timer.has_expired():
            return timer.elapsed
        timer.pause()


@pytest.mark.parametrize(
    ("seconds", "attempt", "least", "most"),
    [(30.0, 0.01, 30.0, 31.0), (30.0, 0.5, 40.0, 50.0), (30.0, 5.0, 60.0, 66.0), (60.0, 0.01, 60.0, 61.0)],
    ids=["as wanted", "busy: until there were enough attempts", "hangs in each attempt", "longer"],
)
def test_how_long(monkeypatch: pytest.MonkeyPatch, seconds: float, attempt: float, least: float, most: float) -> None:
    assert least < waited(monkeypatch, seconds, attempt) < most
