# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The log of connections that a data server writes, and the totals of it that outlive its lines.

Lines are added up and then freed, so that the log stays small however long a session lives. What they came to, and up
to where, is kept in the notes of S2CS, which no data server can write. The log itself is never cut: programs append to
it while it is read, and nothing of that may be lost.

A line ``start <seconds since the epoch>`` stands wherever the data server was started; what it had open when it ended
before has no line, so from then on the totals are a lower bound.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields
from typing import Callable

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import untrusted
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Place

NOTES = "counters.json"
# Room for some ten thousand connections.
RESERVE = 1 << 20
_LARGE = 4 * RESERVE
_SECONDS = 3.0
_LARGEST = (1 << 63) - 1
_LATEST = float(1 << 40)
_MOMENT = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,6})?", re.ASCII)
# With what belongs to the client and the server behind it, or without.
_FIELDS = (4, 6)
_START = re.compile(r"(.*?)start ([0-9]{1,12})", re.ASCII)

COUNTED = ("total", "refused", "failed", "to_consumer", "to_producer")


@dataclass
class Tally:
    """What a log comes to.

    Attributes:
        total: Connections, without those that were refused.
        refused: Connections that were refused.
        failed: Connections that did not get through to their target.
        to_consumer: Bytes towards the side that connected.
        to_producer: Bytes towards the targets.
        starts: How often the data server was started.
        since: When for the first time, in seconds since the epoch; 0 if that is not known.
        last: When the last connection ended that had carried a byte; 0 if there was none.
        exact: Whether nothing is missing.
        open: Connections that have not ended, where the log tells of their beginning, with what is known of them.
        seen: What the counters came to with all that was open, when that was looked at last.
        began: When it was started last, by its own clock; 0 if that is not known.
        worker: Which process last told what it had refused itself, where that is in no log.
        told: What that was.
        told_before: What those before it had told.
        offset: Up to where the log is in it.
        skipping: Whether what comes next in the log is the rest of a line that is too long.
        mark: What is in the log right before that, by which it is known again.
    """

    total: int = 0
    refused: int = 0
    failed: int = 0
    to_consumer: int = 0
    to_producer: int = 0
    starts: int = 0
    since: float = 0.0
    last: float = 0.0
    exact: bool = True
    open: dict[str, str] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    began: float = 0.0
    worker: str = ""
    told: int = 0
    told_before: int = 0
    offset: int = 0
    skipping: bool = False
    mark: str = ""

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return max(0, self.starts - 1)

    def begin(self, moment: float, lost: bool) -> None:
        """LineParser in that the data server was started.

        Args:
            moment: When.
            lost: Whether connections may have been open that ended with the one before.
        """
        self.finish(lost and self.starts > 0)
        self.starts += 1
        self.since, self.began = self.since or moment, moment

    def finish(self, lost: bool) -> None:
        """LineParser in that the data server has ended.

        Args:
            lost: Whether connections may have been open that ended with it.
        """
        # They carried at least what was seen of them.
        for name in COUNTED:
            setattr(self, name, max(getattr(self, name), self.seen.get(name, 0)))
        self.exact = self.exact and not lost
        self.seen, self.open = {}, {}

    def add(self, ended: float, to_consumer: int, to_producer: int) -> None:
        """LineParser in what a connection carried that has ended."""
        if min(to_consumer, to_producer) < 0 or max(to_consumer, to_producer) > _LARGEST:
            raise ValueError
        self.to_consumer = min(_LARGEST, self.to_consumer + to_consumer)
        self.to_producer = min(_LARGEST, self.to_producer + to_producer)
        if to_consumer + to_producer and self.last < ended < _LATEST:
            self.last = ended

    def refused_before(self, worker: str) -> int:
        """Return what the processes before this one told that they had refused."""
        return self.told_before if worker == self.worker else self.told_before + self.told

    def remember(self, worker: str, refused: int) -> None:
        """LineParser in what a process tells that it has refused so far."""
        self.told_before = self.refused_before(worker)
        self.worker, self.told = worker, refused


# Takes in one line of a log.
LineParser = Callable[[Tally, str], None]


def ended_connection_parser(
    classify: Callable[[str], str], refusal: re.Pattern[str] | None = None, message: re.Pattern[str] | None = None
) -> LineParser:
    """Return what takes in a line that tells of an ended connection: when, its state, bytes to consumer and producer.

    Args:
        classify: Says of a state whether it means ``refused`` or ``failed``; anything else is a connection like any.
        refusal: What a line is like that tells of a connection that was refused.
        message: What a line is like that tells of something else.
    """

    def parse(tally: Tally, line: str) -> None:
        fields = line.split()
        try:
            # A partial line continues in the next one.
            if len(fields) not in _FIELDS or not _MOMENT.fullmatch(fields[0]):
                raise ValueError
            tally.add(float(fields[0]), int(fields[2]), int(fields[3]))
        except ValueError:
            parse_other(tally, line)
            return
        verdict = classify(fields[1])
        tally.total += verdict != "refused"
        tally.refused += verdict == "refused"
        tally.failed += verdict == "failed"

    def parse_other(tally: Tally, line: str) -> None:
        start = _START.fullmatch(line)
        if start:
            # A line of before may have been torn off by the end of the disk.
            tally.exact = tally.exact and not start.group(1).strip()
            tally.begin(float(start.group(2)), lost=True)
        elif refusal and refusal.fullmatch(line):
            tally.refused += 1
        elif line.strip() and not (message and message.fullmatch(line)):
            tally.exact = False

    return parse


def read_totals(place: Place, log: str, parse: LineParser) -> Tally:
    """Return what was kept with what the log has had since; nothing is written."""
    deadline = time.monotonic() + _SECONDS
    while True:
        before = load(place)
        tally = deepcopy(before)
        with untrusted.opened(place.directory, log) as descriptor:
            complete = not tally.offset if descriptor is None else _read_lines(tally, descriptor, parse)
        # Somebody may have added up in between, and freed what was to be read.
        if load(place) == before or time.monotonic() > deadline:
            break
    tally.exact = tally.exact and complete
    return tally


def compact(place: Place, log: str, parse: LineParser, seen: Callable[[Tally], None] = lambda tally: None) -> None:
    """Add up what the log has had since, keep it, and free its room. Where that cannot be kept, all stays as it is.

    Args:
        place: The instance.
        log: The log below its directory.
        parse: Adds a line.
        seen: Takes in what is seen of the data server now.
    """
    before = load(place)
    tally = deepcopy(before)
    with untrusted.opened(place.directory, log, write=True) as descriptor:
        if descriptor is not None:
            _read_lines(tally, descriptor, parse)
        seen(tally)
        if tally == before:
            return
        with suppress(OSError):
            save(place, tally)
            if descriptor is not None:
                untrusted.free(descriptor, tally.offset)
                untrusted.reserve(descriptor, RESERVE)


def _read_lines(tally: Tally, descriptor: int, parse: LineParser) -> bool:
    """Add up the lines from where the totals are; returns whether there was time for all."""
    old = 0
    if os.fstat(descriptor).st_size < tally.offset or untrusted.before(descriptor, tally.offset) != tally.mark:
        # Somebody cut it, or put another one in its place; or the gateway crashed, and what was saved before is back.
        old = _lines_counted(tally, descriptor, parse)
        tally.offset, tally.skipping, tally.exact = 0, False, False
    lines = untrusted.Lines(descriptor, tally.offset, tally.skipping, time.monotonic() + _SECONDS)
    with suppress(OSError):
        for number, line in enumerate(lines):
            if number >= old:
                parse(tally, line)
    tally.offset, tally.skipping = lines.offset, lines.skipping
    tally.mark = untrusted.before(descriptor, tally.offset)
    tally.exact = tally.exact and not lines.left_out
    return lines.complete


def _lines_counted(tally: Tally, descriptor: int, parse: LineParser) -> int:
    """Return how many lines of a log that was replaced come before the first start that is not in the totals."""
    scratch = Tally()
    with suppress(OSError):
        for number, line in enumerate(untrusted.Lines(descriptor, 0, False, time.monotonic() + _SECONDS)):
            starts = scratch.starts
            parse(scratch, line)
            if scratch.starts > starts and scratch.began > tally.began:
                return number
    return 0


def load(place: Place) -> Tally:
    """Return the totals that were kept."""
    text = untrusted.read(place.notes, NOTES)
    if not text:
        return Tally()
    try:
        document = json.loads(text)
        found = Tally(**{item.name: document[item.name] for item in fields(Tally)})
        for item in fields(Tally):
            # Each is of the kind of its default, and a number at least 0.
            value, kind = getattr(found, item.name), type(getattr(Tally(), item.name))
            right = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
            if not right or (kind in (int, float) and not 0 <= value <= _LARGEST):
                raise ValueError
        if not all(isinstance(value, int) for value in found.seen.values()):
            raise ValueError
        return found
    except (ValueError, KeyError, TypeError, RecursionError):
        return Tally(exact=False)


def save(place: Place, tally: Tally) -> None:
    """Write down totals, as a whole or not at all."""
    path = os.path.join(place.notes, NOTES)
    temporary = f"{path}.new"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            json.dump(asdict(tally), stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def is_large(directory: str, log: str) -> bool:
    """Tell whether a log takes much more room than is reserved for it."""
    try:
        return bool(log) and os.lstat(os.path.join(directory, log)).st_blocks * 512 > _LARGE
    except OSError:
        return False


def create(directory: str, log: str, mode: int) -> None:
    """Make a log with room reserved for it, for a data server to append to; one that is there stays as it is.

    Args:
        directory: The directory of the instance.
        log: The log below it, which belongs to whom its own directory belongs to.
        mode: Its mode; who may read it by the group may append to it, too.
    """
    path = os.path.join(directory, log)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    # Without one the data server makes its own, with no room reserved.
    with suppress(OSError):
        about = os.stat(os.path.dirname(path))
        descriptor = os.open(path, flags, 0o600)
        try:
            os.fchown(descriptor, about.st_uid, about.st_gid)
            os.fchmod(descriptor, mode | (mode & 0o040) >> 1)
            untrusted.reserve(descriptor, RESERVE)
        except OSError:
            os.unlink(path)
            raise
        finally:
            os.close(descriptor)
