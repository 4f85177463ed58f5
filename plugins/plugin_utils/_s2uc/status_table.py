# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of streams. If the terminal is too narrow for a line for each stream, each has two or more."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from ansible_collections.scistream.gateway.plugins.module_utils._common.formatting import (
    format_duration,
    format_rate,
    format_size,
)
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
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.legs_view import leg_path
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_view import StreamView

_GAP, _INDENT = "  ", "  "
# Round trips in a facility, in milliseconds, are not worth a word.
_SHORT_RTT = 1.0
_PLACES = {"kernel": "in the kernel", "user space": "in user space"}
#: Columns whose texts may be truncated have at least this width, and at most the other one.
_MIN_WIDTH, _MAX_WIDTH = 8, 40


@dataclass(frozen=True)
class _Column:
    """A column.

    Attributes:
        title: Its title.
        value: Returns its text for a stream at a time.
        right: Whether it is aligned to the right.
        more: Whether it is in the second line if there is no room.
        cut: Whether its texts may be truncated.
        style: Returns the style of its text for a stream.
    """

    title: str
    value: Callable[[StreamView, float], str]
    right: bool = False
    more: bool = False
    cut: bool = False
    style: Callable[[StreamView], str] = lambda _stream: PLAIN


def _transferred(direction: str) -> Callable[[StreamView, float], str]:
    def value(stream: StreamView, _now: float) -> str:
        session = stream.counted.session if stream.counted else None
        if session is None:
            return "-"
        return f"{'' if session.exact else '>='}{format_size(session.transferred.get(direction))}"

    return value


def _connections(stream: StreamView, _now: float) -> str:
    session = stream.counted.session if stream.counted else None
    if session is None or not session.connections:
        return "-"
    count = session.connections.get("open")
    return f"{'?' if count is None else count}/{session.connections.get('total')}"


def _silence(stream: StreamView, now: float) -> str:
    seconds = stream.silence(now)
    return "-" if seconds is None else format_duration(seconds)


def _age(stream: StreamView, now: float) -> str:
    seconds = stream.age(now)
    return "-" if seconds is None else format_duration(seconds)


def _expires(stream: StreamView, now: float) -> str:
    if not stream.sides:
        return "-"
    seconds = stream.left(now)
    if seconds is None:
        return "never"
    return format_duration(seconds) if seconds > 0 else "expired"


def _health_style(stream: StreamView) -> str:
    if not stream.sides:
        return NOTICE
    if stream.is_healthy:
        return GOOD if stream.health == "ok" else PLAIN
    return BAD if any(not one.is_healthy and one.health != "expired" for one in stream.sessions) else NOTICE


_COLUMNS = (
    _Column("STREAM", lambda stream, _now: stream.name, cut=True),
    _Column("STATE", lambda stream, _now: stream.state),
    _Column("HEALTH", lambda stream, _now: stream.health, style=_health_style),
    _Column("RATE", lambda stream, _now: format_rate(stream.rates[0]), right=True),
    _Column("TO CONSUMER", _transferred("to_consumer"), right=True),
    _Column("OPEN/TOTAL", _connections, right=True),
    _Column("AGE", _age, right=True),
    _Column("RATE BACK", lambda stream, _now: format_rate(stream.rates[1]), right=True, more=True),
    _Column("TO PRODUCER", _transferred("to_producer"), right=True, more=True),
    _Column("NO BYTES FOR", _silence, right=True, more=True),
    _Column("EXPIRES", _expires, right=True, more=True),
    _Column("PROXY", lambda stream, _now: stream.both(lambda session: session.proxy) or "-", more=True),
    _Column(
        "ENCRYPTION",
        lambda stream, _now: stream.both(lambda session: session.encryption) or "-",
        more=True,
        style=lambda stream: NOTICE if any(one.encryption == "none" for one in stream.sessions) else PLAIN,
    ),
    _Column("OWNER", lambda stream, _now: stream.both(lambda session: session.owner) or "-", more=True, cut=True),
)


def table(streams: Sequence[StreamView], now: float, width: int | None, certificates: bool = False) -> Iterator[Line]:
    """Yield the titles of the columns, and the lines of each stream. The last one is its path.

    Args:
        streams: The streams.
        now: The current time.
        width: Maximum width, None for no limit.
        certificates: Whether to include the fingerprints of certificates.
    """
    texts = [[column.value(stream, now) for column in _COLUMNS] for stream in streams]
    widths = [
        min(
            _MAX_WIDTH if column.cut else 1 << 16,
            max(display_width(text) for text in (column.title, *(row[index] for row in texts))),
        )
        for index, column in enumerate(_COLUMNS)
    ]
    lines = [list(range(len(_COLUMNS)))]
    if width is not None and _width(lines[0], widths, "") > width:
        lines = [[index for index, column in enumerate(_COLUMNS) if column.more is more] for more in (False, True)]
        for number, line in enumerate(lines):
            _shrink(line, widths, width - (len(_INDENT) if number else 0))
    for number, line in enumerate(lines):
        cells = [(aligned(_COLUMNS[one].title, widths[one], _COLUMNS[one].right), TITLE) for one in line]
        yield _joined(cells, number, TITLE)
    for stream, row in zip(streams, texts, strict=True):
        for number, line in enumerate(lines):
            yield _joined(
                [(aligned(row[one], widths[one], _COLUMNS[one].right), _COLUMNS[one].style(stream)) for one in line],
                number,
                PLAIN,
            )
        for text in _details(stream, width, certificates):
            yield [(text, FAINT)]
        for leg in stream.parts if len(stream.parts) > 1 else ():
            for text in wrapped(_leg(leg), width, _INDENT * 2, _INDENT * 3):
                yield [(text, FAINT if leg.is_healthy else PLAIN)]


def _leg(leg: StreamView) -> list[str]:
    """Return what is shown of one leg of a stream with many gateways."""
    state = leg.state if leg.is_healthy else f"{leg.state}, {leg.health}"
    return [f"{leg.name}: {state}, {format_rate(leg.rates[0])}, {_connections(leg, 0)} open/total", leg_path(leg)]


def _width(line: Sequence[int], widths: Sequence[int], indent: str) -> int:
    return len(indent) + sum(widths[index] for index in line) + len(_GAP) * (len(line) - 1)


def _shrink(line: Sequence[int], widths: list[int], most: int) -> None:
    """Narrow columns whose texts may be truncated, until the line fits."""
    for index in line:
        if _COLUMNS[index].cut:
            excess = _width(line, widths, "") - most
            widths[index] = max(min(_MIN_WIDTH, widths[index]), widths[index] - max(0, excess))


def _joined(cells: Sequence[tuple[str, str]], number: int, style: str) -> Line:
    parts = [(_INDENT, style)] if number else []
    for index, cell in enumerate(cells):
        parts += [(_GAP, style), cell] if index else [cell]
    return parts


def _details(stream: StreamView, width: int | None, certificates: bool) -> list[str]:
    """Return what has no column: the path, the start, and the uid."""
    parts = [stream.path] if stream.path else []
    if stream.created is not None:
        parts.append(f"started {datetime.fromtimestamp(stream.created, timezone.utc):%Y-%m-%d %H:%M:%SZ}")
    if stream.rate_limit:
        parts.append(f"at most {format_rate(stream.rate_limit / 8)}")
    restarts = sum(session.restarts for session in stream.sessions)
    if restarts:
        parts.append(f"{restarts} restart{'' if restarts == 1 else 's'} of its data servers")
    parts += [f"encrypted {text}" for text in _encrypted(stream)]
    parts += _paths(stream)
    parts += _round_trip(stream)
    if certificates:
        sides = [side for side in stream.sides.values() if side.fingerprint]
        parts += [f"certificate {side.fingerprint} ({side.gateway})" for side in sides]
        if len(stream.sides) == 1 and sides and sides[0].peer_fingerprint:
            parts.append(f"certificate {sides[0].peer_fingerprint} (the other gateway)")
    return wrapped([*parts, f"uid {stream.uid}"], width, _INDENT, _INDENT * 2)


def _round_trip(stream: StreamView) -> list[str]:
    """Return the longest round trip of the latest connections, unless all of them are short."""
    longest = max((side.session.rtt or 0 for side in stream.sides.values()), default=0)
    return [f"round trip {longest:.3g} ms"] if longest >= _SHORT_RTT else []


def _paths(stream: StreamView) -> list[str]:
    """Return how many paths the latest connection between the gateways has, if a side uses Multipath TCP."""
    found = [side.session.paths for side in stream.sides.values() if side.session.paths is not None]
    if not found:
        return []
    paths = max(found)
    return [
        "single path: the other gateway or the network has no Multipath TCP"
        if not paths
        else f"{paths} path{'' if paths == 1 else 's'}"
    ]


def _encrypted(stream: StreamView) -> list[str]:
    """Return who encrypts the latest connection, the kernel or the data server, if its sides say so."""
    found = {side.gateway: text for side in stream.sides.values() if (text := _encryption(side.session.tls))}
    if len(set(found.values())) == 1:
        return list(found.values())[:1]
    return [f"{text} ({gateway})" for gateway, text in found.items()]


def _encryption(tls: Mapping[str, str | None]) -> str:
    if not tls.get("suite"):
        return ""
    places = {direction: _PLACES.get(tls.get(direction) or "", "elsewhere") for direction in ("sending", "receiving")}
    if not tls.get("sending") and not tls.get("receiving"):
        return f"with {tls['suite']}"
    if len(set(places.values())) == 1:
        where = places["sending"]
    else:
        where = ", ".join(f"{direction} {place}" for direction, place in places.items())
    return f"{where} with {tls['suite']}"


def wrapped(parts: Sequence[str], width: int | None, first: str = "", others: str = _INDENT * 2) -> list[str]:
    """Return lines with several parts, which are broken between the parts if possible, and never within a word.

    Args:
        parts: The parts.
        width: Maximum width, None for no limit.
        first: Indentation of the first line.
        others: Indentation of the other lines.
    """
    if width is None:
        return [first + "; ".join(parts)]
    lines: list[str] = []
    for number, part in enumerate(parts):
        text = part if number == len(parts) - 1 else f"{part};"
        if lines and display_width(f"{lines[-1]} {text}") <= width:
            lines[-1] += f" {text}"
            continue
        indent = others if lines else first
        lines += textwrap.wrap(
            text,
            max(20, width),
            initial_indent=indent,
            subsequent_indent=others,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [indent]
    return lines
