# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of a session's traffic once its data server does not answer: what that wrote down, read with care."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import connection_log
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.log_totals import Tally
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.replies import counters
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.haproxy import HAProxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.nginx import Nginx
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.observed import ObservedProxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.s2ds import NativeProxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.stunnel import Stunnel
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Place

STATES = {HAProxy: "--", Nginx: "200"}
KEPT: dict[str, Any] = {
    "total": 3,
    "refused": 1,
    "failed": 0,
    "to_consumer": 1000,
    "to_producer": 10,
    "since": 1700000000.5,
    "restarts": 2,
    "last_byte": 1700000100.0,
    "exact": True,
    "ended": True,
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The directory of an instance that does not run."""
    (tmp_path / "run").mkdir()
    return Place(str(tmp_path), str(tmp_path))


@pytest.fixture(params=["UTC", "Asia/Kolkata", "America/New_York"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The zone of this host."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def write(place: Place, name: str, text: str) -> None:
    """Write a file of the data server's."""
    Path(place.directory, name).write_text(text)


def native(place: Place, **changes: Any) -> dict[str, Any] | None:
    """Return the totals of the forwarder, with something else in its file."""
    write(place, "run/counters.json", json.dumps({**KEPT, **changes}))
    return NativeProxy(Layout(place.directory), {}).totals(place)


@pytest.mark.parametrize(
    ("changes", "exact"), [({}, True), ({"ended": False}, False), ({"exact": False}, False), ({"exact": 1}, False)]
)
def test_forwarder(place: Place, changes: dict[str, Any], exact: bool) -> None:
    assert native(place, **changes) == {
        "since": 1700000000.5,
        "restarts": 2,
        "connections": {"open": 0, "total": 3, "refused": 1, "failed": 0},
        "bytes": {"to_consumer": 1000, "to_producer": 10},
        "last_byte": 1700000100.0,
        "exact": exact,
    }


@pytest.mark.parametrize(
    "changes", [{"total": -1}, {"to_consumer": "9"}, {"since": "now"}, {"restarts": 1 << 64}, {"last_byte": {}}]
)
def test_forwarder_that_was_taken_over(place: Place, changes: dict[str, Any]) -> None:
    with pytest.raises(ScistreamError):
        native(place, **changes)


@pytest.mark.parametrize("text", ["", "null\n"])
def test_forwarder_that_never_counted(place: Place, text: str) -> None:
    proxy = NativeProxy(Layout(place.directory), {})
    assert proxy.totals(place) is None
    write(place, "run/counters.json", text)
    assert proxy.totals(place) is None


@pytest.mark.parametrize("text", ["[" * 4000, "[]", "{", '{"total": 1}', "x" * 100000])
def test_forwarder_that_wrote_nonsense(place: Place, text: str) -> None:
    write(place, "run/counters.json", text)
    with pytest.raises(ScistreamError):
        NativeProxy(Layout(place.directory), {}).totals(place)


def test_links_of_the_forwarder_lead_nowhere(place: Place, tmp_path: Path) -> None:
    write(place, "other", json.dumps(KEPT))
    (tmp_path / "run" / "counters.json").symlink_to(tmp_path / "other")
    assert NativeProxy(Layout(place.directory), {}).totals(place) is None


@pytest.mark.parametrize("kind", [HAProxy, Nginx])
def test_logs_of_what_has_ended(place: Place, kind: type[ObservedProxy]) -> None:
    proxy = kind(Layout(place.directory), {})
    assert proxy.totals(place) is None
    state = STATES[kind]
    write(place, proxy.log, f"start 1000\n1100.5 {state} 100 10\nstart 2000\n2100.5 {state} 200 20\n")
    found = proxy.totals(place)
    assert found == counters(found or {})
    # What was open when it ended is in no log.
    assert found == {
        "since": 1000.0,
        "restarts": 1,
        "connections": {"open": 0, "total": 2, "refused": 0, "failed": 0},
        "bytes": {"to_consumer": 300, "to_producer": 30},
        "last_byte": 2100.5,
        "exact": False,
    }


def test_what_was_seen_before_it_ended(place: Place) -> None:
    """Connections that were open at the last look count with what they had carried by then, and refusals are added."""
    proxy = HAProxy(Layout(place.directory), {})
    tally = Tally(total=1, to_consumer=100, starts=1, since=1000.0, seen={"total": 3, "to_consumer": 900})
    tally.remember("12 345@boot", 4)
    connection_log.save(place, tally)
    found = proxy.totals(place)
    assert found is not None and found["connections"] == {"open": 0, "total": 3, "refused": 4, "failed": 0}
    assert found["bytes"] == {"to_consumer": 900, "to_producer": 0} and not found["exact"]
    assert connection_log.load(place) == tally, "a look changes nothing"


def test_log_that_tells_of_beginnings(place: Place, zone: str) -> None:
    """Its times are those of this host; and with nothing open at the end nothing is missing."""
    begun = 1767268800.0
    lines = [
        (0, "ui", "stunnel 5.68 on x86_64-pc-linux-gnu platform"),
        (1, "0", "Service [listener0] accepted connection from 192.0.2.7:2"),
        (1, "0", "Service [listener0] connected remote server from 192.0.2.1:3"),
        (2, "0", "Connection closed: 500 byte(s) sent to TLS, 7 byte(s) sent to socket"),
    ]

    def text(*more: tuple[int, str, str]) -> str:
        told = [(time.localtime(begun + at), number, said) for at, number, said in (*lines, *more)]
        return "".join(
            f"{time.strftime('%Y.%m.%d %H:%M:%S', at)} LOG5[{number}]: {said}\n" for at, number, said in told
        )

    proxy = Stunnel(Layout(place.directory), {})
    write(place, proxy.log, text())
    found = proxy.totals(place)
    assert found is not None and (found["since"], found["last_byte"]) == (begun, begun + 2), zone
    assert found["exact"] and found["bytes"] == {"to_consumer": 500, "to_producer": 7}
    write(place, proxy.log, text((3, "1", "Service [listener0] accepted connection from 192.0.2.7:5")))
    found = proxy.totals(place)
    assert found is not None and not found["exact"] and found["connections"]["total"] == 2
