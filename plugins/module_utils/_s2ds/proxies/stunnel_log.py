# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parsing the log of stunnel, which has several lines for each connection, with the number of the connection."""

from __future__ import annotations

import re
from calendar import timegm

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.tally import LineParser, Tally

_LINE = re.compile(r"(?P<time>[0-9.]{10} [0-9:]{8}) LOG[0-7]\[(?P<number>[0-9]{1,12}|ui)\]: (?P<text>.*)", re.ASCII)
_TIME = re.compile(r"([0-9]{4})\.([0-9]{2})\.([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2})", re.ASCII)
_BANNER = re.compile(r"stunnel [0-9.]+ on \S+ platform.*", re.ASCII)
_ENDED = re.compile(r"Connection [a-z/]+: ([0-9]{1,19}) byte\(s\) sent to TLS, ([0-9]{1,19}) byte\(s\) sent to socket")
_MOST_OPEN = 20000

# Marks for what is known of an open connection.
_CONNECTED, _TRIED, _NOT_ACCEPTED, _NOT_CONNECTED = "ctan"
_SIGNS = (
    (" connected remote server from ", _CONNECTED),
    ("s_connect", _TRIED),
    ("SSL_accept", _NOT_ACCEPTED),
    ("SSL_connect", _NOT_CONNECTED),
)


def line_parser(client: bool) -> LineParser:
    """Return the parser for its lines.

    Args:
        client: Whether stunnel is the TLS client, so that the consumer's application is on the side without TLS.
    """

    def parse(tally: Tally, line: str) -> None:
        match = _LINE.fullmatch(line)
        if match is None:
            return
        number, text = match.group("number"), match.group("text")
        if number == "ui":
            if _BANNER.fullmatch(text):
                tally.begin(_moment(match.group("time")), lost=bool(tally.open))
        elif " accepted connection from " in text:
            _accepted(tally, number)
        elif number in tally.open:
            for words, sign in _SIGNS:
                if words in text and sign not in tally.open[number]:
                    tally.open[number] += sign
            _end(tally, match, client)

    return parse


def is_banner(line: str) -> bool:
    """Return whether a line is the first one after a start."""
    match = _LINE.fullmatch(line)
    return bool(match and match.group("number") == "ui" and _BANNER.fullmatch(match.group("text")))


def _accepted(tally: Tally, number: str) -> None:
    tally.total += 1
    if len(tally.open) < _MOST_OPEN:
        tally.open[number] = ""
    else:
        tally.exact = False


def _end(tally: Tally, line: re.Match[str], client: bool) -> None:
    match = _ENDED.match(line.group("text"))
    if match is None:
        return
    marks = tally.open.pop(line.group("number"))
    to_tls, to_socket = int(match.group(1)), int(match.group(2))
    # Count the bytes of the stream, without the overhead of TLS.
    to_consumer, to_producer = (to_socket, to_tls) if client else (to_tls, to_socket)
    try:
        tally.add(_moment(line.group("time")), to_consumer, to_producer)
    except ValueError:
        tally.exact = False
    # Without a connection to a target, the handshake failed.
    if _NOT_ACCEPTED in marks or not marks:
        tally.refused += 1
        tally.total -= 1
    elif _NOT_CONNECTED in marks or _CONNECTED not in marks:
        tally.failed += 1


def _moment(text: str) -> float:
    """Return a time in the unknown time zone of the program, as if it were UTC, or 0 if it is invalid."""
    match = _TIME.fullmatch(text)
    try:
        return float(max(0, timegm(tuple(map(int, match.groups()))))) if match else 0.0
    except (ValueError, OverflowError):
        return 0.0
