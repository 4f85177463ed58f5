# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the log of stunnel tells of the connections since it was started."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.activity import lines

_LINE = re.compile(r"[0-9.]+ [0-9:]+ LOG[0-7]\[(?P<number>[0-9]+|ui)\]: (?P<text>.*)")
_ENDED = re.compile(r"Connection [a-z/]+: ([0-9]+) byte\(s\) sent to TLS, ([0-9]+) byte\(s\) sent to socket")


@dataclass
class Count:
    """Connections that were accepted, and the bytes of those that have ended."""

    accepted: int = 0
    refused: int = 0
    failed: int = 0
    to_tls: int = 0
    to_socket: int = 0


def count(directory: str, name: str) -> Count:
    """Add up a log of stunnel below a directory, from where it was started last."""
    found = Count()
    # What is known of each connection that has not ended: whether TLS came about, and the target was reached.
    known: dict[str, set[str]] = {}
    for line in lines(directory, name):
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        number, text = match.group("number"), match.group("text")
        if number == "ui":
            if text.startswith("stunnel ") and " platform" in text:
                found, known = Count(), {}
        elif " accepted connection from " in text:
            found.accepted += 1
            known[number] = set()
        elif number not in known:
            continue
        elif " connected remote server from " in text:
            known[number].add("connected")
        elif text.startswith("s_connect"):
            known[number].add("tried")
        elif text.startswith("SSL_accept"):
            known[number].add("refused")
        elif text.startswith("SSL_connect"):
            known[number].add("failed")
        else:
            _end(found, known, number, text)
    return found


def _end(found: Count, known: dict[str, set[str]], number: str, text: str) -> None:
    match = _ENDED.match(text)
    if match is None:
        return
    about = known.pop(number)
    found.to_tls += int(match.group(1))
    found.to_socket += int(match.group(2))
    # What did not even get so far as to a target ended in the handshake.
    if "refused" in about or not about:
        found.refused += 1
    elif "failed" in about or "connected" not in about:
        found.failed += 1
