# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command ``s2cs top``: a live view of the sessions in a terminal."""

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

from ansible_collections.scistream.gateway.plugins.module_utils._common import text as texts
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._common.formatting import format_rate
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import tables
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.monitor import GetInfo, Monitor, Snapshot

#: Default number of seconds between updates.
INTERVAL = 2.0
_MAX_PROBLEMS = 3
# Maximum number of seconds until a new snapshot is displayed.
_KEY_TIMEOUT = 0.25
_CTRL_L = 12

_Sort = Callable[["tuple[Any, Sequence[float | None]]"], Any]


def _rate_class(rates: Sequence[float | None]) -> int:
    """Return a sort key that is equal for similar rates, so that their sessions do not change places all the time."""
    return -round(math.log(rates[0], 1.5)) if rates[0] and rates[0] > 1 else 0


_ORDERS: Mapping[str, _Sort] = {
    "rate": lambda row: (_rate_class(row[1]), row[0].title),
    "name": lambda row: (row[0].title, row[0].role),
    "health": lambda row: (row[0].is_healthy, _rate_class(row[1]), row[0].title),
    "connections": lambda row: (-(row[0].connections.get("open") or 0), row[0].title),
}


class NoTerminalError(ScistreamError):
    """The output is not a suitable terminal."""


@dataclass
class Position:
    """The displayed part of the table.

    Args:
        first: Index of the first session.
        order: Sort order.
    """

    first: int = 0
    order: str = "rate"

    def next_order(self) -> None:
        """Select the next sort order."""
        orders = list(_ORDERS)
        self.order = orders[(orders.index(self.order) + 1) % len(orders)]
        self.first = 0


def screen_lines(snapshot: Snapshot, position: Position, height: int, width: int, ascii_only: bool) -> list[texts.Line]:
    """Return the lines of a screen."""
    header = list(_header(snapshot, ascii_only))
    # On small screens, sessions take precedence over problems.
    footer = list(_footer(snapshot, position, max(0, min(_MAX_PROBLEMS, height // 3 - 3)), ascii_only))
    room = max(1, height - len(header) - len(footer) - 1)
    rows = sorted(zip(snapshot.sessions, snapshot.rates), key=_ORDERS[position.order])
    position.first = max(0, min(position.first, len(rows) - room))
    lines = list(tables.table(rows, snapshot.time, width, ascii_only, rates=True)) if rows else []
    shown = [*lines[:1], *lines[1 + position.first : 1 + position.first + room]]
    blank: list[texts.Line] = [[("", texts.PLAIN)]] * max(0, height - len(header) - len(shown) - len(footer))
    return [*header, *shown, *blank, *footer][:height]


def _header(snapshot: Snapshot, ascii_only: bool) -> Iterator[texts.Line]:
    clock = time.strftime("%H:%M:%S", time.localtime(snapshot.time))
    yield [(tables.summary(snapshot, ascii_only), texts.TITLE), (f"  {clock}", texts.FAINT)]
    if snapshot.error:
        yield [(texts.encodable(f"S2CS does not respond: {snapshot.error}", ascii_only), texts.BAD)]
        return
    forward, backward = (format_rate(sum(rates[index] or 0.0 for rates in snapshot.rates)) for index in range(2))
    connections = sum(session.connections.get("open") or 0 for session in snapshot.sessions)
    opened = f"{connections} open connection{'' if connections == 1 else 's'}"
    text = f"{forward} to consumers, {backward} to producers, {opened}"
    yield [(text, texts.PLAIN)]
    yield [("", texts.PLAIN)]


def _footer(snapshot: Snapshot, position: Position, limit: int, ascii_only: bool) -> Iterator[texts.Line]:
    names = tables.session_names(snapshot)
    for problem in snapshot.problems[:limit]:
        yield from tables.problem_lines(problem, names, ascii_only)
    more = len(snapshot.problems) - limit
    if more > 0:
        yield [(f"{more} {'more ' if limit else ''}problem{'' if more == 1 else 's'}: see s2cs info", texts.FAINT)]
    yield [(f"q quit   s sort (by {position.order})   up/down scroll", texts.FAINT)]


def run(get_info: GetInfo, interval: float = INTERVAL) -> None:
    """Display the sessions until the user presses q.

    Args:
        get_info: A function that returns the result of s2cs_info.
        interval: Seconds between updates.

    Raises:
        NoTerminalError: Standard output is not a terminal, or one of an unknown type.
    """
    # Required by curses for characters other than ASCII.
    with suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, "")
    ascii_only = "utf" not in locale.nl_langinfo(locale.CODESET).lower()
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _terminate)
    try:
        curses.setupterm()
        curses.wrapper(_loop, Monitor(get_info), interval, ascii_only)
    except curses.error as error:
        raise NoTerminalError(f"top requires a terminal ({error}): set TERM to its type, or use s2cs info") from None
    except (KeyboardInterrupt, _TerminatedError):
        pass


class _TerminatedError(Exception):
    """A signal was received. The terminal has to be restored before the process exits."""


def _terminate(_number: int, _frame: Any) -> None:
    raise _TerminatedError


def _loop(window: curses.window, monitor: Monitor, interval: float, ascii_only: bool) -> None:
    stopped = threading.Event()

    def update() -> None:
        while not stopped.wait(interval):
            monitor.snapshot(0.0)

    styles = _styles()
    window.timeout(int(_KEY_TIMEOUT * 1000))
    position = Position()
    # In a thread, so that keys work even if the gateway is slow.
    threading.Thread(target=update, daemon=True).start()
    shown = None
    key = curses.KEY_RESIZE
    while key not in (ord("q"), ord("Q")):
        snapshot = monitor.snapshot(math.inf)
        _move(position, key, window.getmaxyx()[0])
        if key in (curses.KEY_RESIZE, _CTRL_L):
            # Terminals rearrange their contents in different ways when they are resized.
            window.clearok(True)
        if snapshot is not shown or key != -1:
            _paint(window, screen_lines(snapshot, position, *window.getmaxyx(), ascii_only), styles)
            shown = snapshot
        key = window.getch()
    stopped.set()


def _move(position: Position, key: int, height: int) -> None:
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
        position.next_order()
    position.first = max(0, position.first + steps.get(key, 0))


def _styles() -> Mapping[str, int]:
    colors = {texts.GOOD: curses.COLOR_GREEN, texts.NOTICE: curses.COLOR_YELLOW, texts.BAD: curses.COLOR_RED}
    styles = {texts.PLAIN: 0, texts.TITLE: curses.A_BOLD, texts.FAINT: curses.A_DIM, texts.BAD: curses.A_BOLD}
    with suppress(curses.error):
        curses.curs_set(0)
    if curses.has_colors():
        curses.use_default_colors()
        for number, (style, color) in enumerate(colors.items(), 1):
            curses.init_pair(number, color, -1)
            styles[style] = styles.get(style, 0) | curses.color_pair(number)
    return styles


def _paint(window: curses.window, lines: Sequence[texts.Line], styles: Mapping[str, int]) -> None:
    window.erase()
    height, width = window.getmaxyx()
    for row, line in enumerate(lines[:height]):
        column = 0
        for text, style in line:
            # Writing to the last cell of the screen fails, because the cursor cannot move further.
            part = texts.truncate(text, max(0, width - column - (row == height - 1)))
            with suppress(curses.error):
                window.addstr(row, column, part, styles.get(style, 0))
            column += texts.display_width(part)
    window.refresh()
