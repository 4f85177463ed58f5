# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logs of connections: added up, kept and freed, whatever a data server writes there and however full the disk is."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import bounded_files, connection_log
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.log_totals import (
    COUNTED,
    Tally,
    ended_connection_parser,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies import haproxy, stunnel
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Place

LOG = "run/connections.log"
PARSER = ended_connection_parser(lambda state: {"403": "refused", "502": "failed"}.get(state, ""))
LINE = b"1.5 200 100 10\n"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The directory of a data server."""
    (tmp_path / "run").mkdir()
    return Place(str(tmp_path), str(tmp_path))


def append(place: Place, data: bytes) -> None:
    """Write to the log as a data server does."""
    with open(os.path.join(place.directory, LOG), "ab", buffering=0) as stream:
        stream.write(data)


def current_totals(place: Place) -> Tally:
    """Return the current totals of the log."""
    return connection_log.read_totals(place, LOG, PARSER)


def blocks(place: Place) -> int:
    """Return the bytes that the log parsers on the disk."""
    return os.stat(os.path.join(place.directory, LOG)).st_blocks * 512


def test_states_bytes_and_starts(place: Place) -> None:
    append(place, b"start 1000\n1.5 200 100 10\n1.6 403 0 0\n2 502 0 0 more words\n4 200 1000 1\n\n5 200 99")
    found = current_totals(place)
    assert (found.total, found.refused, found.failed) == (3, 1, 1)
    assert (found.to_consumer, found.to_producer) == (1100, 11)
    assert (found.starts, found.restarts, found.since, found.last, found.exact) == (1, 0, 1000.0, 4.0, True)
    append(place, b"\nstart 2000\n")
    found = current_totals(place)
    # What was open when it ended had no line.
    assert (found.to_consumer, found.restarts, found.since, found.exact) == (1199 - 99, 1, 1000.0, False)


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"3 200 x 1",
        b"3 200 -1 1",
        b"3 200 99999999999999999999 1",
        b"3 200",
        b"12.0 200 1start 1000",
        b"12.0 200 10 112.6 200 100 10",
        b"179565335017956533.1 200 100 10",
        b"Proxy listener0 stop12.5 200 100 10",
        b"\xff\xfe\x00",
        b"9" * 5000,
    ],
)
def test_a_line_that_is_torn_makes_the_counters_a_lower_bound(place: Place, line: bytes) -> None:
    append(place, LINE + line + b"\n" + LINE)
    found = current_totals(place)
    assert (found.total, found.to_consumer, found.exact) == (2, 200, False)


def test_what_is_kept_is_freed_and_nothing_is_counted_twice(place: Place) -> None:
    connection_log.create(place.directory, LOG, 0o600)
    for turn in range(1, 4):
        append(place, LINE * 30000)
        assert current_totals(place).total == turn * 30000
        connection_log.compact(place, LOG, PARSER)
        assert current_totals(place) == connection_log.load(place)
        assert current_totals(place).total == turn * 30000 and current_totals(place).exact
        assert blocks(place) <= connection_log.RESERVE + 8192
    assert os.stat(os.path.join(place.directory, LOG)).st_size == 3 * 30000 * len(LINE)


def test_lines_that_come_while_it_is_added_up(place: Place) -> None:
    connection_log.create(place.directory, LOG, 0o600)
    done = threading.Event()

    def write() -> None:
        for number in range(20000):
            append(place, LINE[:9])
            append(place, LINE[9:] if number % 2 else LINE[9:] + LINE)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    totals = []
    while not done.is_set():
        connection_log.compact(place, LOG, PARSER)
        totals.append(current_totals(place).total)
    writer.join()
    assert totals == sorted(totals) and current_totals(place).total == 30000 and current_totals(place).exact


def test_looking_while_somebody_else_adds_up(place: Place) -> None:
    append(place, LINE * 50000)
    stop = threading.Event()

    def fold() -> None:
        while not stop.is_set():
            append(place, LINE * 100)
            connection_log.compact(place, LOG, PARSER)

    folder = threading.Thread(target=fold)
    folder.start()
    found = [current_totals(place) for _unused in range(200)]
    stop.set()
    folder.join()
    assert all(tally.exact for tally in found)
    assert [tally.total for tally in found] == sorted(tally.total for tally in found)
    assert found[0].total >= 50000


def test_stored_totals_are_returned_if_somebody_else_never_stops(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_log, "_SECONDS", 0.2)
    append(place, LINE * 1000)
    connection_log.compact(place, LOG, PARSER)
    load = connection_log.load
    reading: list[bool] = []

    def load_while_others_store(place: Place) -> Tally:
        found = load(place)
        if not reading:
            reading.append(True)
            append(place, LINE * 1000)
            connection_log.compact(place, LOG, PARSER)
            reading.clear()
        return found

    monkeypatch.setattr(connection_log, "load", load_while_others_store)
    found = current_totals(place)
    assert found.exact
    assert found.total >= 2000
    assert found.total % 1000 == 0


def test_what_was_seen_of_open_connections_survives_a_crash(place: Place) -> None:
    append(place, b"start 1000\n" + LINE)

    def seen(tally: Tally) -> None:
        tally.seen = {"total": 2, "to_consumer": 5000, "to_producer": 10}

    connection_log.compact(place, LOG, PARSER, seen)
    assert current_totals(place).to_consumer == 100
    append(place, b"start 2000\n" + LINE)
    assert (current_totals(place).total, current_totals(place).to_consumer, current_totals(place).to_producer) == (
        3,
        5100,
        20,
    )
    connection_log.compact(place, LOG, PARSER)
    append(place, b"start 3000\n")
    assert (current_totals(place).total, current_totals(place).to_consumer, current_totals(place).restarts) == (
        3,
        5100,
        2,
    )


@pytest.mark.parametrize("kind", ["line", "holes", "short lines"])
def test_reading_takes_its_time_and_no_more(place: Place, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(connection_log, "_SECONDS", 1.0)
    append(place, LINE)
    path = os.path.join(place.directory, LOG)
    if kind == "line":
        append(place, b"x" * (64 << 20))
    elif kind == "holes":
        os.truncate(path, 1 << 40)
    else:
        append(place, b"x\n" * (16 << 20))
    began = time.monotonic()
    found = current_totals(place)
    assert time.monotonic() - began < 3
    assert found.total == 1
    connection_log.compact(place, LOG, PARSER)
    assert connection_log.load(place).offset > len(LINE)
    if kind == "line":
        append(place, b"\n" + LINE)
        assert current_totals(place).total == 2 and not current_totals(place).exact


@pytest.mark.parametrize("text", ["{", "[]", "null", "{}", "[" * 200000, '{"total": 1}', "\0", "x" * 2000000])
def test_notes_that_are_none(place: Place, text: str) -> None:
    append(place, LINE)
    (Path(place.notes) / connection_log.NOTES).write_text(text)
    assert (current_totals(place).total, current_totals(place).exact) == (1, False)
    connection_log.compact(place, LOG, PARSER)
    assert connection_log.load(place).total == 1


def test_totals_of_earlier_versions_are_read(place: Place) -> None:
    tally = Tally(total=7, worker="12 34@boot", worker_refused=3, former_workers_refused=4)
    connection_log.save(place, tally)
    stored = json.loads(Path(place.notes, connection_log.NOTES).read_text())
    assert (stored["told"], stored["told_before"]) == (3, 4)
    assert connection_log.load(place) == tally


def test_a_log_that_was_cut(place: Place) -> None:
    append(place, LINE * 10)
    connection_log.compact(place, LOG, PARSER)
    os.truncate(os.path.join(place.directory, LOG), 0)
    append(place, LINE)
    assert (current_totals(place).total, current_totals(place).exact) == (11, False)


@pytest.mark.parametrize("more", [0, 1, 40, 2000], ids=["nothing new", "shorter", "as long", "longer"])
@pytest.mark.parametrize("saved", [0, 10, 1000])
def test_a_log_that_is_back_from_an_earlier_day(place: Place, saved: int, more: int) -> None:
    """A gateway that crashes comes back with the log that was saved when it was shut down last."""
    path = Path(place.directory, LOG)
    append(place, b"start 1000\n" + LINE * saved)
    back = path.read_bytes()
    connection_log.compact(place, LOG, PARSER)
    append(place, LINE * 40)
    connection_log.compact(place, LOG, PARSER)
    assert (current_totals(place).total, current_totals(place).exact) == (saved + 40, True)
    path.write_bytes(back + b"start 2000\n" + LINE * more)
    for _unused in range(2):
        found = current_totals(place)
        assert (found.total, found.restarts, found.since) == (saved + 40 + more, 1, 1000.0)
        # What was open when it crashed, and what it carried, nobody knows.
        assert found.to_consumer == 100 * found.total and not found.exact
        connection_log.compact(place, LOG, PARSER)
    append(place, LINE)
    assert current_totals(place).total == saved + 40 + more + 1


@given(st.lists(st.binary(max_size=60), max_size=30))
@settings(max_examples=200, deadline=None)
def test_no_line_is_an_error(lines: list[bytes]) -> None:
    parsers = (PARSER, haproxy._PARSER, stunnel.line_parser(True))
    for parse in parsers:
        tally = Tally()
        for line in lines:
            parse(tally, line.decode("utf-8", "replace"))
        assert all(0 <= getattr(tally, name) < 2**63 for name in COUNTED)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two MiB."""
    if os.geteuid():
        pytest.skip("only root can mount a file system")
    where = tmp_path / "disk"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "scistream-test", str(where)], check=True)
    yield where
    subprocess.run(["umount", str(where)], check=True)


def test_on_a_full_disk_lines_have_their_place_and_nothing_is_lost(small_disk: Path) -> None:
    (small_disk / "run").mkdir()
    place = Place(str(small_disk), str(small_disk))
    connection_log.create(place.directory, LOG, 0o600)
    append(place, LINE * 100)
    with open(small_disk / "ballast", "wb", buffering=0) as stream, pytest.raises(OSError, match="No space"):
        while True:
            stream.write(b"x" * 4096)
    append(place, LINE * 10000)
    assert (current_totals(place).total, current_totals(place).exact) == (10100, True)
    # It cannot be kept here, so it stays.
    connection_log.compact(place, LOG, PARSER)
    assert sorted(item.name for item in small_disk.iterdir()) == ["ballast", "run"]
    assert (current_totals(place).total, current_totals(place).exact) == (10100, True)
    (small_disk / "ballast").unlink()
    connection_log.compact(place, LOG, PARSER)
    append(place, LINE)
    assert connection_log.load(place).total == 10100 and (current_totals(place).total, current_totals(place).exact) == (
        10101,
        True,
    )


def test_only_own_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    (tmp_path / "run" / "link").symlink_to(secret)
    os.link(secret, tmp_path / "run" / "hard")
    os.mkfifo(tmp_path / "run" / "fifo")
    (tmp_path / "run" / "zero").symlink_to("/dev/zero")
    for name in ("link", "hard", "fifo", "zero", "missing", "."):
        assert bounded_files.read(str(tmp_path), f"run/{name}") == ""
        assert bounded_files.size(str(tmp_path), f"run/{name}") == 0
    (tmp_path / "run" / "own").write_text("0123456789\nrest")
    assert bounded_files.read(str(tmp_path), "run/own", skip=4) == "456789\nrest"
    assert bounded_files.read(str(tmp_path), "run/own", limit=3) == "012"
