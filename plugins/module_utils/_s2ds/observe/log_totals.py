# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The totals of a connection log, and the parser for logs with one line for each connection that ended."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Callable

MAX_TOTAL = (1 << 63) - 1
_LATEST = float(1 << 40)
_TIME = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,6})?", re.ASCII)
# With or without the fields about the client and the server.
_FIELDS = (4, 6)
_START = re.compile(r"(.*?)start ([0-9]{1,12})", re.ASCII)

COUNTED = ("total", "refused", "failed", "to_consumer", "to_producer")


@dataclass
class Tally:
    """The totals of a connection log.

    Attributes:
        total: Connections, except those that were refused.
        refused: Connections that were refused.
        failed: Connections that did not reach their target.
        to_consumer: Bytes to the side that connected.
        to_producer: Bytes to the targets.
        starts: Number of starts of the data server.
        since: Time of the first start in seconds since the epoch, or 0 if unknown.
        last: End of the last connection that carried a byte, or 0 if there was none.
        exact: Whether nothing is missing.
        open: Connections that have not ended, if the log contains their start, with what is known of them.
        seen: Totals including open connections, as last observed.
        began: Time of the last start by the clock of the program, or 0 if unknown.
        worker: The process that last reported how many connections it refused, if the log does not contain them.
        worker_refused: Number of connections that this process refused.
        former_workers_refused: Number of connections that processes before it refused.
        offset: Offset in the log up to which it has been read.
        skipping: Whether the log continues there with the rest of a line that is too long.
        mark: Content of the log before that offset, to recognize the file.
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
    worker_refused: int = 0
    former_workers_refused: int = 0
    offset: int = 0
    skipping: bool = False
    mark: str = ""

    @property
    def restarts(self) -> int:
        """Number of restarts."""
        return max(0, self.starts - 1)

    def begin(self, moment: float, lost: bool) -> None:
        """Record a start of the data server.

        Args:
            moment: Its time.
            lost: Whether connections may have been open when the data server ended before.
        """
        self.finish(lost and self.starts > 0)
        self.starts += 1
        self.since, self.began = self.since or moment, moment

    def finish(self, lost: bool) -> None:
        """Record the end of the data server.

        Args:
            lost: Whether connections may have been open.
        """
        # They carried at least the bytes that were observed.
        for name in COUNTED:
            setattr(self, name, max(getattr(self, name), self.seen.get(name, 0)))
        self.exact = self.exact and not lost
        self.seen, self.open = {}, {}

    def add(self, ended: float, to_consumer: int, to_producer: int) -> None:
        """Add the bytes of a connection that ended.

        Raises:
            ValueError: A number is negative or too large.
        """
        if min(to_consumer, to_producer) < 0 or max(to_consumer, to_producer) > MAX_TOTAL:
            raise ValueError
        self.to_consumer = min(MAX_TOTAL, self.to_consumer + to_consumer)
        self.to_producer = min(MAX_TOTAL, self.to_producer + to_producer)
        if to_consumer + to_producer and self.last < ended < _LATEST:
            self.last = ended

    def refused_before(self, worker: str) -> int:
        """Return how many connections processes before this one refused."""
        if worker == self.worker:
            return self.former_workers_refused
        return self.former_workers_refused + self.worker_refused

    def remember(self, worker: str, refused: int) -> None:
        """Record how many connections a process has refused so far."""
        self.former_workers_refused = self.refused_before(worker)
        self.worker, self.worker_refused = worker, refused


# Adds one line of a log to a tally.
LineParser = Callable[[Tally, str], None]


def ended_connection_parser(
    classify: Callable[[str], str], refusal: re.Pattern[str] | None = None, message: re.Pattern[str] | None = None
) -> LineParser:
    """Return the parser for lines with the end time, the state, and the bytes to the consumer and the producer.

    Args:
        classify: Returns ``refused``, ``failed`` or another string for a state.
        refusal: Pattern of other lines that report a refused connection.
        message: Pattern of other lines that are ignored. Any other line makes the totals inexact.
    """

    def parse(tally: Tally, line: str) -> None:
        fields = line.split()
        try:
            # A partial line continues in the next one.
            if len(fields) not in _FIELDS or not _TIME.fullmatch(fields[0]):
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
            # On a full disk, the line before may have been truncated.
            tally.exact = tally.exact and not start.group(1).strip()
            tally.begin(float(start.group(2)), lost=True)
        elif refusal and refusal.fullmatch(line):
            tally.refused += 1
        elif line.strip() and not (message and message.fullmatch(line)):
            tally.exact = False

    return parse
