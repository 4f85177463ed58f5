# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of sessions, which adapts to the width and the encoding of the terminal."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Callable, Iterator, Mapping, Sequence, TextIO

from ansible_collections.scistream.gateway.plugins.module_utils._common.formatting import (
    format_duration,
    format_rate,
    format_size,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.problems import PROBLEM, Problem
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_view import SessionView
from ansible_collections.scistream.gateway.plugins.module_utils._common.text import (
    BAD,
    FAINT,
    GOOD,
    NOTICE,
    PLAIN,
    TITLE,
    Line,
    aligned,
    display_width,
    encodable,
    truncate,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.monitor import Snapshot

_COLORS = {TITLE: "1", GOOD: "32", NOTICE: "33", BAD: "1;31", FAINT: "2"}
_GAP = "  "
_MIN_NAME, _MAX_NAME = 16, 40

Rates = Sequence["float | None"]


@dataclass(frozen=True)
class _Column:
    """A column.

    Args:
        title: Its title.
        value: Returns its text for a session.
        rank: Columns with the highest rank are the first to be omitted if the table is too wide. 0 is never omitted.
        right: Whether it is aligned to the right.
        needs_rates: Whether it is omitted if rates are unknown.
    """

    title: str
    value: Callable[[SessionView, Rates, float], str]
    rank: int = 0
    right: bool = False
    needs_rates: bool = False


def _transferred(direction: str) -> Callable[[SessionView, Rates, float], str]:
    def value(session: SessionView, _rates: Rates, _now: float) -> str:
        if not session.transferred:
            return "-"
        return f"{'' if session.exact else '>='}{format_size(session.transferred[direction])}"

    return value


def _open(session: SessionView, _rates: Rates, _now: float) -> str:
    if not session.connections:
        return "-"
    count = session.connections.get("open")
    return f"{'?' if count is None else count}/{session.connections.get('total')}"


def _refused(session: SessionView, _rates: Rates, _now: float) -> str:
    if not session.connections:
        return "-"
    return f"{session.connections.get('refused')}/{session.connections.get('failed')}"


def _last_byte(session: SessionView, _rates: Rates, now: float) -> str:
    if session.last_byte is None:
        return "-"
    return "now" if now - session.last_byte < 2 else f"{format_duration(now - session.last_byte)} ago"


def _expires(session: SessionView, _rates: Rates, now: float) -> str:
    if session.expires is None:
        return "never"
    return format_duration(session.expires - now) if session.expires > now else "expired"


def _listeners(session: SessionView, _rates: Rates, _now: float) -> str:
    first, more = session.listeners[:1], len(session.listeners) - 1
    return f"{first[0]} +{more}" if more > 0 else "".join(first) or "-"


_COLUMNS = (
    _Column("STREAM", lambda session, _rates, _now: session.title),
    _Column("ROLE", lambda session, _rates, _now: session.role),
    _Column("STATE", lambda session, _rates, _now: session.state, 6),
    _Column("HEALTH", lambda session, _rates, _now: session.health),
    _Column("RATE", lambda _session, rates, _now: format_rate(rates[0]), 1, right=True, needs_rates=True),
    _Column("RATE BACK", lambda _session, rates, _now: format_rate(rates[1]), 4, right=True, needs_rates=True),
    _Column("OPEN/TOTAL", _open, 2, right=True),
    _Column("REFUSED/FAILED", _refused, 9, right=True),
    _Column("TO CONSUMER", _transferred("to_consumer"), 3, right=True),
    _Column("TO PRODUCER", _transferred("to_producer"), 8, right=True),
    _Column("LAST BYTE", _last_byte, 5, right=True),
    _Column("EXPIRES", _expires, 7, right=True),
    _Column("ENCRYPTION", lambda session, _rates, _now: session.encryption, 10),
    _Column("LISTENER", _listeners, 11),
    _Column("OWNER", lambda session, _rates, _now: session.owner or "-", 12),
    _Column("UID", lambda session, _rates, _now: session.uid, 13),
)
_HEALTH = next(index for index, column in enumerate(_COLUMNS) if column.title == "HEALTH")


def table(
    sessions: Sequence[tuple[SessionView, Rates]], now: float, width: int | None, ascii_only: bool, rates: bool
) -> Iterator[Line]:
    """Yield the titles of the columns, and a line for each session.

    Args:
        sessions: The sessions with their rates.
        now: The current time.
        width: Maximum width, or None for no limit.
        ascii_only: Whether only ASCII can be displayed.
        rates: Whether the rates are known.
    """
    columns = [index for index, column in enumerate(_COLUMNS) if rates or not column.needs_rates]
    rows = [
        [encodable(column.value(session, its_rates, now), ascii_only) for column in _COLUMNS]
        for session, its_rates in sessions
    ]
    for row in rows:
        row[0] = truncate(row[0], _MAX_NAME, ascii_only)
    widths = [
        max(display_width(text) for text in (column.title, *(row[index] for row in rows)))
        for index, column in enumerate(_COLUMNS)
    ]

    def excess() -> int:
        total = sum(widths[index] for index in columns) + len(_GAP) * (len(columns) - 1)
        return 0 if width is None else max(0, total - width)

    for index in sorted(columns, key=lambda index: -_COLUMNS[index].rank):
        if not _COLUMNS[index].rank or excess() <= max(0, widths[0] - _MIN_NAME):
            break
        columns.remove(index)
    widths[0] = min(widths[0], max(_MIN_NAME, widths[0] - excess()))
    yield [(_row([column.title for column in _COLUMNS], columns, widths, ascii_only), TITLE)]
    health = columns.index(_HEALTH)
    for (session, _rates), row in zip(sessions, rows):
        before = _row(row, columns[:health], widths, ascii_only)
        after = _row(row, columns[health + 1 :], widths, ascii_only)
        yield [
            (before + _GAP, PLAIN),
            (_row(row, [_HEALTH], widths, ascii_only), _style(session)),
            (_GAP + after if after else "", PLAIN),
        ]


def _style(session: SessionView) -> str:
    if session.health == "expired":
        return NOTICE
    if not session.is_healthy:
        return BAD
    return GOOD if session.health == "ok" else FAINT


def _row(row: Sequence[str], columns: Sequence[int], widths: Sequence[int], ascii_only: bool) -> str:
    cells = []
    for index in columns:
        cells.append(aligned(row[index], widths[index], _COLUMNS[index].right, ascii_only))
    return _GAP.join(cells)


def summary(snapshot: Snapshot, ascii_only: bool) -> str:
    """Return a summary of a gateway in one line."""
    gateway = snapshot.gateway
    ports = gateway.get("ports") or {}
    version = (gateway.get("versions") or {}).get("collection")
    parts = [f"{len(snapshot.sessions)} session{'' if len(snapshot.sessions) == 1 else 's'}"]
    unhealthy = sum(not session.is_healthy for session in snapshot.sessions)
    if unhealthy:
        parts.append(f"{unhealthy} not healthy")
    if ports:
        parts.append(f"{ports.get('used')} of {ports.get('total')} ports used")
    if version:
        parts.append(f"scistream.gateway {version}")
    return encodable(f"{gateway.get('name') or 'gateway'}: {', '.join(parts)}", ascii_only)


def problem_lines(problem: Problem, names: Mapping[tuple[str, str], str], ascii_only: bool) -> Iterator[Line]:
    """Yield the lines of a problem.

    Args:
        problem: The problem.
        names: Names of the sessions.
        ascii_only: Whether only ASCII can be displayed.
    """
    label, style = ("PROBLEM", BAD) if problem.level == PROBLEM else ("NOTICE", NOTICE)
    name = names.get((problem.uid, problem.role)) or problem.uid
    session = f"{name} ({problem.role}): " if problem.uid else ""
    yield [(label, style), (encodable(f" {session}{problem.message}", ascii_only), PLAIN)]
    if problem.command:
        yield [(encodable(f"    {problem.command}", ascii_only), FAINT)]


def session_names(snapshot: Snapshot) -> dict[tuple[str, str], str]:
    """Return the names of all sessions."""
    return {session.key: session.title for session in snapshot.sessions}


def info_lines(snapshot: Snapshot, width: int | None, ascii_only: bool) -> Iterator[Line]:
    """Yield the summary, the table and the problems of a gateway."""
    yield [(summary(snapshot, ascii_only), TITLE)]
    if snapshot.sessions:
        ordered = sorted(zip(snapshot.sessions, snapshot.rates), key=lambda item: (item[0].title, item[0].role))
        yield from table(ordered, snapshot.time, width, ascii_only, rates=False)
    names = session_names(snapshot)
    for problem in snapshot.problems:
        yield from problem_lines(problem, names, ascii_only)


def write_info(snapshot: Snapshot, output: TextIO) -> None:
    """Write the summary, the table and the problems of a gateway, with colors and a limited width to terminals only."""
    is_terminal = output.isatty()
    ascii_only = "utf" not in (output.encoding or "").lower()
    width = shutil.get_terminal_size((100, 24)).columns if is_terminal else None
    has_colors = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
    for line in info_lines(snapshot, width, ascii_only):
        parts = [
            f"\033[{_COLORS[style]}m{text}\033[0m" if has_colors and style in _COLORS else text for text, style in line
        ]
        output.write("".join(parts).rstrip() + "\n")
