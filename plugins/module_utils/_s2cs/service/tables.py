# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sessions as a table of text: as wide as there is room, in letters that can be shown."""

from __future__ import annotations

import os
import shutil
import unicodedata
from dataclasses import dataclass
from typing import Callable, Iterator, Mapping, Sequence, TextIO

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.amounts import duration, rate, size
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.problems import PROBLEM, Problem
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.view import View
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.watch import Look

#: How a part of a line is to be shown.
PLAIN, TITLE, GOOD, MIND, BAD, FAINT = "plain", "title", "good", "mind", "bad", "faint"
#: A line in parts, each with how it is to be shown.
Line = Sequence["tuple[str, str]"]

_COLOURS = {TITLE: "1", GOOD: "32", MIND: "33", BAD: "1;31", FAINT: "2"}
_GAP = 2
_LEAST_NAME, _MOST_NAME = 16, 40

Rates = Sequence["float | None"]


@dataclass(frozen=True)
class _Column:
    """A column.

    Args:
        title: Its head.
        value: What stands in it.
        rank: How soon it is left out where there is no room, the largest first.
        right: Whether it stands on the right.
        rates: Whether it is one of rates, which one look cannot tell.
    """

    title: str
    value: Callable[[View, Rates, float], str]
    rank: int = 0
    right: bool = False
    rates: bool = False


def _least(session: View) -> str:
    return "" if session.exact else ">="


def _moved(direction: str) -> Callable[[View, Rates, float], str]:
    def value(session: View, _rates: Rates, _now: float) -> str:
        return f"{_least(session)}{size(session.moved[direction])}" if session.moved else "-"

    return value


def _open(session: View, _rates: Rates, _now: float) -> str:
    if not session.connections:
        return "-"
    count = session.connections.get("open")
    return f"{'?' if count is None else count}/{session.connections.get('total')}"


def _lost(session: View, _rates: Rates, _now: float) -> str:
    lost = [session.connections.get(key) or 0 for key in ("refused", "failed")]
    return f"{lost[0]}/{lost[1]}" if session.connections else "-"


def _silent(session: View, _rates: Rates, now: float) -> str:
    if session.last_byte is None:
        return "-"
    return "now" if now - session.last_byte < 2 else f"{duration(now - session.last_byte)} ago"


def _left(session: View, _rates: Rates, now: float) -> str:
    if session.expires is None:
        return "never"
    return duration(session.expires - now) if session.expires > now else "over"


def _some(items: Sequence[str]) -> str:
    return f"{items[0]} +{len(items) - 1}" if len(items) > 1 else "".join(items) or "-"


_COLUMNS = (
    _Column("STREAM", lambda one, _rates, _now: one.title),
    _Column("ROLE", lambda one, _rates, _now: one.role),
    _Column("STATE", lambda one, _rates, _now: one.state, 6),
    _Column("HEALTH", lambda one, _rates, _now: one.health),
    _Column("RATE", lambda _one, rates, _now: rate(rates[0]), 1, right=True, rates=True),
    _Column("RATE BACK", lambda _one, rates, _now: rate(rates[1]), 4, right=True, rates=True),
    _Column("OPEN/ALL", _open, 2, right=True),
    _Column("REFUSED/FAILED", _lost, 9, right=True),
    _Column("TO CONSUMER", _moved("to_consumer"), 3, right=True),
    _Column("TO PRODUCER", _moved("to_producer"), 8, right=True),
    _Column("LAST BYTE", _silent, 5, right=True),
    _Column("EXPIRES", _left, 7, right=True),
    _Column("CRYPT", lambda one, _rates, _now: one.encryption, 10),
    _Column("LISTENS ON", lambda one, _rates, _now: _some(one.listeners), 11),
    _Column("OWNER", lambda one, _rates, _now: one.owner or "-", 12),
    _Column("UID", lambda one, _rates, _now: one.uid, 13),
)
_HEALTH = next(index for index, column in enumerate(_COLUMNS) if column.title == "HEALTH")


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(
        0
        if unicodedata.category(letter) in ("Mn", "Me", "Cf")
        else 2
        if unicodedata.east_asian_width(letter) in "WF"
        else 1
        for letter in text
    )


def cut(text: str, most: int, ascii_only: bool = False) -> str:
    """Return a text that takes no more than some columns."""
    if width_of(text) <= most:
        return text
    mark = "..." if ascii_only else "…"
    kept = ""
    for letter in text:
        if width_of(kept + letter + mark) > most:
            break
        kept += letter
    return kept + mark if most >= len(mark) else kept


def shown(text: str, ascii_only: bool) -> str:
    """Return a text in letters that can be shown."""
    return text.encode("ascii", "replace").decode() if ascii_only else text


def table(
    sessions: Sequence[tuple[View, Rates]], now: float, width: int | None, ascii_only: bool, rates: bool
) -> Iterator[Line]:
    """Return the head and a line for each session.

    Args:
        sessions: The sessions with their rates.
        now: The time.
        width: Columns that there are. None is as many as it takes.
        ascii_only: Whether other letters cannot be shown.
        rates: Whether rates are known.
    """
    columns = [index for index, column in enumerate(_COLUMNS) if rates or not column.rates]
    rows = [
        [shown(column.value(session, its_rates, now), ascii_only) for column in _COLUMNS]
        for session, its_rates in sessions
    ]
    for row in rows:
        row[0] = cut(row[0], _MOST_NAME, ascii_only)
    widths = [
        max(width_of(text) for text in (column.title, *(row[index] for row in rows)))
        for index, column in enumerate(_COLUMNS)
    ]

    def total() -> int:
        return sum(widths[index] for index in columns) + _GAP * (len(columns) - 1)

    if width is not None:
        for index in sorted(columns, key=lambda index: -_COLUMNS[index].rank):
            if not _COLUMNS[index].rank or total() - max(0, widths[0] - _LEAST_NAME) <= width:
                break
            columns.remove(index)
        widths[0] = min(widths[0], max(_LEAST_NAME, widths[0] - max(0, total() - width)))
    yield [(_padded([column.title for column in _COLUMNS], columns, widths, ascii_only), TITLE)]
    place = columns.index(_HEALTH)
    gap = " " * _GAP
    for (session, _rates), row in zip(sessions, rows):
        before = _padded(row, columns[:place], widths, ascii_only)
        health = _padded(row, [_HEALTH], widths, ascii_only)
        after = _padded(row, columns[place + 1 :], widths, ascii_only)
        yield [(before + gap, PLAIN), (health, _level(session)), (gap + after if after else "", PLAIN)]


def _level(session: View) -> str:
    if session.health == "expired":
        return MIND
    return BAD if not session.is_well else GOOD if session.health == "ok" else FAINT


def _padded(row: Sequence[str], columns: Sequence[int], widths: Sequence[int], ascii_only: bool) -> str:
    cells = []
    for index in columns:
        text = cut(row[index], widths[index], ascii_only)
        space = " " * (widths[index] - width_of(text))
        cells.append(space + text if _COLUMNS[index].right else text + space)
    return (" " * _GAP).join(cells)


def headline(look: Look, ascii_only: bool) -> str:
    """Return what a gateway is like in one line."""
    gateway = look.gateway
    ports = gateway.get("ports") or {}
    version = (gateway.get("versions") or {}).get("collection")
    parts = [f"{len(look.sessions)} session{'' if len(look.sessions) == 1 else 's'}"]
    bad = sum(not session.is_well for session in look.sessions)
    parts += [f"{bad} not well"] if bad else []
    parts += [f"{ports.get('used')} of {ports.get('total')} ports used"] if ports else []
    parts += [f"scistream.gateway {version}"] if version else []
    return shown(f"{gateway.get('name') or 'gateway'}: {', '.join(parts)}", ascii_only)


def advice(problem: Problem, names: Mapping[tuple[str, str], str], ascii_only: bool) -> Iterator[Line]:
    """Return what is wrong, and the command that mends it."""
    mark, level = ("PROBLEM", BAD) if problem.level == PROBLEM else ("NOTICE", MIND)
    subject = names.get((problem.uid, problem.role)) or problem.uid
    about = f"{subject} ({problem.role}): " if problem.uid else ""
    yield [(mark, level), (shown(f" {about}{problem.text}", ascii_only), PLAIN)]
    if problem.command:
        yield [(shown(f"    {problem.command}", ascii_only), FAINT)]


def names(look: Look) -> dict[tuple[str, str], str]:
    """Return what the sessions are called."""
    return {session.key: session.title for session in look.sessions}


def lines(look: Look, width: int | None, ascii_only: bool) -> Iterator[Line]:
    """Return all that is to be said of a gateway at one moment."""
    yield [(headline(look, ascii_only), TITLE)]
    if look.sessions:
        ordered = sorted(zip(look.sessions, look.rates), key=lambda item: (item[0].title, item[0].role))
        yield from table(ordered, look.time, width, ascii_only, rates=False)
    called = names(look)
    for problem in look.problems:
        yield from advice(problem, called, ascii_only)


def write(look: Look, output: TextIO) -> None:
    """Write a gateway to a file or a terminal: colours and a width are for terminals."""
    terminal = output.isatty()
    ascii_only = "utf" not in (output.encoding or "").lower()
    width = shutil.get_terminal_size((100, 24)).columns if terminal else None
    coloured = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
    for line in lines(look, width, ascii_only):
        parts = [
            f"\033[{_COLOURS[style]}m{text}\033[0m" if coloured and style in _COLOURS else text for text, style in line
        ]
        output.write("".join(parts).rstrip() + "\n")
