# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections in the log of stunnel: each has several lines, marked with its number."""

from __future__ import annotations

import re
from calendar import timegm

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.connection_log import LineParser, Tally

_LINE = re.compile(r"(?P<time>[0-9.]{10} [0-9:]{8}) LOG[0-7]\[(?P<number>[0-9]{1,12}|ui)\]: (?P<text>.*)", re.ASCII)
_TIME = re.compile(r"([0-9]{4})\.([0-9]{2})\.([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2})", re.ASCII)
_BANNER = re.compile(r"stunnel [0-9.]+ on \S+ platform.*", re.ASCII)
_ENDED = re.compile(r"Connection [a-z/]+: ([0-9]{1,19}) byte\(s\) sent to TLS, ([0-9]{1,19}) byte\(s\) sent to socket")
_MOST_OPEN = 20000

# What is known of a connection that has not ended.
_CONNECTED, _TRIED, _NOT_ACCEPTED, _NOT_CONNECTED = "ctan"
_SIGNS = (
    (" connected remote server from ", _CONNECTED),
    ("s_connect", _TRIED),
    ("SSL_accept", _NOT_ACCEPTED),
    ("SSL_connect", _NOT_CONNECTED),
)


def line_parser(client: bool) -> LineParser:
    """Return what takes in a line.

    Args:
        client: Whether it is the TLS client, which has the consumer's application on the side without TLS.
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
    """Tell whether a line is the first one after a start."""
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
    about = tally.open.pop(line.group("number"))
    to_tls, to_socket = int(match.group(1)), int(match.group(2))
    # What is counted is what the streams carry, not what TLS adds.
    to_consumer, to_producer = (to_socket, to_tls) if client else (to_tls, to_socket)
    try:
        tally.add(_moment(line.group("time")), to_consumer, to_producer)
    except ValueError:
        tally.exact = False
    # What did not even get so far as to a target ended in the handshake.
    if _NOT_ACCEPTED in about or not about:
        tally.refused += 1
        tally.total -= 1
    elif _NOT_CONNECTED in about or _CONNECTED not in about:
        tally.failed += 1


def _moment(text: str) -> float:
    """Return a time in the zone of the program, which is told by nothing, as if that were UTC; 0 if it is none."""
    match = _TIME.fullmatch(text)
    try:
        return float(max(0, timegm(tuple(map(int, match.groups()))))) if match else 0.0
    except (ValueError, OverflowError):
        return 0.0
