# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The live view of a gateway in a terminal."""

from __future__ import annotations

import curses
import locale
import math
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import tables
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.amounts import rate
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.view import View
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.watch import Ask, Look, Watch

#: Seconds between two looks.
EVERY = 2.0
_MOST_PROBLEMS = 3
_KEY_SECONDS = 0.25
# Ctrl-L, as everywhere.
_REDRAW = 12

_Key = Callable[["tuple[View, Sequence[float | None]]"], Any]


def _about(rates: Sequence[float | None]) -> int:
    """Return how fast a stream is in steps of a half: streams that are as fast as each other keep their places."""
    return -round(math.log(rates[0], 1.5)) if rates[0] and rates[0] > 1 else 0


_ORDERS: Mapping[str, _Key] = {
    "rate": lambda row: (_about(row[1]), row[0].title),
    "name": lambda row: (row[0].title, row[0].role),
    "health": lambda row: (row[0].is_well, _about(row[1]), row[0].title),
    "connections": lambda row: (-(row[0].connections.get("open") or 0), row[0].title),
}


class NoTerminalError(ScistreamError):
    """There is no terminal to show anything in."""


@dataclass
class Place:
    """What the reader looks at.

    Args:
        first: Number of the first session that is shown.
        order: By what the sessions are sorted.
    """

    first: int = 0
    order: str = "rate"

    def next_order(self) -> None:
        """Sort by the next one."""
        orders = list(_ORDERS)
        self.order = orders[(orders.index(self.order) + 1) % len(orders)]
        self.first = 0


def screen(look: Look, place: Place, height: int, width: int, ascii_only: bool) -> list[tables.Line]:
    """Return the lines of a screen."""
    head = list(_head(look, ascii_only))
    # Where there is no room for everything, the sessions are what is looked for.
    foot = list(_foot(look, place, max(0, min(_MOST_PROBLEMS, height // 3 - 3)), ascii_only))
    room = max(1, height - len(head) - len(foot) - 1)
    rows = sorted(zip(look.sessions, look.rates), key=_ORDERS[place.order])
    place.first = max(0, min(place.first, len(rows) - room))
    body = list(tables.table(rows, look.time, width, ascii_only, rates=True)) if rows else []
    shown = [*body[:1], *body[1 + place.first : 1 + place.first + room]]
    blank: list[tables.Line] = [[("", tables.PLAIN)]] * max(0, height - len(head) - len(shown) - len(foot))
    return [*head, *shown, *blank, *foot][:height]


def _head(look: Look, ascii_only: bool) -> Iterator[tables.Line]:
    moment = time.strftime("%H:%M:%S", time.localtime(look.time))
    yield [(tables.headline(look, ascii_only), tables.TITLE), (f"  {moment}", tables.FAINT)]
    if look.error:
        yield [(tables.shown(f"S2CS does not answer: {look.error}", ascii_only), tables.BAD)]
        return
    sums = [sum(item[at] or 0.0 for item in look.rates) for at in range(2)]
    opened = sum(session.connections.get("open") or 0 for session in look.sessions)
    yield [
        (
            f"{rate(sums[0])} to the consumers, {rate(sums[1])} to the producers, {opened} open "
            f"connection{'' if opened == 1 else 's'}",
            tables.PLAIN,
        )
    ]
    yield [("", tables.PLAIN)]


def _foot(look: Look, place: Place, most: int, ascii_only: bool) -> Iterator[tables.Line]:
    names = tables.names(look)
    for problem in look.problems[:most]:
        yield from tables.advice(problem, names, ascii_only)
    more = len(look.problems) - most
    if more > 0:
        yield [(f"{more} {'more ' if most else ''}problem{'' if more == 1 else 's'}: s2cs info", tables.FAINT)]
    yield [(f"q quit   s sort (by {place.order})   up/down scroll", tables.FAINT)]


def run(ask: Ask, every: float = EVERY) -> None:
    """Show a gateway until somebody presses q.

    Args:
        ask: What returns the result of s2cs_info.
        every: Seconds between two looks.

    Raises:
        NoTerminalError: Standard output is no terminal, or one of an unknown kind.
    """
    # Without it the library writes other letters than ASCII byte by byte.
    with suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, "")
    ascii_only = "utf" not in locale.nl_langinfo(locale.CODESET).lower()
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGHUP, _leave)
    try:
        curses.setupterm()
        curses.wrapper(_loop, Watch(ask), every, ascii_only)
    except curses.error as error:
        raise NoTerminalError(f"top needs a terminal: {error}. Set TERM to its type, or use s2cs info") from None
    except (KeyboardInterrupt, _Left):
        pass


class _Left(Exception):
    """Somebody ended the program; the terminal is to be left as it was."""


def _leave(_number: int, _frame: Any) -> None:
    raise _Left


def _loop(window: curses.window, watch: Watch, every: float, ascii_only: bool) -> None:
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(every):
            watch.look(0.0)

    styles = _styles()
    window.timeout(int(_KEY_SECONDS * 1000))
    place = Place()
    # A gateway that takes its time to answer does not keep anybody from leaving.
    threading.Thread(target=look, daemon=True).start()
    seen = None
    key = curses.KEY_RESIZE
    while key not in (ord("q"), ord("Q")):
        found = watch.look(3600.0)
        _move(place, key, window.getmaxyx()[0])
        if key in (curses.KEY_RESIZE, _REDRAW):
            # Terminals move what they show when they are resized, each in its own way.
            window.clearok(True)
        if found is not seen or key != -1:
            _paint(window, screen(found, place, *window.getmaxyx(), ascii_only), styles)
            seen = found
        key = window.getch()
    ended.set()


def _move(place: Place, key: int, height: int) -> None:
    steps = {
        curses.KEY_UP: -1,
        ord("k"): -1,
        curses.KEY_DOWN: 1,
        ord("j"): 1,
        curses.KEY_PPAGE: 6 - height,
        curses.KEY_NPAGE: height - 6,
        curses.KEY_HOME: -(1 << 30),
        curses.KEY_END: 1 << 30,
    }
    if key == ord("s"):
        place.next_order()
    place.first = max(0, place.first + steps.get(key, 0))


def _styles() -> Mapping[str, int]:
    colours = {tables.GOOD: curses.COLOR_GREEN, tables.MIND: curses.COLOR_YELLOW, tables.BAD: curses.COLOR_RED}
    styles = {tables.PLAIN: 0, tables.TITLE: curses.A_BOLD, tables.FAINT: curses.A_DIM, tables.BAD: curses.A_BOLD}
    with suppress(curses.error):
        curses.curs_set(0)
    if curses.has_colors():
        curses.use_default_colors()
        for number, (style, colour) in enumerate(colours.items(), 1):
            curses.init_pair(number, colour, -1)
            styles[style] = styles.get(style, 0) | curses.color_pair(number)
    return styles


def _paint(window: curses.window, content: Sequence[tables.Line], styles: Mapping[str, int]) -> None:
    window.erase()
    height, width = window.getmaxyx()
    for row, line in enumerate(content[:height]):
        column = 0
        for text, style in line:
            # The last cell of the screen cannot be written without an error.
            most = width - column - (row == height - 1)
            part = tables.cut(text, max(0, most))
            with suppress(curses.error):
                window.addstr(row, column, part, styles.get(style, 0))
            column += tables.width_of(part)
    window.refresh()
